import type { UseRunReturn } from '../../hooks/index.ts';
import { NARROW, useMedia } from '../hooks/useMedia.ts';
import { useNow } from '../hooks/useNow.ts';
import { useSetting } from '../hooks/useSetting.ts';
import { isSignedOut } from '../lib/errors.ts';
import { formatCount, formatShort } from '../lib/format.ts';
import { Popover } from './Popover.tsx';

/** The fields of `useRun` and `useRuns` that state whether the hook's data is complete and up to date. */
export type Continuity = Pick<
  UseRunReturn,
  'status' | 'connectionState' | 'error' | 'retryAtMs' | 'phase' | 'seq' | 'gap' | 'reconnect'
>;

/** Shows whether the page is up to date. `staleSince`: Unix ms of the last update; null while the page is live. */
export function Badge({ staleSince, ...props }: Continuity & { staleSince: number | null }) {
  const { error, retryAtMs, reconnect } = props;
  const isNarrow = useMedia(NARROW);
  const now = useNow(retryAtMs !== null);
  const isUtc = useSetting('times')[0] === 'utc';
  const since = staleSince === null ? '' : `since ${formatShort(staleSince, isUtc, now)}`;
  const { tone, word, detail, hover, action } = wordingOf(props, now, since);
  const button = action && (
    <button type="button" onClick={reconnect}>
      {action}
    </button>
  );
  return (
    <div className={`badge ${tone}`} title={error?.message ?? hover}>
      <span className="dot" aria-hidden="true" />
      {/* Screen readers announce the word only: positions and countdowns change all the time. */}
      <span role="status">{word}</span>
      {isNarrow ? (
        <Popover
          label="Connection"
          align="end"
          trigger={<button type="button" className="whole" aria-label={`${word}${detail}`} />}
        >
          <p>
            {word}
            {detail}
            {hover !== undefined && `. ${hover}`}
          </p>
          {button}
        </Popover>
      ) : (
        <>
          <span className="detail">{detail}</span>
          {button}
        </>
      )}
    </div>
  );
}

type Wording = {
  tone: 'good' | 'busy' | 'bad';
  word: string;
  detail: string;
  hover?: string | undefined;
  /** Label of the button that reconnects at once. */
  action?: 'Try now' | 'Try again';
};

function wordingOf(
  { status, connectionState, error, retryAtMs, phase, seq, gap }: Continuity,
  now: number,
  since: string,
): Wording {
  const why = error ? ` (${error.message})` : '';
  const missed = gap && gap.fromSeq <= gap.toSeq ? `${formatCount(gap.fromSeq)}–${formatCount(gap.toSeq)}` : '';
  if (isSignedOut(error)) {
    // The band above the page offers the sign-in.
    return { tone: 'bad', word: 'Signed out', detail: since && ` ${since}` };
  }
  switch (connectionState) {
    case 'idle':
    case 'connecting':
      if (status === 'error') return { tone: 'bad', word: 'Not connected', detail: why, action: 'Try again' };
      return { tone: 'busy', word: 'Connecting', detail: why };
    case 'reconnecting': {
      const seconds = retryAtMs === null ? 0 : Math.ceil((retryAtMs - now) / 1_000);
      const when = seconds > 0 ? ` · trying again in ${seconds} s` : ' · trying again';
      return {
        tone: 'busy',
        word: 'Connection lost',
        detail: `${when}${since && ` · not live ${since}`}`,
        action: 'Try now',
      };
    }
    case 'disconnected':
    case 'failed':
      if (since) return { tone: 'bad', word: 'Not live', detail: ` ${since}${why}`, action: 'Try again' };
      return { tone: 'bad', word: 'Not connected', detail: why, action: 'Try again' };
    case 'connected': {
      if (phase === 'gap') {
        return {
          tone: 'bad',
          word: 'Gap',
          detail: missed ? ` · events ${missed} were missed: reloading…` : ' · reloading…',
        };
      }
      const event = seq === null ? undefined : `event ${formatCount(seq)} of the log`;
      if (phase === 'replaying') return { tone: 'busy', word: 'Catching up', detail: event ? ` · ${event}` : '' };
      const detail = gap ? ` · caught up after a gap${missed && ` (${missed})`}` : ' · up to date';
      return { tone: 'good', word: 'Live', detail, hover: event && `Complete up to ${event}` };
    }
  }
}
