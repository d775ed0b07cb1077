import { RunwireError } from '../../shared/errors.ts';
import { type TokenInvalidReason, tokenInvalidError } from '../auth/credentials.ts';
import type { Principal } from '../auth/principal.ts';
import type { Limits } from '../limits.ts';
import type { AttachedReader, Transport } from './transport.ts';

/**
 * Transports of subscriptions without a socket: server-sent events (SSE) and in-process callers. The server cannot close
 * such a transport. Instead, it wakes the reader when the token is no longer valid, and the reader throws.
 */

export type SocketlessTransportsOptions = {
  /** Returns why a token is no longer valid, or undefined if it is valid. */
  invalidReasonOf: (principal: Principal) => TokenInvalidReason | undefined;
  limits: Pick<Limits, 'connectionsPerUser'>;
};

export class SocketlessTransports {
  readonly options: SocketlessTransportsOptions;
  readonly open = new Set<SocketlessTransport>();
  /** Open SSE streams by user. */
  readonly #streamsOf = new Map<string, number>();
  #streams = 0;

  constructor(options: SocketlessTransportsOptions) {
    this.options = options;
  }

  /** Number of open SSE streams. */
  get streams(): number {
    return this.#streams;
  }

  /** Returns a transport for one subscription. An SSE stream counts for its user, as a WebSocket does. */
  transportOf(principal: Principal, via: 'http' | 'sse' | undefined): Transport {
    return new SocketlessTransport(principal, via !== undefined, this);
  }

  /** Ends the subscriptions with an expired or revoked token. */
  review(): void {
    for (const transport of this.open) transport.review();
  }

  /** Throws `RATE_LIMITED` if the user has too many streams. */
  addStream({ sub }: Principal): void {
    const streams = (this.#streamsOf.get(sub) ?? 0) + 1;
    if (streams > this.options.limits.connectionsPerUser) {
      throw new RunwireError('RATE_LIMITED', 'too many streams of this user');
    }
    this.#streamsOf.set(sub, streams);
    this.#streams++;
  }

  removeStream({ sub }: Principal): void {
    const streams = (this.#streamsOf.get(sub) ?? 0) - 1;
    if (streams > 0) this.#streamsOf.set(sub, streams);
    else this.#streamsOf.delete(sub);
    this.#streams--;
  }
}

/** Always drained, because the consumer requests one item at a time. */
class SocketlessTransport implements Transport {
  readonly principal: Principal;
  readonly isDrained = true;
  readonly #isStream: boolean;
  readonly #all: SocketlessTransports;
  #reader: AttachedReader | undefined;

  constructor(principal: Principal, isStream: boolean, all: SocketlessTransports) {
    this.principal = principal;
    this.#isStream = isStream;
    this.#all = all;
  }

  drained(): Promise<void> {
    return Promise.resolve();
  }

  throwIfTokenInvalid(): void {
    const reason = this.#all.options.invalidReasonOf(this.principal);
    if (reason) throw tokenInvalidError(reason);
  }

  review(): void {
    if (this.#all.options.invalidReasonOf(this.principal)) this.#reader?.recheckAccess();
  }

  attach(reader: AttachedReader): void {
    if (this.#isStream) this.#all.addStream(this.principal);
    this.#reader = reader;
    this.#all.open.add(this);
  }

  detach(): void {
    if (this.#all.open.delete(this) && this.#isStream) this.#all.removeStream(this.principal);
  }
}
