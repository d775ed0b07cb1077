import type { UseRunReturn } from '../../react/index.tsx';
import { useNow } from '../hooks/useNow.ts';
import { isSignedOut } from '../lib/errors.ts';
import { formatCount, formatTime } from '../lib/format.ts';

/** What `useRun` and `useRuns` say of how whole and fresh their data is. */
export type Continuity = Pick<
  UseRunReturn,
  'status' | 'connectionState' | 'error' | 'retryAtMs' | 'phase' | 'seq' | 'gap' | 'reconnect'
>;

/** Says whether what the page shows is whole and up to date; `staleSince`: Unix ms, null while it is. */
export function Badge({ staleSince, ...props }: Continuity & { staleSince: number | null }) {
  const { connectionState, error, retryAtMs, reconnect } = props;
  const now = useNow(retryAtMs !== null);
  const { tone, word, detail } = wordingOf(props, now, staleSince);
  const canRetry = word === 'Not connected' || word === 'Stale';
  return (
    <div className={`badge ${tone}`} title={error?.message}>
      <span className="dot" aria-hidden="true" />
      {/* The word alone is announced: positions and countdowns change all the time. */}
      <span role="status">{word}</span>
      <span className="detail">{detail}</span>
      {(canRetry || connectionState === 'reconnecting') && (
        <button type="button" onClick={reconnect}>
          {canRetry ? 'Try again' : 'Now'}
        </button>
      )}
    </div>
  );
}

/** Where there is nothing else, the page itself says it at length. */
const HOW_TO_SIGN_IN = 'open the link that the server printed';

type Wording = { tone: 'good' | 'busy' | 'bad'; word: string; detail: string };

function wordingOf(
  { status, connectionState, error, retryAtMs, phase, seq, gap }: Continuity,
  now: number,
  staleSince: number | null,
): Wording {
  const why = error ? ` (${error.message})` : '';
  const at = seq === null ? '' : ` · seq ${formatCount(seq)}`;
  const missing = gap && (gap.fromSeq > gap.toSeq ? '' : ` ${formatCount(gap.fromSeq)}–${formatCount(gap.toSeq)}`);
  const stale = staleSince === null ? '' : `since ${formatTime(staleSince)}`;
  if (isSignedOut(error)) return { tone: 'bad', word: 'Signed out', detail: stale && ` ${stale}: ${HOW_TO_SIGN_IN}` };
  switch (connectionState) {
    case 'idle':
    case 'connecting':
      if (status === 'error') return { tone: 'bad', word: 'Not connected', detail: why };
      return { tone: 'busy', word: 'Connecting', detail: why };
    case 'reconnecting': {
      const seconds = retryAtMs === null ? 0 : Math.ceil((retryAtMs - now) / 1_000);
      const when = seconds > 0 ? ` in ${seconds} s` : '';
      return { tone: 'busy', word: 'Reconnecting', detail: `${when}${why}${stale && ` · stale ${stale}`}` };
    }
    case 'disconnected':
    case 'failed':
      if (stale) return { tone: 'bad', word: 'Stale', detail: ` ${stale}${why}` };
      return { tone: 'bad', word: 'Not connected', detail: why };
    case 'connected':
      if (phase === 'gap') return { tone: 'bad', word: 'Gap', detail: `${missing}: reloading` };
      if (phase === 'replaying') return { tone: 'busy', word: 'Catching up', detail: at };
      return { tone: 'good', word: 'Live', detail: `${at} · ${gap ? `gap${missing}: reloaded` : 'complete'}` };
  }
}
