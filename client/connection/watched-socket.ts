import { RunwireError } from '../../shared/errors.ts';
import { closeCodes } from '../../shared/protocol.ts';
import { report } from '../errors.ts';
import { startTimer } from './timer.ts';

/**
 * A WebSocket that reports its first message and its end to a {@link SocketObserver}. tRPC's WebSocket client opens the
 * sockets and does not report why a socket ended. So tRPC's client is given this class in place of the platform's class.
 *
 * It holds the platform's socket and creates all events itself, because platforms differ: a constructor may throw, an
 * `error` may come without a `close`, and `CloseEvent` may be missing. Here, each socket ends with one `close`, after an
 * `error` if it has never opened.
 *
 * A socket ends in one of two ways:
 * - released: the client closed it;
 * - lost: anything else, a socket without an answer included. On a dead network the platform takes minutes to close a
 *   socket, so the client does not wait for it.
 */
export class WatchedSocket {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  static readonly CLOSING = 2;
  static readonly CLOSED = 3;
  /** tRPC's client since 11.25 reads this constant from the socket. */
  readonly OPEN = WatchedSocket.OPEN;

  readyState: number = WatchedSocket.CONNECTING;
  readonly #observer: SocketObserver;
  readonly #heartbeatMs: number;
  readonly #socket: PlatformSocket | undefined;
  readonly #listeners = new Map<string, Set<Listener>>();
  /** For each `PING` without an answer, the function to call at the answer; undefined if tRPC's client sent it. */
  readonly #pings: ((() => void) | undefined)[] = [];
  readonly #createdAt = performance.now();
  #hasOpened = false;
  /** When the last message arrived; undefined before the first one. */
  #heardAt: number | undefined;
  #isReleased = false;
  #isEnded = false;
  #timer: ReturnType<typeof startTimer>;
  /** Until when the answer to a ping is awaited; undefined without a ping. */
  #answerDueAt: number | undefined;

  constructor(url: string | URL, options: WatchedSocketOptions) {
    this.#observer = options.observer;
    this.#heartbeatMs = options.heartbeatMs;
    this.#observer.onCreated(this);
    try {
      this.#socket = this.#openPlatformSocket(url, options.WebSocket);
      this.#startTimer(this.#maxSilenceMs, () => this.#checkSilence());
    } catch (error) {
      // tRPC's client adds its listeners after the constructor has returned.
      this.#startTimer(0, () => this.#end(refusalOf(error)));
    }
  }

