import { type FormEvent, type ReactNode, useId, useState } from 'react';
import type { RunEventType } from '../../../hooks/index.ts';
import { showToast } from '../../components/Toast.tsx';
import { useSession } from '../../hooks/useSession.ts';
import { formatCount } from '../../lib/format.ts';
import { Link, useParams } from '../../lib/navigation.tsx';
import { Block } from './Deliveries.tsx';
import { Failed, RotateDialog, Secret } from './Dialogs.tsx';
import {
  type Filter,
  fieldOf,
  messageOf,
  type Shape,
  useAction,
  usePreview,
  type Webhook,
  type WebhookInput,
} from './data.ts';
import { categories, categoryNames, failureText, indented, labelsOf, listOf, presets, shapes } from './words.ts';

type Fields = {
  name: string;
  url: string;
  shape: Shape;
  projects: string;
  /** Undefined: all events. */
  types: readonly RunEventType[] | undefined;
  labels: string;
  /** Empty: from now. */
  fromSeq: string;
};

function fieldsOf(webhook: Webhook): Fields {
  const { name, url, shape, filter } = webhook;
  const named = ((filter.categories ?? []) as (keyof typeof categories)[]).flatMap((each) => categories[each] ?? []);
  const types = filter.types || filter.categories ? [...named, ...((filter.types ?? []) as RunEventType[])] : undefined;
  const labels = Object.entries(filter.labels ?? {}).map(([key, value]) => `${key}=${value}`);
  return {
    ...{ name, url, shape, types },
    projects: (filter.projects ?? []).join(', '),
    labels: labels.join(', '),
    fromSeq: '',
  };
}

/** Returns the filter; undefined while the labels are no list of pairs. */
function filterOf({ projects, types, labels }: Fields): Filter | undefined {
  const pairs = labelsOf(labels);
  if (!pairs) return undefined;
  const named = listOf(projects);
  return {
    ...(named.length > 0 ? { projects: named } : {}),
    ...(types ? { types: [...types] } : {}),
    ...(Object.keys(pairs).length > 0 ? { labels: pairs } : {}),
  };
}

