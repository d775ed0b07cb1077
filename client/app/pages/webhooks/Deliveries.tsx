import { useState } from 'react';
import { Problem, Skeleton } from '../../components/Notice.tsx';
import { Time } from '../../components/Time.tsx';
import { showToast } from '../../components/Toast.tsx';
import { useListFocus } from '../../hooks/useListFocus.ts';
import { formatCount } from '../../lib/format.ts';
import { Link, runPath } from '../../lib/navigation.tsx';
import { type Delivery, messageOf, useAction, useDeliveries, useDelivery, type Webhook } from './data.ts';
import { failureText, indented } from './words.ts';

type Props = { webhook: Webhook; isLocked: boolean };

/** The latest tries of a webhook, newest first. A row opens the message and the answer. */
export function Deliveries({ webhook: { id }, isLocked }: Props) {
  const [pages, setPages] = useState<string[]>([]);
  const [opened, setOpened] = useState<number | null>(null);
  const { data, error, refetch } = useDeliveries(id, pages.at(-1));
  const deliveries = data?.deliveries ?? [];
  const toggle = (deliveryId: number) => setOpened((before) => (before === deliveryId ? null : deliveryId));
  const list = useListFocus<HTMLUListElement>({
    name: 'deliveries',
    count: deliveries.length,
    keyOf: (index) => String(deliveries[index]?.id ?? ''),
    open: (index) => toggle(deliveries[index]?.id ?? 0),
  });
  if (!data && error) return <Problem error={error} onRetry={() => void refetch()} />;
  if (!data) return <Skeleton onRetry={() => void refetch()}>Loading the deliveries</Skeleton>;
  if (deliveries.length === 0) {
    return <p className="empty">Nothing was sent yet. Messages appear here when an event matches.</p>;
  }
  return (
    <>
      <div className="try-list">
        <div className="try-row head" aria-hidden="true">
          {['Time', 'Event', 'Run', 'Try', 'Answer', 'ms'].map((name) => (
            <span key={name}>{name}</span>
          ))}
        </div>
        <ul aria-label="Deliveries" {...list.listProps}>
          {deliveries.map((delivery, index) => (
            <li key={delivery.id} className="try" {...list.rowProps(index)}>
              <button
                type="button"
                className="try-row"
                aria-expanded={opened === delivery.id}
                onClick={() => toggle(delivery.id)}
              >
                <span>
                  <Time at={delivery.at} form="clock" />{' '}
                  <small>
                    <Time at={delivery.at} form="ago" />
                  </small>
                </span>
                <span>
                  {delivery.type} <small>{delivery.messageId.slice(0, 12)}…</small>
                </span>
                <span className="cut">{delivery.runId ?? '–'}</span>
                <span>
                  <span className="cell-name">Try </span>
                  {delivery.attempt}
                </span>
                <Outcome delivery={delivery} />
                <span className="number">
                  {formatCount(delivery.ms)}
                  <span className="cell-name"> ms</span>
                </span>
              </button>
              {opened === delivery.id && <Detail webhookId={id} delivery={delivery} isLocked={isLocked} />}
            </li>
          ))}
        </ul>
      </div>
      <div className="pages">
        <button type="button" disabled={pages.length === 0} onClick={() => setPages(pages.slice(0, -1))}>
          Newer
        </button>
        <button
          type="button"
          disabled={data.nextCursor === undefined}
          onClick={() => setPages([...pages, data.nextCursor as string])}
        >
          Older
        </button>
      </div>
    </>
  );
}

const Outcome = ({ delivery: { status, failure } }: { delivery: Delivery }) => (
  <span className={`status ${failure ? 'failed' : 'completed'}`}>
    <span className="glyph" aria-hidden="true">
      {failure ? '✕' : '●'}
    </span>
    {failure ? failureText(failure, status) : `${status} taken`}
  </span>
);

function Detail({ webhookId, delivery, isLocked }: { webhookId: string; delivery: Delivery; isLocked: boolean }) {
  const { data, error, refetch } = useDelivery(webhookId, delivery.id);
  const { kind, seq, projectId, runId } = delivery;
  const again = useAction((client) => client.redeliver.mutate({ id: webhookId, kind, seq }));
  const send = () =>
    again.mutate(undefined, {
      onSuccess: () => showToast('Sent again'),
      onError: (failed) => showToast(`Could not send again: ${messageOf(failed)}`),
    });
  if (!data && error) return <Problem error={error} onRetry={() => void refetch()} />;
  if (!data) return <Skeleton>Loading the message</Skeleton>;
  const { headers, body, answer } = data.delivery;
  return (
    <div className="try-detail">
      <div className="tools">
        {kind === 'event' && (
          <button type="button" disabled={isLocked || again.isPending} onClick={send}>
            Send again
          </button>
        )}
        {projectId !== undefined && runId !== undefined && (
          <Link href={runPath({ projectId, runId })}>Open the run</Link>
        )}
      </div>
      <Block
        title="Headers"
        text={Object.entries(headers)
          .map(([name, value]) => `${name}: ${value}`)
          .join('\n')}
      />
      {body === undefined ? (
        <p className="soft">The event was removed by retention, or is not sent any more.</p>
      ) : (
        <Block title="Body, as it would be sent now" text={indented(body)} />
      )}
      <Block title="Answer, the first 500 characters" text={answer || '(empty)'} />
    </div>
  );
}

export const Block = ({ title, text }: { title: string; text: string }) => (
  <section className="block">
    <h2>{title}</h2>
    <pre>
      <code>{text}</code>
    </pre>
  </section>
);