  set binaryType(type: 'arraybuffer' | 'blob') {
    if (this.#socket) this.#socket.binaryType = type;
  }

  addEventListener(type: string, listener: Listener): void {
    const listeners = this.#listeners.get(type);
    if (listeners) listeners.add(listener);
    else this.#listeners.set(type, new Set([listener]));
  }

  removeEventListener(type: string, listener: Listener): void {
    this.#listeners.get(type)?.delete(listener);
  }

  /** Sends `text` if the platform's socket is open. */
  send(text: string): void {
    if (this.#socket?.readyState !== WatchedSocket.OPEN) return;
    if (text === 'PING') this.#pings.push(undefined);
    this.#socket.send(text);
  }

  /** Releases the socket: the client needs it no longer. */
  close(): void {
    if (this.#isEnded || this.#isReleased) return;
    this.#isReleased = true;
    this.readyState = WatchedSocket.CLOSING;
    this.#socket?.close();
    this.#expectClose();
  }

  /** Ends the socket at once, without waiting for the server. With `loss` the socket counts as lost, else as released. */
  abandon(loss?: RunwireError): void {
    if (this.#isEnded) return;
    if (!loss) this.#isReleased = true;
    this.#end(loss);
    if (this.#socket && 'terminate' in this.#socket)
      (this.#socket.terminate as () => void)(); // The package `ws`.
    else this.#socket?.close();
  }

  /**
   * Sends a ping on an open socket, and ends the socket if no message arrives within `answerMs`: after sleep or a change of
   * network, a dead socket may still look open. Ends a socket that has been connecting for longer than `answerMs`.
   */
  probe(answerMs: number): void {
    if (this.#isEnded) return;
    if (this.readyState === WatchedSocket.OPEN) this.#ping(answerMs, true);
    const isLate = performance.now() - this.#createdAt > answerMs;
    if (this.readyState === WatchedSocket.CONNECTING && isLate) this.#giveUp(true);
  }

  /**
   * Sends a ping. Resolves with true once it is answered, with false after `answerMs` or without an open socket. A socket
   * without an answer stays: its silence ends it later.
   */
  check(answerMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      if (this.#isEnded || this.#socket?.readyState !== WatchedSocket.OPEN) return resolve(false);
      const timer = startTimer(answerMs, () => resolve(false));
      this.#pings.push(() => {
        clearTimeout(timer);
        resolve(true);
      });
      this.#socket.send('PING');
    });
  }

  #openPlatformSocket(url: string | URL, given: WebSocketClass | undefined): PlatformSocket {
    const Platform = given ?? (globalThis.WebSocket as WebSocketClass | undefined);
    if (!Platform) {
      const message = 'this platform has no WebSocket: pass the class of the package ws';
      throw new RunwireError('INVALID_INPUT', message, { path: 'WebSocket' });
    }
    const socket = new Platform(url) as PlatformSocket;
    socket.addEventListener('open', () => this.#open());
    socket.addEventListener('message', ({ data }) => this.#receive(data));
    socket.addEventListener('error', () => this.#expectClose());
    socket.addEventListener('close', ({ code = NO_CLOSE_FRAME, reason = '' }) => this.#end(lossOf(code, reason), code));
    return socket;
  }

  #open(): void {
    if (this.#isEnded || this.readyState !== WatchedSocket.CONNECTING) return;
    this.readyState = WatchedSocket.OPEN;
    this.#hasOpened = true;
    this.#emit({ type: 'open' });
  }

  #receive(data: unknown): void {
    if (this.#isEnded) return;
    const isFirst = this.#heardAt === undefined;
    this.#heardAt = performance.now();
    if (isFirst) this.#observer.onAnswered(this);
    const onAnswer = data === 'PONG' ? this.#pings.shift() : undefined;
    if (onAnswer) onAnswer();
    else this.#emit({ type: 'message', data });
  }

  get #maxSilenceMs(): number {
    return this.#heardAt === undefined ? Math.min(CONNECT_MS, this.#heartbeatMs) : this.#heartbeatMs;
  }

  /** Ends a socket that does not open in time. Sends a ping after a time without a message. */
  #checkSilence(): void {
    const leftMs = (this.#heardAt ?? this.#createdAt) + this.#maxSilenceMs - performance.now();
    if (leftMs > 0) this.#startTimer(leftMs, () => this.#checkSilence());
    else if (this.readyState === WatchedSocket.CONNECTING) this.#giveUp(false);
    else this.#ping(this.#maxSilenceMs, false);
  }

  #ping(answerMs: number, isUrgent: boolean): void {
    const pingedAt = performance.now();
    if (this.#answerDueAt !== undefined && this.#answerDueAt <= pingedAt + answerMs) return;
    this.#answerDueAt = pingedAt + answerMs;
    if (this.#socket?.readyState === WatchedSocket.OPEN) {
      this.#pings.push(() => undefined);
      this.#socket.send('PING');
    }
    this.#startTimer(answerMs, () => {
      this.#answerDueAt = undefined;
      if ((this.#heardAt ?? 0) < pingedAt) this.#giveUp(isUrgent);
      else this.#checkSilence();
    });
  }

  #giveUp(isUrgent: boolean): void {
    const message = this.#heardAt === undefined ? 'the server did not answer' : 'the connection stopped responding';
    this.abandon(new RunwireError('UNAVAILABLE', message));
    if (isUrgent) this.#observer.onDead();
  }

  #startTimer(ms: number, onElapsed: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = startTimer(ms, onElapsed);
  }

  /** After an error or a release, a socket that the platform does not close is ended here. */
  #expectClose(): void {
    if (this.#isEnded) return;
    // Browsers emit no `close` if a policy of the page forbids the socket, and Node.js 22 none if nothing listens.
    const isRefused = this.readyState === WatchedSocket.CONNECTING || this.#socket === undefined;
    this.#startTimer(isRefused ? 0 : CLOSING_MS, () =>
      this.abandon(isRefused ? refusalOf() : lossOf(NO_CLOSE_FRAME, '')),
    );
  }

  #end(loss: RunwireError | undefined, code = NO_CLOSE_FRAME): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    clearTimeout(this.#timer);
    this.#observer.onClosed(this, code, this.#isReleased ? undefined : loss);
    this.#emitClose(code);
  }

  /**
   * tRPC's client sends a new request in a timer of 0 ms. If the socket closed before, it would keep requests that it never
   * sends. So the socket seems open to it until such timers have run, and what it sends is sent again on the next socket.
   */
  #emitClose(code: number): void {
    const requests = this.#observer.requestCount();
    const close = () => {
      this.readyState = WatchedSocket.CLOSED;
      if (!this.#hasOpened) this.#emit({ type: 'error' });
      this.#emit({ type: 'close', code });
    };
    if (this.readyState !== WatchedSocket.OPEN) close();
    else
      this.#startTimer(SETTLE_MS, () => (this.#observer.requestCount() === requests ? close() : this.#emitClose(code)));
  }

  /** An error of one listener is reported. It must not end the platform's delivery of events. */
  #emit(event: SocketEvent): void {
    for (const listener of [...(this.#listeners.get(event.type) ?? [])]) {
      try {
        listener.call(this, event);
      } catch (error) {
        report(error);
      }
    }
  }
}

/** The platform's WebSocket class, or the class of the npm package `ws`. */
export type WebSocketClass = new (url: string | URL) => { readonly readyState: number; close(code?: number): void };

type SocketEvent = { type: string; data?: unknown; code?: number; reason?: string };
type Listener = (this: WatchedSocket, event: SocketEvent) => void;
type PlatformSocket = InstanceType<WebSocketClass> & {
  binaryType: string;
  send(text: string): void;
  addEventListener(type: string, listener: (event: Omit<SocketEvent, 'type'>) => void): void;
};

export type SocketObserver = {
  onCreated(socket: WatchedSocket): void;
  /**
   * The first message has arrived. Only a message proves that the server accepted the token: the server checks the token
   * after the socket has opened.
   */
  onAnswered(socket: WatchedSocket): void;
  /** `loss` is undefined when the socket was released. */
  onClosed(socket: WatchedSocket, code: number, loss: RunwireError | undefined): void;
  /** A {@link WatchedSocket.probe} had no answer, and the socket has ended. */
  onDead(): void;
  /** How many requests tRPC's client has been given. */
  requestCount(): number;
};

export type WatchedSocketOptions = {
  WebSocket: WebSocketClass | undefined;
  observer: SocketObserver;
  heartbeatMs: number;
};

/** Close code of a socket that ended without a close frame. */
const NO_CLOSE_FRAME = 1006;
/** A socket that has not answered after this time is checked, and ended after the same time again. */
const CONNECT_MS = 10_000;
/** A released socket that has not closed after this time is ended. */
const CLOSING_MS = 2_000;
/** Longer than the timers in which tRPC's client sends a request. Timers run in the order of their times. */
const SETTLE_MS = 10;

/** Resolves once a closing socket has closed. Resolves at once for a socket in any other state. */
export async function whenClosed(socket: WatchedSocket | undefined): Promise<void> {
  if (socket?.readyState !== WatchedSocket.CLOSING) return;
  await new Promise<void>((resolve) => socket.addEventListener('close', () => resolve()));
}

/** The loss of a socket that the platform did not open: its constructor threw `error`, or it gave no reason. */
function refusalOf(error?: unknown): RunwireError {
  if (error instanceof RunwireError) return error;
  const hint =
    typeof document === 'undefined' ? '' : '; the Content-Security-Policy of a page must allow it (connect-src)';
  const message = error instanceof Error ? error.message : `the platform gave no reason${hint}`;
  return new RunwireError('UNAVAILABLE', `the connection was refused: ${message}`, { cause: error });
}

function lossOf(code: number, reason: string): RunwireError {
  if (code === closeCodes.unauthenticated || code === closeCodes.revoked) {
    return new RunwireError('UNAUTHENTICATED', reason || 'the server did not accept the token');
  }
  if (code === closeCodes.overLimit)
    return new RunwireError('RATE_LIMITED', reason || 'a limit of the server was exceeded');
  const suffix = code === NO_CLOSE_FRAME ? '' : ` (${code})`;
  return new RunwireError('UNAVAILABLE', reason || `the connection was lost${suffix}`);
}