/** The form of a new webhook or, with `webhook`, its settings. */
export function WebhookForm({ webhook, isLocked = false }: { webhook?: Webhook; isLocked?: boolean }) {
  const preset = presets[useParams().get('filter') ?? ''];
  const { me } = useSession();
  const ownProjects = me && !me.projects.includes('*') ? me.projects.join(', ') : '';
  const [edited, setFields] = useState<Partial<Fields>>({});
  const empty = { url: '', shape: 'json', labels: '', fromSeq: '', projects: ownProjects } as const;
  const fields: Fields = {
    ...(webhook ? fieldsOf(webhook) : { ...empty, name: preset?.name ?? '', types: preset?.types }),
    ...edited,
  };
  const set = (changes: Partial<Fields>) => setFields((before) => ({ ...before, ...changes }));
  const filter = filterOf(fields);
  const { name, url, shape, fromSeq } = fields;
  const save = useAction(async (client, input: WebhookInput) => {
    if (!webhook) return client.create.mutate(input);
    const { fromSeq: _, ...changes } = input;
    return { ...(await client.update.mutate({ id: webhook.id, ...changes })), secret: undefined };
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!filter) return;
    const begin = fromSeq.trim() === '' ? {} : { fromSeq: Number(fromSeq) };
    save.mutate(
      { name, url, shape, filter, ...begin },
      {
        onSuccess: () => {
          if (webhook) showToast('Settings saved');
          if (webhook) setFields({});
        },
      },
    );
  };
  if (!webhook && save.data?.secret !== undefined) {
    const { id } = save.data.webhook;
    return (
      <div className="webhook-made">
        <p role="status">The webhook is made. Give the receiver its secret: it cannot be read again.</p>
        <Secret secret={save.data.secret} />
        <p>
          <Link className="primary" href={`/settings/webhooks/${encodeURIComponent(id)}`}>
            Open the webhook
          </Link>
        </p>
      </div>
    );
  }
  const wrong = fieldOf(save.error);
  const errorOf = (path: string) => (wrong === path && save.error ? messageOf(save.error) : undefined);
  return (
    <div className="webhook-form">
      <form onSubmit={submit}>
        <fieldset disabled={isLocked || save.isPending}>
          <Field label="Name" error={errorOf('name')}>
            {(props) => (
              <input
                {...props}
                type="text"
                required
                maxLength={200}
                value={name}
                onChange={({ target }) => set({ name: target.value })}
              />
            )}
          </Field>
          <Field
            label="Address"
            hint="https only; http for localhost. Addresses inside your network are refused unless allowed by WEBHOOK_ALLOW."
            error={errorOf('url')}
          >
            {(props) => (
              <input
                {...props}
                type="url"
                required
                maxLength={2_000}
                placeholder="https://hooks.example.org/runwire"
                value={url}
                onChange={({ target }) => set({ url: target.value })}
              />
            )}
          </Field>
          <Field label="Shape">
            {(props) => (
              <select {...props} value={shape} onChange={({ target }) => set({ shape: target.value as Shape })}>
                {Object.entries(shapes).map(([id, text]) => (
                  <option key={id} value={id}>
                    {text}
                  </option>
                ))}
              </select>
            )}
          </Field>
          <TypesField types={fields.types} onChange={(types) => set({ types })} />
          <Field label="Projects" hint="Separated by commas. Empty: all projects." error={errorOf('filter.projects')}>
            {(props) => (
              <input
                {...props}
                type="text"
                value={fields.projects}
                onChange={({ target }) => set({ projects: target.value })}
              />
            )}
          </Field>
          <Field
            label="Labels of the run"
            hint="Such as team=ml, env=prod. Empty: any."
            error={filter ? errorOf('filter.labels') : 'must be pairs such as team=ml, separated by commas'}
          >
            {(props) => (
              <input
                {...props}
                type="text"
                value={fields.labels}
                onChange={({ target }) => set({ labels: target.value })}
              />
            )}
          </Field>
          {!webhook && (
            <Field
              label="Begin"
              hint="Empty: from now. Or the seq of the first event to send."
              error={errorOf('fromSeq')}
            >
              {(props) => (
                <input
                  {...props}
                  type="text"
                  inputMode="numeric"
                  pattern="[0-9]*"
                  placeholder="from now"
                  value={fromSeq}
                  onChange={({ target }) => set({ fromSeq: target.value })}
                />
              )}
            </Field>
          )}
          {save.error && !['name', 'url', 'filter.projects', 'filter.labels', 'fromSeq'].includes(wrong ?? '') && (
            <Failed error={save.error} />
          )}
          <div className="tools">
            <button type="submit" className="primary" disabled={!filter}>
              {webhook ? 'Save' : 'Create webhook'}
            </button>
            <TestButton input={webhook && Object.keys(edited).length === 0 ? { id: webhook.id } : { url, shape }} />
          </div>
        </fieldset>
        {webhook && <Secrets webhook={webhook} isLocked={isLocked} />}
      </form>
      <Preview filter={filter} shape={shape} />
    </div>
  );
}

type InputProps = { id: string; 'aria-describedby': string | undefined; 'aria-invalid': boolean | undefined };

/** A labelled field with its hint and its error. */
function Field(props: {
  label: string;
  hint?: string;
  error?: string | undefined;
  children: (props: InputProps) => ReactNode;
}) {
  const { label, hint, error, children } = props;
  const id = useId();
  const about = [hint === undefined ? '' : `${id}-hint`, error === undefined ? '' : `${id}-error`].join(' ').trim();
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {children({ id, 'aria-describedby': about || undefined, 'aria-invalid': error === undefined ? undefined : true })}
      {hint !== undefined && <small id={`${id}-hint`}>{hint}</small>}
      {error !== undefined && (
        <span className="field-error" id={`${id}-error`} role="alert">
          {error}
        </span>
      )}
    </div>
  );
}

