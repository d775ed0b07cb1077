import { type TrackedEnvelope, tracked } from '@trpc/server';
import { RunwireError } from '../../shared/errors.ts';
import { closeCodes, type StreamSignal } from '../../shared/protocol.ts';
import { encodeCursor } from '../event-log/cursor.ts';
import { type Reader, type ReaderContext, UNAVAILABLE_REASON } from './reader.ts';
import type { AttachedReader, Transport } from './transport.ts';
import type { Waiter, Wake } from './waiting.ts';

/**
 * A subscription with a consumer that requests each item: an in-process caller, server-sent events (SSE), or a WebSocket
 * without a frame sink.
 *
 * Not an async generator: `return()` of a generator waits for the pending `next()`. While the log has no new event for the
 * reader, that `next()` does not settle. https://github.com/tc39/proposal-async-iteration#async-generator-functions
 */

export type Tracked<Item> = TrackedEnvelope<Item | StreamSignal>;

export class ReaderIterator<Item> implements AsyncIterableIterator<Tracked<Item>>, AttachedReader {
  readonly #context: ReaderContext;
  readonly #transport: Transport;
  readonly #reader: Reader;
  readonly #signal: AbortSignal | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #waiter: Waiter | undefined;
  #isAttached = false;
  /** Resolves `#end`. */
  #ended!: () => void;
  readonly #end = new Promise<void>((resolve) => {
    this.#ended = resolve;
  });

  constructor(context: ReaderContext, transport: Transport, reader: Reader, signal: AbortSignal | undefined) {
    this.#context = context;
    this.#transport = transport;
    this.#reader = reader;
    this.#signal = signal;
  }

  next(): Promise<IteratorResult<Tracked<Item>>> {
    const pull = () => this.#pull();
    const result = this.#last.then(pull);
    this.#last = result.catch(() => undefined);
    return result;
  }

  return(): Promise<IteratorResult<Tracked<Item>>> {
    this.#stop();
    return Promise.resolve({ done: true, value: undefined });
  }

  throw(error: unknown): Promise<IteratorResult<Tracked<Item>>> {
    this.#stop();
    return Promise.reject(error);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  get lag(): number {
    return this.#waiter ? 0 : this.#reader.behind;
  }

  recheckAccess(): void {
    if (this.#waiter) this.#context.notifier.wake(this.#waiter, 'access');
  }

  async #pull(): Promise<IteratorResult<Tracked<Item>>> {
    try {
      if (!this.#isAttached && !this.#reader.isEnded) this.#attach();
      return await this.#nextItem();
    } catch (error) {
      if (this.#reader.isEnded) return { done: true, value: undefined };
      if (!this.#reader.isInterruption(error)) {
        this.#stop();
        throw this.#context.translate(error);
      }
      // The client reconnects and resumes after its cursor. This subscription yields nothing more.
      this.#transport.close?.(closeCodes.tryAgain, UNAVAILABLE_REASON);
      await this.#end;
      return { done: true, value: undefined };
    }
  }

  async #nextItem(): Promise<IteratorResult<Tracked<Item>>> {
    const { notifier, counts, turns } = this.#context;
    let isWoken = false;
    for (;;) {
      const pause = turns.next({ isFirst: isWoken });
      if (pause) await pause;
      const step = this.#reader.advance();
      if (step === 'ended') return { done: true, value: undefined };
      if (step === 'blocked') await this.#transport.drained();
      else if (step === 'waiting') {
        await this.#wait();
        isWoken = true;
      } else if (step instanceof Promise) await step;
      else {
        counts.delivered++;
        return { done: false, value: tracked(encodeCursor(notifier.history.epoch, step), step.message.event as Item) };
      }
    }
  }

  async #wait(): Promise<void> {
    const { notifier } = this.#context;
    if (notifier.isClosed) throw new RunwireError('UNAVAILABLE', 'the server has closed');
    const wake = await new Promise<Wake>((resolve) => {
      this.#waiter = { topic: this.#reader.topic, reader: this.#reader, wake: resolve };
      notifier.add(this.#waiter);
    });
    this.#waiter = undefined;
    this.#reader.wake(wake);
  }

  // Called at the first `next()`, not in the constructor: a tRPC handler that stops earlier never calls `return()`, and the
  // reader would stay attached.
  #attach(): void {
    this.#isAttached = true;
    this.#transport.attach(this);
    if (this.#signal?.aborted) this.#stop();
    else this.#signal?.addEventListener('abort', this.#stop);
  }

  readonly #stop = (): void => {
    if (this.#reader.isEnded) return;
    this.#reader.end();
    this.#signal?.removeEventListener('abort', this.#stop);
    this.#transport.detach(this);
    this.recheckAccess();
    this.#ended();
  };
}
