import { RunwireError } from '../../shared/errors.ts';
import type { PublisherDraft } from './parts.ts';
import { PublishQueue, type PublishResult, type QueueOptions } from './queue.ts';
import { EventSender, type SenderOptions } from './sender.ts';

/**
 * `runwire/publisher`: publishes events to a server over HTTP, in order, and stores each once, through restarts of the
 * server.
 *
 * `publish` gives each draft its time and its id, so a request can be sent again until the server answers: a draft with
 * a known id is not stored again. `queue.ts` batches the calls and assigns refusals to them; `sender.ts` sends a request
 * and retries it.
 */

export type PublisherOptions = SenderOptions &
  QueueOptions & {
    /** Called with the error of every failed call, for callers that do not await `publish`. */
    onError?: ((error: RunwireError) => void) | undefined;
  };

export type EventPublisher = {
  /**
   * Publishes drafts; resolves once they are durable. Up to 1,000 drafts and 1 MB are stored all or none. More drafts are
   * sent in several requests, up to the first refused one.
   *
   * Rejects with a `RunwireError`:
   * - the code of a refusal, with `path` and `issues`; the `index` of an issue counts the drafts of this call;
   * - `RATE_LIMITED` when the queue is full;
   * - `UNAVAILABLE` when the server did not answer within `retryForMs`, or after `close()`.
   *
   * A rejection without a handler does not become an unhandled rejection.
   */
  publish(drafts: PublisherDraft | readonly PublisherDraft[]): Promise<PublishResult>;
  /** Sends waiting drafts without further delay. Resolves when all published drafts are stored or have failed. */
  flush(): Promise<void>;
  /** Accepts no more drafts, waits up to `waitMs` for the server, and fails the drafts left; default 10,000. */
  close(waitMs?: number): Promise<void>;
};

/** Creates a publisher. It sends nothing before the first `publish`. */
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
