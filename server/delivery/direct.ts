import { RunwireError } from '../../shared/errors.ts';
import { closeCodes } from '../../shared/protocol.ts';
import { encodeCursor } from '../event-log/cursor.ts';
import { framesOf, messagePrefix, messageSuffix } from './frames.ts';
import type { FanOutGroup, Subscriber } from './group.ts';
import { type Reader, type ReaderContext, type Step, UNAVAILABLE_REASON } from './reader.ts';
import type { Attached, FrameSink, Transport } from './transport.ts';
import type { Waiter, Wake } from './waiting.ts';

/**
 * A subscription that sends for itself, past the loop in which tRPC's WebSocket handler takes items one by one: that loop
 * costs several times what the socket does (docs/decisions/006).
 *
 * To the handler it is an async iterable. Its first item is the subscription itself, which `encoder.ts` recognises when
 * the handler encodes it: so it learns the id of the request, and begins to send. No other item comes until it ends; ends
 * and errors go through the handler, so that the client sees the protocol's own messages.
 */

/** What is read is sent in pieces of this size, each once the socket has drained; UTF-16 units of JSON. */
const PIECE_LENGTH = 64 * 1024;

export class DirectSubscription
  implements AsyncIterableIterator<DirectSubscription>, AsyncDisposable, Attached, Subscriber
{
  readonly reader: Reader;
  readonly sink: FrameSink;
  readonly #context: ReaderContext;
  readonly #transport: Transport;
  /** The beginning of its messages, once the request's id is known. */
  #head: string | undefined;
  #group: FanOutGroup | undefined;
  #waiter: Waiter | undefined;
  #isAnnounced = false;
  #failure: { error: unknown } | undefined;
  /** The handler's `next()`, which is left open until the end. */
  #resolve: ((result: IteratorResult<DirectSubscription>) => void) | undefined;
  #reject: ((error: unknown) => void) | undefined;

  constructor(context: ReaderContext, transport: Transport, sink: FrameSink, reader: Reader) {
    this.#context = context;
    this.#transport = transport;
    this.sink = sink;
    this.reader = reader;
  }

  /** Not an async function: what the handler waits for lasts as long as the subscription, and should be small. */
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

  /** Without one, the handler would give it one. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#end();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  get lag(): number {
    return this.#isParked ? 0 : this.reader.behind;
  }

  /** Begins to send under the id, and the version, of the client's request. */
  begin(request: { id: unknown; jsonrpc?: unknown }): void {
    if (this.#head !== undefined || this.reader.isEnded) return;
    this.#head = messagePrefix(request);
    this.#transport.attach(this);
    this.#goOn();
  }

  recheckAccess(): void {
    const { notifier } = this.#context;
    if (this.#group) notifier.release(this.#group, this);
    else if (this.#waiter) notifier.wake(this.#waiter, 'access');
  }

  leftGroup(position: number): void {
    this.#group = undefined;
    this.reader.advanceTo(position);
    this.#goOn();
  }

  get #isParked(): boolean {
    return this.#group !== undefined || this.#waiter !== undefined;
  }

  /** Sends what there is, as far as the socket takes it. */
  #goOn(): void {
    try {
      const step = this.#sendPieces();
      if (step === 'blocked') void this.#transport.drained().then(() => this.#goOn());
      else if (step === 'waiting') this.#park();
      else if (step instanceof Promise) {
        step.then(
          () => this.#goOn(),
          (error: unknown) => this.#fail(error),
        );
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Returns the step that has nothing to be sent. */
  #sendPieces(): Exclude<Step, { seq: number }> {
    const { log, counts } = this.#context;
    const head = this.#head as string;
    let piece: string[] = [];
    let length = 0;
    const flush = () => {
      if (piece.length === 0) return;
      this.sink.write(framesOf(head, piece));
      counts.delivered += piece.length;
      piece = [];
      length = 0;
    };
    try {
      for (;;) {
        const step = this.reader.advance();
        if (typeof step === 'string' || step instanceof Promise) return step;
        const rest = messageSuffix(encodeCursor(log.epoch, step.seq), step.message.json);
        piece.push(rest);
        length += head.length + rest.length;
        if (length >= PIECE_LENGTH) flush();
      }
    } finally {
      flush(); // Before an error, which takes another way, overtakes it.
    }
  }

  #park(): void {
    const { notifier } = this.#context;
    if (notifier.isClosed) throw new RunwireError('UNAVAILABLE', 'the server has closed');
    const { reader } = this;
    const { bellKey: key, filter } = reader;
    if (filter) {
      this.#group = notifier.join(key, this.#head as string, filter, this);
      return;
    }
    // In a later task than the ring, for all who are rung for must be found as they were.
    void new Promise<Wake>((resolve) => {
      this.#waiter = { key, reader, wake: resolve };
      notifier.add(this.#waiter);
    }).then((wake) => {
      this.#waiter = undefined;
      reader.wake(wake);
      this.#goOn();
    });
  }

  #fail(error: unknown): void {
    if (this.reader.isInterruption(error)) {
      // An error would make the client forget the subscription; a closed socket makes it come back with its cursor.
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
    if (this.#head !== undefined) this.#transport.detach(this);
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
