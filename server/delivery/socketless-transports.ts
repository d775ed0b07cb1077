import { type TokenInvalidReason, tokenInvalidError } from '../auth/credentials.ts';
import type { Principal } from '../auth/principal.ts';
import type { AttachedReader, Transport } from './transport.ts';

/**
 * Transports of subscriptions without a socket: server-sent events (SSE) and in-process callers. The server cannot close
 * such a transport. Instead, it wakes the reader when the token is no longer valid, and the reader throws.
 */

type InvalidReasonOf = (principal: Principal) => TokenInvalidReason | undefined;

export class SocketlessTransports {
  readonly #invalidReasonOf: InvalidReasonOf;
  readonly #open = new Set<SocketlessTransport>();

  constructor(invalidReasonOf: InvalidReasonOf) {
    this.#invalidReasonOf = invalidReasonOf;
  }

  /** Returns a transport for one subscription. */
  transportOf(principal: Principal): Transport {
    return new SocketlessTransport(principal, this.#invalidReasonOf, this.#open);
  }

  /** Ends the subscriptions with an expired or revoked token. */
  review(): void {
    for (const transport of this.#open) transport.review();
  }
}

/** Always drained, because the consumer requests one item at a time. */
class SocketlessTransport implements Transport {
  readonly principal: Principal;
  readonly isDrained = true;
  readonly #invalidReasonOf: InvalidReasonOf;
  readonly #open: Set<SocketlessTransport>;
  #reader: AttachedReader | undefined;

  constructor(principal: Principal, invalidReasonOf: InvalidReasonOf, open: Set<SocketlessTransport>) {
    this.principal = principal;
    this.#invalidReasonOf = invalidReasonOf;
    this.#open = open;
  }

  drained(): Promise<void> {
    return Promise.resolve();
  }

  throwIfTokenInvalid(): void {
    const reason = this.#invalidReasonOf(this.principal);
    if (reason) throw tokenInvalidError(reason);
  }

  review(): void {
    if (this.#invalidReasonOf(this.principal)) this.#reader?.recheckAccess();
  }

  attach(reader: AttachedReader): void {
    this.#reader = reader;
    this.#open.add(this);
  }

  detach(): void {
    this.#open.delete(this);
  }
}
