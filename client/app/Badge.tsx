import type { UseRunEventsReturn } from '../react.tsx';
import { isSignedOut } from './errors.ts';
import { formatCount } from './format.ts';
import { useNow } from './useNow.ts';

type Props = Pick<
  UseRunEventsReturn,
  'connectionState' | 'error' | 'retryAtMs' | 'phase' | 'seq' | 'gap' | 'reconnect'
>;

/** Says whether what the page shows is whole and up to date. */
export function Badge(props: Props) {
  const { connectionState, error, retryAtMs, reconnect } = props;
  const now = useNow(retryAtMs !== null);
  const { tone, word, detail } = wordingOf(props, now);
  const canRetry = connectionState === 'disconnected' || (connectionState === 'failed' && !isSignedOut(error));
  return (
    <div className={`badge ${tone}`}>
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

type Wording = { tone: 'good' | 'busy' | 'bad'; word: string; detail: string };

function wordingOf({ connectionState, error, retryAtMs, phase, seq, gap }: Props, now: number): Wording {
  const why = error ? ` · ${error.message}` : '';
  const at = seq === null ? '' : ` · seq ${formatCount(seq)}`;
  const missing = gap && (gap.fromSeq > gap.toSeq ? '' : ` ${formatCount(gap.fromSeq)}–${formatCount(gap.toSeq)}`);
  switch (connectionState) {
    case 'idle':
    case 'connecting':
      return { tone: 'busy', word: 'Connecting', detail: why };
    case 'reconnecting': {
      const seconds = retryAtMs === null ? 0 : Math.ceil((retryAtMs - now) / 1_000);
      return { tone: 'busy', word: 'Reconnecting', detail: `${seconds > 0 ? ` in ${seconds} s` : ''}${why}` };
    }
    case 'disconnected':
      return { tone: 'bad', word: 'Disconnected', detail: at };
    case 'failed':
      return isSignedOut(error)
        ? { tone: 'bad', word: 'Signed out', detail: '' }
        : { tone: 'bad', word: 'Not connected', detail: why };
    case 'connected':
      if (phase === 'gap') return { tone: 'bad', word: 'Gap', detail: `${missing}: reloading` };
      if (phase === 'replaying') return { tone: 'busy', word: 'Catching up', detail: at };
      return { tone: 'good', word: 'Live', detail: gap ? `${at} · gap${missing}: reloaded` : at };
  }
}
