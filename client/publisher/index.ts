import { RunwireError } from '../../shared/errors.ts';
import type { PublisherDraft } from './parts.ts';
import { PublishQueue, type PublishResult, type QueueOptions } from './queue.ts';
import { EventSender, type SenderOptions } from './sender.ts';

/**
 * The package entry `runwire/publisher`: publishes events over HTTP. The server stores each event once and in order, even
 * if it restarts meanwhile.
 *
 * A draft is an event before the server stores it. `publish` adds a time and an id to each draft. The server stores each
 * id once, so the publisher can repeat a request until the server answers.
 *
 * `queue.ts` puts the drafts of several calls into one request, and finds the calls that caused a refusal. `sender.ts`
 * sends a request and repeats it.
 */

export type PublisherOptions = SenderOptions &
  QueueOptions & {
    /** Called with the error of each failed call of `publish`, for code that does not await the call. */
    onError?: ((error: RunwireError) => void) | undefined;
  };

export type EventPublisher = {
  /**
   * Publishes drafts. Resolves once all of them are durable. A call with up to 1,000 drafts and 1 MB is stored as a whole
   * or not at all. A larger call is sent in several requests; after a refused request the rest is not sent.
   *
   * Rejects with a `RunwireError`:
   * - the server refused a draft: the server's code, with `path` and `issues`. The `index` of an issue counts the drafts
   *   of this call;
   * - the queue is full: `RATE_LIMITED`;
   * - the server did not answer within `retryForMs`, or the publisher is closed: `UNAVAILABLE`.
   *
   * Code may ignore the promise: its rejection does not become an unhandled rejection.
   */
  publish(drafts: PublisherDraft | readonly PublisherDraft[]): Promise<PublishResult>;
  /** Ends the delay before a retry. Resolves when all drafts that were published before are stored or have failed. */
  flush(): Promise<void>;
  /** Refuses further drafts, waits up to `waitMs` (default 10,000) until all drafts are stored, and fails the rest. */
  close(waitMs?: number): Promise<void>;
};

/** Creates a publisher. The publisher sends nothing before the first `publish`. */
export function createPublisher(options: PublisherOptions): EventPublisher {
  const { onError } = options;
  const sender = new EventSender(options);
  const queue = new PublishQueue(sender, options);
  const unsettled = new Set<Promise<unknown>>();
  let isClosed = false;

  const publish = (drafts: PublisherDraft | readonly PublisherDraft[]): Promise<PublishResult> => {
    const result = isClosed
      ? Promise.reject<PublishResult>(new RunwireError('UNAVAILABLE', 'the publisher is closed'))
      : queue.add(Array.isArray(drafts) ? (drafts as readonly PublisherDraft[]) : [drafts as PublisherDraft]);
    unsettled.add(result);
    result.then(
      () => unsettled.delete(result),
      (error: RunwireError) => {
        unsettled.delete(result);
        onError?.(error);
      },
    );
    return result;
  };

  const flush = async (): Promise<void> => {
    sender.retryNow();
    await Promise.allSettled(unsettled);
  };

  const close = async (waitMs = 10_000): Promise<void> => {
    isClosed = true;
    const timer = setTimeout(() => sender.giveUp(), waitMs);
    await flush();
    clearTimeout(timer);
  };

  return { publish, flush, close };
}

export type { PublisherDraft, PublishResult };