function TypesField({ types, onChange }: { types: Fields['types']; onChange: (types: Fields['types']) => void }) {
  const chosen = new Set<RunEventType>(types);
  const toggle = (some: readonly RunEventType[], isOn: boolean) => {
    for (const type of some) {
      if (isOn) chosen.add(type);
      else chosen.delete(type);
    }
    onChange([...chosen]);
  };
  return (
    <fieldset className="types">
      <legend>What is sent</legend>
      <label>
        <input type="checkbox" checked={!types} onChange={({ target }) => onChange(target.checked ? undefined : [])} />{' '}
        All events
      </label>
      {types && (
        <div className="type-groups">
          {(Object.keys(categories) as (keyof typeof categories)[]).map((category) => {
            const all: readonly RunEventType[] = categories[category];
            return (
              <div key={category}>
                <label className="group">
                  <input
                    type="checkbox"
                    checked={all.every((type) => chosen.has(type))}
                    onChange={({ target }) => toggle(all, target.checked)}
                  />{' '}
                  {categoryNames[category]}
                </label>
                {all.map((type) => (
                  <label key={type}>
                    <input
                      type="checkbox"
                      checked={chosen.has(type)}
                      onChange={({ target }) => toggle([type], target.checked)}
                    />{' '}
                    <code>{type}</code>
                  </label>
                ))}
              </div>
            );
          })}
        </div>
      )}
    </fieldset>
  );
}

function TestButton({ input }: { input: { id: string } | { url: string; shape: Shape } }) {
  const test = useAction((client) => client.test.mutate(input));
  const isEmpty = 'url' in input && input.url === '';
  const { data } = test;
  return (
    <>
      <button type="button" disabled={test.isPending || isEmpty} onClick={() => test.mutate(undefined)}>
        {test.isPending ? 'Sending…' : 'Send a test'}
      </button>
      <div className="test-result" role="status">
        {data && (
          <>
            <span className={`status ${data.failure ? 'failed' : 'completed'}`}>
              <span className="glyph" aria-hidden="true">
                {data.failure ? '✕' : '●'}
              </span>
              {data.failure ? failureText(data.failure, data.status) : `${data.status} taken`} · {formatCount(data.ms)}{' '}
              ms
            </span>
            {data.answer !== '' && <pre className="answer">{data.answer}</pre>}
          </>
        )}
        <Failed error={test.error} />
      </div>
    </>
  );
}

function Secrets({ webhook, isLocked }: { webhook: Webhook; isLocked: boolean }) {
  const [isOpen, setIsOpen] = useState(false);
  const { length } = webhook.secrets;
  return (
    <section className="secrets">
      <h2>Secret</h2>
      <p className="soft">
        The secret cannot be read again.{length > 1 && ` ${length} secrets sign messages until the former ones end.`}
      </p>
      <button type="button" disabled={isLocked} onClick={() => setIsOpen(true)}>
        Rotate…
      </button>
      {isOpen && <RotateDialog webhook={webhook} onClose={() => setIsOpen(false)} />}
    </section>
  );
}

/** What the filter matches, and the body of the last event that it matches. */
function Preview({ filter, shape }: { filter: Filter | undefined; shape: Shape }) {
  const { data, error } = usePreview(filter && { filter, shape });
  const count = data && `${data.isComplete ? '' : 'more than '}${formatCount(data.count)}`;
  return (
    <aside className="preview" aria-label="Preview">
      <h2>Preview</h2>
      <p aria-live="polite">
        {error
          ? messageOf(error)
          : data
            ? `matches ${count} ${data.count === 1 ? 'event' : 'events'} of the last 24 h`
            : 'Counting the events of the last 24 h…'}
      </p>
      {!error && data?.latest && (
        <Block title={`Body of the last one, ${data.latest.type}`} text={indented(data.latest.body)} />
      )}
      {!error && data && !data.latest && <p className="soft">Nothing matches yet, so there is no body to show.</p>}
    </aside>
  );
}
