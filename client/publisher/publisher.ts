import { objectOf, RunwireError } from '../../shared/errors.ts';
import type { RunwireEvents } from '../../shared/events.ts';
import type { Registry } from '../../shared/registry.ts';
import { startTimer } from '../connection/timer.ts';
import { report } from '../errors.ts';
import { watchPage } from './page.ts';
import type { PublisherDraft } from './parts.ts';
import { PublishQueue, type PublishResult, type QueueOptions } from './queue.ts';
import { EventSender, type SenderOptions } from './sender.ts';
import type { SpillFile } from './spill.ts';

/**
 * Publishes events over HTTP. The server stores each event once and in order, even if it restarts meanwhile.
 *
 * A draft is an event before the server stores it. `publish` adds a time and an id to each draft. The server stores each
 * id once, so the publisher can repeat a request until the server answers.
 *
 * `queue.ts` puts the drafts of several calls into one request, and finds the calls that caused a refusal. `sender.ts`
 * sends a request and repeats it. `answer.ts` distinguishes the server's answers from those of proxies. `spill.ts` keeps
 * the drafts in a file until the server has answered.
 */

export type PublisherOptions = SenderOptions &
  QueueOptions & {
    /**
     * A file for the drafts that the server has not answered yet; default none. `publish` writes to it before it returns.
     * After a crash, the next publisher with this file sends the drafts first. One publisher at a time can use it. For
     * Node.js, Bun and Deno.
     */
    spillPath?: string | undefined;
    /**
     * Called with the error of each failed call of `publish`, for code that does not await the call. With `willRetry`, no
     * event is lost: the publisher reports why it cannot send for now, and goes on trying.
     */
    onError?: ((error: RunwireError, willRetry: boolean) => void) | undefined;
  };

/** A publisher over HTTP. It sends batches in order, retries, and stores each event once. */
export type EventPublisher<R extends Registry = RunwireEvents> = {
  /**
   * Publishes drafts. Resolves once all of them are durable. A call with up to 1,000 drafts and 1 MB is stored as a whole
   * or not at all. A larger call is sent in several requests; after a refused request the rest is not sent.
   *
   * Rejects with a `RunwireError`:
   * - the server refused a draft: the server's code, with `path` and `issues`. The `index` of an issue counts the drafts
   *   of this call;
   * - the queue is full: `RATE_LIMITED`;
   * - the server refused the token: `UNAUTHENTICATED`;
   * - the address has answered only as something else than a Runwire server for a minute: `NOT_FOUND`;
   * - the server did not answer within `retryForMs`, the spill file cannot be written, or the publisher is closed:
   *   `UNAVAILABLE`.
   *
   * With a spill file, the drafts of a call that failed for its token, its address or its time are still sent.
   *
   * Code may ignore the promise: its rejection does not become an unhandled rejection.
   */
  publish(drafts: PublisherDraft<R> | readonly PublisherDraft<R>[]): Promise<PublishResult>;
  /** Ends the delay before a retry. Resolves when all drafts that were published before are stored or have failed. */
  flush(): Promise<void>;
  /**
   * Refuses further drafts, waits up to `waitMs` (default 10,000) until all drafts are stored, and fails the rest. With a
   * spill file, the rest stays in the file.
   */
  close(waitMs?: number): Promise<void>;
};

/** Opens a spill file, or throws a `RunwireError`. `onError` receives later errors of the file. */
export type OpenSpill = (path: string, onError: (error: RunwireError, willRetry: boolean) => void) => SpillFile;

export function publisherWith<R extends Registry>(openSpill: OpenSpill, options: PublisherOptions): EventPublisher<R> {
  const { spillPath, onError } = objectOf(options, 'options');
  const notify = (error: RunwireError, willRetry: boolean) =>
    // Not within `publish`, which the callback may call.
    queueMicrotask(async () => {
      try {
        await onError?.(error, willRetry);
      } catch (thrown) {
        report(thrown);
      }
    });
  const sender = new EventSender(options, (error) => notify(error, true));
  const spill = spillPath === undefined ? undefined : openSpill(spillPath, notify);
  const queue = new PublishQueue({ sender, spill, onFailure: notify }, options);
  let isLeaving = false;
  let closing: Promise<void> | undefined;
  const unwatch = watchPage({
    onHide: () => queue.sendLast(),
    onLeave: () => {
      isLeaving = true;
    },
    onReturn: () => {
      isLeaving = false;
    },
  });

  const publish: EventPublisher<R>['publish'] = (drafts) => {
    if (closing) return queue.refuse(new RunwireError('UNAVAILABLE', 'the publisher is closed'));
    const result = queue.add((Array.isArray(drafts) ? drafts : [drafts]) as readonly PublisherDraft[]);
    if (isLeaving) queue.sendLast();
    return result;
  };

  const flush = (): Promise<void> => {
    sender.retryNow();
    return queue.settled();
  };

  const close = async (waitMs = 10_000): Promise<void> => {
    const timer = startTimer(waitMs, () => sender.giveUp());
    closing ??= flush()
      .then(() => queue.ended())
      .finally(unwatch);
    await closing;
    clearTimeout(timer);
  };

  return { publish, flush, close };
}
