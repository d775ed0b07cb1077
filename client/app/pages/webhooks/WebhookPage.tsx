import { type ReactNode, useState } from 'react';
import { Name } from '../../components/Name.tsx';
import { Notice, Problem, Skeleton } from '../../components/Notice.tsx';
import { Shell } from '../../components/Shell.tsx';
import { Tabs } from '../../components/Tabs.tsx';
import { Time } from '../../components/Time.tsx';
import { showToast } from '../../components/Toast.tsx';
import { codeOf } from '../../lib/errors.ts';
import { formatCount } from '../../lib/format.ts';
import { Link } from '../../lib/navigation.tsx';
import { DeadLetters } from './DeadLetters.tsx';
import { Deliveries } from './Deliveries.tsx';
import { DeleteDialog, ReplayDialog } from './Dialogs.tsx';
import { messageOf, useAction, useWebhook, type Webhook } from './data.ts';
import { GapNote, State } from './State.tsx';
import { WebhookForm } from './WebhookForm.tsx';
import { filterText, shapes, waitingText } from './words.ts';
import '../../styles/pages/webhooks.css';

const Crumbs = ({ children }: { children: ReactNode }) => (
  <nav className="crumbs" aria-label="Breadcrumb">
    <Link href="/settings/webhooks">Webhooks</Link> / <span aria-current="page">{children}</span>
  </nav>
);

/** A webhook with its deliveries, dead letters and settings; `new` is the form of a new one. */
export function WebhookPage({ webhookId }: { webhookId: string }) {
  if (webhookId === 'new') {
    return (
      <Shell title="New webhook">
        <Crumbs>New</Crumbs>
        <h1>New webhook</h1>
        <WebhookForm />
      </Shell>
    );
  }
  return <Existing id={webhookId} />;
}

function Existing({ id }: { id: string }) {
  const { data, error, refetch } = useWebhook(id);
  const isGone = codeOf(error) === 'WEBHOOK_NOT_FOUND';
  return (
    <Shell title={data?.name ?? 'Webhook'}>
      {isGone && (
        <Notice title="Webhook not found">
          <p>
            It was deleted, or it sends events of projects that you cannot see.{' '}
            <Link href="/settings/webhooks">All webhooks</Link>
          </p>
        </Notice>
      )}
      {!data && error && !isGone && <Problem error={error} onRetry={() => void refetch()} />}
      {!data && !error && <Skeleton onRetry={() => void refetch()}>Loading the webhook</Skeleton>}
      {data && !isGone && (
        <>
          <Crumbs>
            <Name>{data.name}</Name>
          </Crumbs>
          {error && (
            <p className="webhook-stale" role="status">
              The server cannot be reached. What you see may be old, and changes are locked.
            </p>
          )}
          <Head webhook={data} isLocked={error !== null} />
          <Tabs
            label="Webhook"
            tabs={[
              {
                id: 'deliveries',
                name: 'Deliveries',
                content: <Deliveries webhook={data} isLocked={error !== null} />,
              },
              {
                id: 'dead',
                name: 'Dead letters',
                count: data.deadLetters,
                content: <DeadLetters webhook={data} isLocked={error !== null} />,
              },
              { id: 'settings', name: 'Settings', content: <WebhookForm webhook={data} isLocked={error !== null} /> },
            ]}
          />
        </>
      )}
    </Shell>
  );
}

function Head({ webhook, isLocked }: { webhook: Webhook; isLocked: boolean }) {
  const { id, name, host, shape, filter, state, position, head, oldestWaitingAt, nextTryAt, gap } = webhook;
  const [dialog, setDialog] = useState<'replay' | 'delete' | null>(null);
  const isPaused = state === 'paused';
  const toggle = useAction((client) => (isPaused ? client.resume : client.pause).mutate({ id }));
  const retry = useAction((client) => client.resume.mutate({ id }));
  const tryNow = () =>
    retry.mutate(undefined, { onError: (error) => showToast(`Could not try now: ${messageOf(error)}`) });
  const change = () =>
    toggle.mutate(undefined, {
      onSuccess: () => showToast(isPaused ? 'Webhook resumed' : 'Webhook paused'),
      onError: (error) => showToast(`Could not ${isPaused ? 'resume' : 'pause'}: ${messageOf(error)}`),
    });
  return (
    <header className="webhook-head">
      <div className="title">
        <h1>
          <Name>{name}</Name>
        </h1>
        <State webhook={webhook} />
        <span className="grow" />
        <button type="button" disabled={isLocked || toggle.isPending} onClick={change}>
          {isPaused ? 'Resume' : 'Pause'}
        </button>
        <button type="button" disabled={isLocked} onClick={() => setDialog('replay')}>
          Replay from…
        </button>
        <button type="button" disabled={isLocked} onClick={() => setDialog('delete')}>
          Delete…
        </button>
      </div>
      <p className="soft">
        {shapes[shape]} to {host} · {filterText(filter)}
      </p>
      <p>
        At seq {formatCount(position)} of {formatCount(head)} · {waitingText(webhook)}
        {oldestWaitingAt !== undefined && (
          <>
            {' '}
            · oldest <Time at={oldestWaitingAt} form="ago" />
          </>
        )}
        {nextTryAt !== undefined && (
          <>
            {' '}
            · next try at <Time at={nextTryAt} form="clock" />{' '}
            <button type="button" disabled={isLocked || retry.isPending} onClick={tryNow}>
              Try now
            </button>
          </>
        )}
      </p>
      {gap && <GapNote gap={gap} />}
      {dialog === 'replay' && <ReplayDialog webhook={webhook} onClose={() => setDialog(null)} />}
      {dialog === 'delete' && <DeleteDialog webhook={webhook} onClose={() => setDialog(null)} />}
    </header>
  );
}
