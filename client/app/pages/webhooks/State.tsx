import { Time } from '../../components/Time.tsx';
import { formatCount } from '../../lib/format.ts';
import type { WebhookSummary } from './data.ts';
import { stateOf } from './words.ts';

const glyphs = { completed: '●', waiting: '◐', failed: '✕', created: '‖' } as const;

/** The state of a webhook: a shape and words, since when it retries. */
export function State({ webhook }: { webhook: WebhookSummary }) {
  const { text, look } = stateOf(webhook);
  return (
    <span className={`status ${look}`}>
      <span className="glyph" aria-hidden="true">
        {glyphs[look]}
      </span>
      <span className="state-text">
        {text}
        {webhook.retryingSince !== undefined && webhook.state !== 'paused' && (
          <>
            {' '}
            since <Time at={webhook.retryingSince} form="short" />
          </>
        )}
      </span>
    </span>
  );
}

/** Events that cannot be sent any more. */
export function GapNote({ gap }: { gap: NonNullable<WebhookSummary['gap']> }) {
  const range = `${formatCount(gap.fromSeq)}–${formatCount(gap.toSeq)}`;
  return (
    <p className="webhook-gap">
      {gap.reason === 'expired'
        ? `Events ${range} were removed by retention before they could be sent. `
        : 'The log was put back from a backup. The receiver was told to load its data again. '}
      <Time at={gap.at} form="short" />
    </p>
  );
}
