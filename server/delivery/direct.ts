import { RunwireError } from '../../shared/errors.ts';
import { closeCodes } from '../../shared/protocol.ts';
import { encodeCursor } from '../event-log/cursor.ts';
import { framesOf, messagePrefix, messageSuffix } from './frames.ts';
import type { FanOutGroup, Subscriber } from './group.ts';
import { type Reader, type ReaderContext, type Step, UNAVAILABLE_REASON } from './reader.ts';
import type { AttachedReader, FrameSink, Transport } from './transport.ts';
import type { Waiter, Wake } from './waiting.ts';

/**
 * A subscription that writes its own WebSocket frames. A loop that requests each item would cost several times as much as
 * the socket (docs/decisions/006).
 *
 * 1. `ws/client-calls.ts` sends `started`, and calls {@link begin} with the client's request.
 * 2. The subscription sends the messages of its reader in pieces, until the reader is at the head of the log.
 * 3. The subscription waits in a fan-out group or as a waiter. Then it continues with step 2.
 * 4. The subscription ends when its request is stopped ({@link return}), or when it fails.
 */

/** The client's request. Each message repeats its id and its JSON-RPC version. */
export interface DirectRequest {
  readonly id: unknown;
  readonly jsonrpc?: unknown;
  /** Called once if the subscription fails: the client must receive the error. */
  failed(error: unknown): void;
}

/** Messages are written in pieces of this size, in UTF-16 units of JSON. */
const PIECE_LENGTH = 64 * 1024;

export class DirectSubscription implements AttachedReader, Subscriber {
  readonly reader: Reader;
  readonly sink: FrameSink;
  readonly #context: ReaderContext;
  readonly #transport: Transport;
  #request: DirectRequest | undefined;
  /** The prefix of all messages (frames.ts). */
  #prefix = '';
  #group: FanOutGroup | undefined;
  #waiter: Waiter | undefined;

  constructor(context: ReaderContext, transport: Transport, sink: FrameSink, reader: Reader) {
    this.#context = context;
    this.#transport = transport;
    this.sink = sink;
    this.reader = reader;
  }

  /** Ends the subscription, as the method of an iterator does. */
  return(): void {
    if (this.reader.isEnded) return;
    this.reader.end();
    if (this.#request) this.#transport.detach(this);
    this.recheckAccess();
  }

  get lag(): number {
    return this.#isParked ? 0 : this.reader.behind;
  }

  /** Starts to send messages to the client. Called once. */
  begin(request: DirectRequest): void {
    this.#request = request;
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
    const prefix = this.#prefix;
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
      flush(); // Also if `advance` throws: the error must come after these messages.
    }
  }

  #park(): void {
    const { notifier } = this.#context;
    if (notifier.isClosed) throw new RunwireError('UNAVAILABLE', 'the server has closed');
    const { reader } = this;
    const { topic, filter } = reader;
    if (filter) {
      this.#group = notifier.join(topic, this.#prefix, filter, this);
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
    this.return();
    this.#request?.failed(this.#context.translate(error));
  }
}
