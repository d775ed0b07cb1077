import { RunwireError } from '../../shared/errors.ts';
import { closeCodes } from '../../shared/protocol.ts';

/**
 * A WebSocket that reports its first message and its end to a {@link SocketObserver}. tRPC's WebSocket client opens the
 * sockets and does not report why a socket ended. So tRPC's client is given this subclass of the platform's WebSocket
 * class, which it uses for every socket.
 *
 * A socket ends in one of three ways:
 * - released: the client closed it;
 * - lost: the server or the network closed it;
 * - abandoned: the client treats it as closed, although the platform has not closed it yet. On a dead network the
 *   platform takes a minute to close a socket.
 */
export type WatchedSocket = WebSocket & {
  /** Ends the socket at once, without waiting for the server. With `loss` the socket counts as lost, else as released. */
  abandon(loss?: RunwireError): void;
  /**
   * Sends a ping on an open socket, and abandons the socket if no message arrives within `probeMs`. After sleep or a change
   * of network, a dead socket may still look open.
   */
  probe(): void;
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
  /** A probe had no answer, and the socket has been abandoned. */
  onDead(): void;
};

/** A released socket that has not closed after this time is abandoned. */
const CLOSING_MS = 2_000;

/** Returns a subclass of the WebSocket class `Base`. A probe waits `probeMs` for a message. */
export function watchedSocketOf(
  Base: typeof WebSocket,
  observer: SocketObserver,
  probeMs: number,
): new (
  url: string | URL,
) => WatchedSocket {
  return class extends Base {
    #isReleased = false;
    #isAbandoned = false;
    #loss: RunwireError | undefined;
    #closing: ReturnType<typeof setTimeout> | undefined;
    #probing: ReturnType<typeof setTimeout> | undefined;
    readonly #createdAt = performance.now();

    constructor(url: string | URL) {
      super(url);
      observer.onCreated(this);
      for (const type of ['open', 'message', 'error', 'close']) {
        // This must be the first listener: it hides the events of an abandoned socket from all other listeners.
        this.addEventListener(type, (event) => {
          if (this.#isAbandoned) event.stopImmediatePropagation();
        });
      }
      this.addEventListener('message', () => observer.onAnswered(this), { once: true });
      this.addEventListener('message', () => this.#stopProbing());
      this.addEventListener('close', ({ code, reason }) => {
        clearTimeout(this.#closing);
        this.#stopProbing();
        observer.onClosed(this, code, this.#isReleased ? undefined : (this.#loss ?? lossOf(code, reason)));
      });
    }

    override close(code?: number, reason?: string): void {
      // tRPC's client calls `close` without a code. The package `ws` calls it with a code after a close frame of the
      // server: then the socket counts as lost, not as released.
      if (code === undefined) {
        this.#isReleased = true;
        if (this.readyState < this.CLOSED) this.#closing ??= setTimeout(() => this.abandon(), CLOSING_MS);
      }
      super.close(code, reason);
    }

    abandon(loss?: RunwireError): void {
      if (this.#isAbandoned || this.readyState === this.CLOSED) return;
      const wasConnecting = this.readyState === this.CONNECTING;
      if (loss && !this.#isReleased) this.#loss = loss;
      else this.#isReleased = true;
      if ('terminate' in this) {
        (this.terminate as () => void)(); // Only the class of the package `ws` has this method.
        return;
      }
      super.close();
      if (wasConnecting) this.dispatchEvent(new Event('error'));
      this.dispatchEvent(new CloseEvent('close', { code: 1006 }));
      this.#isAbandoned = true;
    }

    probe(): void {
      if (this.#probing !== undefined) return;
      if (this.readyState === this.CONNECTING && performance.now() - this.#createdAt > probeMs) this.#giveUp();
      if (this.readyState !== this.OPEN) return;
      this.#probing = setTimeout(() => this.#giveUp(), probeMs);
      this.send('PING');
    }

    #giveUp(): void {
      this.abandon(new RunwireError('UNAVAILABLE', 'the connection stopped responding'));
      observer.onDead();
    }

    #stopProbing(): void {
      clearTimeout(this.#probing);
      this.#probing = undefined;
    }
  };
}

/** Resolves once a closing socket has closed. Resolves at once for a socket in any other state. */
export async function whenClosed(socket: WebSocket | undefined): Promise<void> {
  if (!socket || socket.readyState < socket.CLOSING) return;
  await new Promise((resolve) => socket.addEventListener('close', resolve));
}

function lossOf(code: number, reason: string): RunwireError {
  if (code === closeCodes.unauthenticated || code === closeCodes.revoked) {
    return new RunwireError('UNAUTHENTICATED', reason || 'the server did not accept the token');
  }
  if (code === closeCodes.overLimit)
    return new RunwireError('RATE_LIMITED', reason || 'a limit of the server was exceeded');
  // The platform uses 1006 when no close frame arrived, so the number would add nothing to the message.
  const suffix = code === 1006 ? '' : ` (${code})`;
  return new RunwireError('UNAVAILABLE', reason || `the connection was lost${suffix}`);
}
