import { useState } from 'react';
import { Problem, Skeleton } from '../../components/Notice.tsx';
import { Time } from '../../components/Time.tsx';
import { showToast } from '../../components/Toast.tsx';
import { formatCount } from '../../lib/format.ts';
import { DropDialog } from './Dialogs.tsx';
import { type DeadLetter, messageOf, useAction, useDeadLetters, type Webhook } from './data.ts';
import { failureText } from './words.ts';

type What = { seq: number; kind: DeadLetter['kind'] } | { all: true };

/** The messages that the server has given up. */
export function DeadLetters({
  webhook: { id, deadLetters: count },
  isLocked,
}: {
  webhook: Webhook;
  isLocked: boolean;
}) {
  const [pages, setPages] = useState<string[]>([]);
  const [dropping, setDropping] = useState<What | null>(null);
  const { data, error, refetch } = useDeadLetters(id, pages.at(-1));
  const again = useAction((client, what: What) => client.redeliver.mutate({ id, ...what }));
  const drop = useAction((client, what: What) => client.drop.mutate({ id, ...what }));
  const send = (what: What) =>
    again.mutate(what, {
      onSuccess: ({ messages }) => showToast(messages === 1 ? 'Sent again' : `${formatCount(messages)} sent again`),
      onError: (failed) => showToast(`Could not send again: ${messageOf(failed)}`),
    });
  if (!data && error) return <Problem error={error} onRetry={() => void refetch()} />;
  if (!data) return <Skeleton onRetry={() => void refetch()}>Loading the dead letters</Skeleton>;
  if (data.deadLetters.length === 0 && pages.length === 0) {
    return <p className="empty">No dead letters. A message that a receiver keeps refusing appears here.</p>;
  }
  return (
    <>
      <div className="tools letter-tools">
        <button type="button" disabled={isLocked || again.isPending} onClick={() => send({ all: true })}>
          Send all again
        </button>
        <button type="button" disabled={isLocked} onClick={() => setDropping({ all: true })}>
          Drop all…
        </button>
      </div>
      <ul className="letters">
        {data.deadLetters.map((letter) => (
          <li key={`${letter.kind} ${letter.seq}`}>
            <span className="letter-what">
              <strong>{letter.type}</strong>{' '}
              <span className="cut">{[letter.runId, letter.projectId].filter(Boolean).join(' · ')}</span>
              <small>
                seq {formatCount(letter.seq)} · {letter.tries} tries · first{' '}
                <Time at={letter.firstTryAt} form="short" />, last <Time at={letter.lastTryAt} form="short" />
              </small>
              {letter.answer !== undefined && (
                <small className="cut" title={letter.answer}>
                  Answer: {letter.answer.split('\n', 1)[0]}
                </small>
              )}
            </span>
            <span className="status failed">
              <span className="glyph" aria-hidden="true">
                ✕
              </span>
              {failureText(letter.reason, letter.status)}
            </span>
            <span className="tools">
              <button type="button" disabled={isLocked || again.isPending} onClick={() => send(keyOf(letter))}>
                Send again
              </button>
              <button type="button" disabled={isLocked} onClick={() => setDropping(keyOf(letter))}>
                Drop…
              </button>
            </span>
          </li>
        ))}
      </ul>
      <div className="pages">
        <button type="button" disabled={pages.length === 0} onClick={() => setPages(pages.slice(0, -1))}>
          Previous
        </button>
        <button
          type="button"
          disabled={data.nextCursor === undefined}
          onClick={() => setPages([...pages, data.nextCursor as string])}
        >
          Next
        </button>
      </div>
      {dropping && (
        <DropDialog
          count={'all' in dropping ? count : 1}
          isPending={drop.isPending}
          error={drop.error}
          onDrop={() => drop.mutate(dropping, { onSuccess: () => setDropping(null) })}
          onClose={() => setDropping(null)}
        />
      )}
    </>
  );
}

const keyOf = ({ seq, kind }: DeadLetter): What => ({ seq, kind });
