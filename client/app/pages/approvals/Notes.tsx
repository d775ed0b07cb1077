import { type ReactNode, type RefObject, useEffect } from 'react';
import { Name } from '../../components/Name.tsx';
import { HeldNow, useNow } from '../../hooks/useNow.ts';
import { announce } from '../../lib/announce.ts';
import { formatCount, formatDuration } from '../../lib/format.ts';
import type { Change } from './card-state.ts';
import { Place } from './Evidence.tsx';
import type { Lock } from './useLock.ts';

/** What hinders a decision: a page that is not up to date, and changes that the reader has not seen. */

const words: Record<Lock['why'], string> = {
  'signed out': 'you are signed out',
  'connection lost': 'connection lost',
  connecting: 'connecting',
  gap: 'events were missed, reloading',
  'catching up': 'catching up',
  'no answer': 'no answer from the server',
};

/** States why a decision is locked. The clocks of the page stop without a connection; this one goes on. */
export const LockNote = ({ id, lock, onRetry }: { id: string; lock: Lock; onRetry: () => void }) => (
  <p className="lock" id={id}>
    <span>
      Locked: this page is not up to date ({words[lock.why]}
      {lock.since !== null && (
        <HeldNow value={null}>
          <Ago since={lock.since} />
        </HeldNow>
      )}
      ).
    </span>
    {lock.why !== 'signed out' && (
      <button type="button" onClick={onRetry}>
        Try again
      </button>
    )}
  </p>
);

function Ago({ since }: { since: number }) {
  const seconds = Math.max(0, Math.floor((useNow(true) - since) / 1_000));
  return ` ${seconds < 60 ? `${seconds} s` : formatDuration(seconds * 1_000)} ago`;
}

/** Announces once that a dialog has been locked, and that it can be used again. */
export function useAnnouncedLock(lock: Lock | null): void {
  const why = lock?.why;
  useEffect(() => {
    if (why === undefined) return;
    announce(`Locked: this page is not up to date (${words[why]})`, 'assertive');
    return () => announce('The page is up to date again', 'polite');
  }, [why]);
}

type ChangesProps = {
  changes: readonly Change[];
  /** False until the page shows what the server refused the decision for. */
  isLoaded: boolean;
  onSeen: () => void;
  ref?: RefObject<HTMLDivElement | null>;
};

/** Lists what changed since the reader opened the approval. */
export const Changes = ({ changes, isLoaded, onSeen, ref }: ChangesProps) => (
  <div className="changes" ref={ref} tabIndex={-1}>
    <strong>Changed since you opened this:</strong>
    {changes.length > 0 && (
      <ul>
        {changes.map(({ what, before, after, uri }) => (
          <li key={what}>
            <Name>{what}</Name>:{' '}
            <del>
              <Name>{before}</Name>
            </del>{' '}
            <span aria-hidden="true">→</span>
            <span className="unseen"> is now </span>{' '}
            <mark>
              <Name>{after}</Name>
            </mark>{' '}
            <Place name={what} uri={uri} />
          </li>
        ))}
      </ul>
    )}
    {isLoaded ? (
      <button type="button" onClick={onSeen}>
        I have seen it
      </button>
    ) : (
      <p>Loading what changed…</p>
    )}
  </div>
);

/** States up to which event the page is complete. */
export const SeenNote = ({ runSeq, seq, children }: { runSeq: number; seq: number; children?: ReactNode }) => (
  <p className="seen soft" title={`Position ${formatCount(seq)} of the log`}>
    You see everything up to event {formatCount(runSeq)}
    {children}
  </p>
);
