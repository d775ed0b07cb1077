import { RunwireError } from '../../shared/errors.ts';
import { closeCodes } from '../../shared/protocol.ts';
import { encodeCursor } from '../event-log/cursor.ts';
import { framesOf, messagePrefix, messageSuffix } from './frames.ts';
import type { FanOutGroup, Subscriber } from './group.ts';
import { type Reader, type ReaderContext, type Step, UNAVAILABLE_REASON } from './reader.ts';
import type { AttachedReader, FrameSink, Transport } from './transport.ts';
import type { Waiter, Wake } from './waiting.ts';

/**
 * A subscription that writes its own WebSocket frames. tRPC's WebSocket handler would request each item in a loop that
 * costs several times as much as the socket (docs/decisions/006).
 *
 * 1. The handler requests the first item of the iterator, which is the subscription itself.
 * 2. The handler encodes this item. `encoder.ts` calls {@link begin} with the id of the client's request.
 * 3. The subscription sends the messages of its reader in pieces, until the reader is at the head of the log.
 * 4. The subscription waits in a fan-out group or as a waiter. Then it continues with step 3.
 * 5. When the subscription ends or fails, the handler's second `next()` settles, and the handler sends tRPC's own message.
 */

/** Messages are written in pieces of this size, in UTF-16 units of JSON. */
const PIECE_LENGTH = 64 * 1024;

export class DirectSubscription
  implements AsyncIterableIterator<DirectSubscription>, AsyncDisposable, AttachedReader, Subscriber
{
  readonly reader: Reader;
  readonly sink: FrameSink;
  readonly #context: ReaderContext;
  readonly #transport: Transport;
  /** The prefix of all messages (frames.ts). Undefined until the id of the client's request is known. */
  #prefix: string | undefined;
  #group: FanOutGroup | undefined;
  #waiter: Waiter | undefined;
  #isAnnounced = false;
  #failure: { error: unknown } | undefined;
  /** Settles the handler's second `next()`, which is pending until the end. */
  #resolve: ((result: IteratorResult<DirectSubscription>) => void) | undefined;
  #reject: ((error: unknown) => void) | undefined;

  constructor(context: ReaderContext, transport: Transport, sink: FrameSink, reader: Reader) {
    this.#context = context;
    this.#transport = transport;
    this.sink = sink;
    this.reader = reader;
  }

  /** Not an async function: the second promise lives as long as the subscription, and should be small. */
  next(): Promise<IteratorResult<DirectSubscription>> {
    if (!this.#isAnnounced) {
      this.#isAnnounced = true;
      return Promise.resolve({ done: false, value: this });
    }
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      if (this.reader.isEnded) this.#settle();
    });
  }

  return(): Promise<IteratorResult<DirectSubscription>> {
    this.#end();
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Without this method, tRPC's handler would add one to each subscription. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#end();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  get lag(): number {
    return this.#isParked ? 0 : this.reader.behind;
  }

  /**
   * Starts to send messages to the client. Each message repeats the id and the JSON-RPC version of the client's request.
   */
  begin(request: { id: unknown; jsonrpc?: unknown }): void {
    if (this.#prefix !== undefined || this.reader.isEnded) return;
    this.#prefix = messagePrefix(request);
    this.#transport.attach(this);
    this.#run();
  }

  recheckAccess(): void {
    const { notifier } = this.#context;
    if (this.#group) notifier.leave(this.#group, this);
    else if (this.#waiter) notifier.wake(this.#waiter, 'access');
  }

  leftGroup(position: number): void {
    this.#group = undefined;
    this.reader.advanceTo(position);
    this.#run();
  }

  get #isParked(): boolean {
    return this.#group !== undefined || this.#waiter !== undefined;
  }

  /** Sends messages until the socket is full or the reader has to wait. Runs again after that. */
  #run(): void {
    try {
      const step = this.#sendPieces();
      if (step === 'blocked') void this.#transport.drained().then(() => this.#run());
      else if (step === 'waiting') this.#park();
      else if (step instanceof Promise) {
        step.then(
          () => this.#run(),
          (error: unknown) => this.#fail(error),
        );
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Sends messages, and returns the first step that is not a message. */
  #sendPieces(): Exclude<Step, { seq: number }> {
    const { notifier, counts } = this.#context;
    const prefix = this.#prefix as string;
    let piece: string[] = [];
    let length = 0;
    const flush = () => {
      if (piece.length === 0) return;
      this.sink.write(framesOf(prefix, piece));
      counts.delivered += piece.length;
      piece = [];
      length = 0;
    };
    try {
      for (;;) {
        const step = this.reader.advance();
        if (typeof step === 'string' || step instanceof Promise) return step;
        const suffix = messageSuffix(encodeCursor(notifier.history.epoch, step), step.message.json);
        piece.push(suffix);
        length += prefix.length + suffix.length;
        if (length >= PIECE_LENGTH) flush();
      }
    } finally {
      flush(); // Also if `advance` throws: the handler sends the error, which must come after these messages.
    }
  }

  #park(): void {
    const { notifier } = this.#context;
    if (notifier.isClosed) throw new RunwireError('UNAVAILABLE', 'the server has closed');
    const { reader } = this;
    const { topic, filter } = reader;
    if (filter) {
      this.#group = notifier.join(topic, this.#prefix as string, filter, this);
      return;
    }
    // The reader continues in a later microtask, because the notifier calls `wake` while it iterates over its waiters.
    void new Promise<Wake>((resolve) => {
      this.#waiter = { topic, reader, wake: resolve };
      notifier.add(this.#waiter);
    }).then((wake) => {
      this.#waiter = undefined;
      reader.wake(wake);
      this.#run();
    });
  }

  #fail(error: unknown): void {
    if (this.reader.isInterruption(error)) {
      // The client reconnects and resumes after its cursor. This subscription sends nothing more.
      this.#transport.close?.(closeCodes.tryAgain, UNAVAILABLE_REASON);
      return;
    }
    if (this.reader.isEnded) return;
    this.#failure = { error: this.#context.translate(error) };
    this.#end();
  }

  #end(): void {
    if (this.reader.isEnded) return;
    this.reader.end();
    if (this.#prefix !== undefined) this.#transport.detach(this);
    this.recheckAccess();
    this.#settle();
  }

  #settle(): void {
    if (!this.#resolve) return;
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure) this.#reject?.(failure.error);
    else this.#resolve({ done: true, value: undefined });
  }
}
