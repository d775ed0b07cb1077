import { useId, useState } from 'react';
import { Copy } from '../../components/Copy.tsx';
import { Dialog } from '../../components/Dialog.tsx';
import { Name } from '../../components/Name.tsx';
import { Time } from '../../components/Time.tsx';
import { showToast } from '../../components/Toast.tsx';
import { formatCount } from '../../lib/format.ts';
import { navigate } from '../../lib/navigation.tsx';
import { messageOf, useAction, usePreview, type Webhook } from './data.ts';

type Props = { webhook: Webhook; onClose: () => void };

export const Failed = ({ error }: { error: Error | null }) =>
  error && (
    <p className="field-error" role="alert">
      {messageOf(error)}
    </p>
  );

/** Sends the events from a position or a time on again. */
export function ReplayDialog({ webhook, onClose }: Props) {
  const { id, filter, head } = webhook;
  const [by, setBy] = useState<'seq' | 'time'>('seq');
  const [seq, setSeq] = useState(String(Math.max(1, head - 100)));
  const [time, setTime] = useState('');
  const fromSeq = /^\d+$/.test(seq) && Number(seq) > 0 ? Number(seq) : undefined;
  const atMs = Date.parse(time);
  const since = Number.isNaN(atMs) ? undefined : new Date(atMs).toISOString();
  const from =
    by === 'seq' ? (fromSeq === undefined ? undefined : { fromSeq }) : since === undefined ? undefined : { since };
  const preview = usePreview(from && { filter: filter as never, ...from });
  const replay = useAction((client, input: { fromSeq: number } | { since: string }) =>
    client.replay.mutate({ id, ...input }),
  );
  const send = () =>
    from &&
    replay.mutate(from, {
      onSuccess: () => {
        showToast('Replay begun');
        onClose();
      },
    });
  const count = preview.data && `${preview.data.isComplete ? '' : 'more than '}${formatCount(preview.data.count)}`;
  return (
    <Dialog open onOpenChange={onClose} title="Replay from…" isLocked={replay.isPending}>
      <fieldset className="choices">
        <legend className="unseen">Begin at</legend>
        <label>
          <input type="radio" checked={by === 'seq'} onChange={() => setBy('seq')} /> Position in the log
        </label>
        <label>
          <input type="radio" checked={by === 'time'} onChange={() => setBy('time')} /> Time
        </label>
      </fieldset>
      {by === 'seq' ? (
        <label className="field">
          Seq
          <input
            type="text"
            inputMode="numeric"
            data-autofocus
            value={seq}
            onChange={({ target }) => setSeq(target.value)}
          />
        </label>
      ) : (
        <label className="field">
          Time, in your zone
          <input type="datetime-local" step={1} value={time} onChange={({ target }) => setTime(target.value)} />
        </label>
      )}
      <p aria-live="polite">
        {from && count !== undefined && !preview.isError
          ? `Will send ${count} ${preview.data?.count === 1 ? 'event' : 'events'} again, under the same ids.`
          : 'Events are sent again under the same ids.'}
      </p>
      <Failed error={replay.error ?? (from ? preview.error : null)} />
      <div className="dialog-buttons">
        <button type="button" onClick={onClose}>
          Cancel
        </button>
        <button
          type="button"
          className="primary"
          disabled={!from || preview.isError || replay.isPending}
          onClick={send}
        >
          {replay.isPending ? 'Replaying…' : 'Replay'}
        </button>
      </div>
    </Dialog>
  );
}

export function DeleteDialog({ webhook: { id, name }, onClose }: Props) {
  const [typed, setTyped] = useState('');
  const remove = useAction((client) => client.delete.mutate({ id }));
  const isNamed = typed.trim() === name.trim();
  const send = () =>
    remove.mutate(undefined, {
      onSuccess: () => {
        showToast('Webhook deleted');
        navigate('/settings/webhooks');
      },
    });
  return (
    <Dialog
      open
      onOpenChange={onClose}
      title="Delete the webhook?"
      description="Nothing more is sent. Its deliveries, dead letters and secrets are removed."
      isLocked={remove.isPending}
    >
      <label className="field">
        <span>
          Type{' '}
          <strong>
            <Name>{name}</Name>
          </strong>{' '}
          to delete it
        </span>
        <input type="text" data-autofocus value={typed} onChange={({ target }) => setTyped(target.value)} />
      </label>
      <Failed error={remove.error} />
      <div className="dialog-buttons">
        <button type="button" onClick={onClose}>
          Cancel
        </button>
        <button type="button" className="danger" disabled={!isNamed || remove.isPending} onClick={send}>
          {remove.isPending ? 'Deleting…' : 'Delete'}
        </button>
      </div>
    </Dialog>
  );
}

export function RotateDialog({ webhook: { id }, onClose }: Props) {
  const rotate = useAction((client) => client.rotateSecret.mutate({ id }));
  return (
    <Dialog
      open
      onOpenChange={onClose}
      title="Rotate the secret?"
      description="A new secret is made. For 24 hours messages are signed by both, so that the receiver can change."
      isLocked={rotate.isPending}
    >
      {rotate.data && <Secret secret={rotate.data.secret} validUntil={rotate.data.validUntil} />}
      <Failed error={rotate.error} />
      <div className="dialog-buttons">
        <button type="button" onClick={onClose}>
          {rotate.data ? 'Done' : 'Cancel'}
        </button>
        {!rotate.data && (
          <button
            type="button"
            className="primary"
            disabled={rotate.isPending}
            onClick={() => rotate.mutate(undefined)}
          >
            {rotate.isPending ? 'Rotating…' : 'Rotate'}
          </button>
        )}
      </div>
    </Dialog>
  );
}

/** A new secret, shown this once. */
export function Secret({ secret, validUntil }: { secret: string; validUntil?: string }) {
  const label = useId();
  return (
    <section className="webhook-secret" aria-labelledby={label}>
      <strong id={label}>Secret – shown only now</strong>
      <div className="command">
        <code>{secret}</code>
        <Copy text={secret} what="the secret" />
      </div>
      {validUntil !== undefined && (
        <p>
          The former secret is valid until <Time at={validUntil} form="full" />.
        </p>
      )}
    </section>
  );
}

/** Asks before dead letters are dropped. */
export function DropDialog(props: {
  count: number;
  isPending: boolean;
  error: Error | null;
  onDrop: () => void;
  onClose: () => void;
}) {
  const { count, isPending, error, onDrop, onClose } = props;
  const what = count === 1 ? 'this dead letter' : `all ${formatCount(count)} dead letters`;
  return (
    <Dialog
      open
      onOpenChange={onClose}
      title={`Drop ${what}?`}
      description="They leave the list and are not sent. A replay sends their events again."
      isLocked={isPending}
    >
      <Failed error={error} />
      <div className="dialog-buttons">
        <button type="button" onClick={onClose}>
          Cancel
        </button>
        <button type="button" className="danger" disabled={isPending} onClick={onDrop}>
          {isPending ? 'Dropping…' : 'Drop'}
        </button>
      </div>
    </Dialog>
  );
}
