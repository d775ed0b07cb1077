import { type TokenInvalidReason, tokenInvalidError } from '../auth/credentials.ts';
import type { Principal } from '../auth/principal.ts';
import type { Attached, Transport } from './transport.ts';

/**
 * Subscriptions without a socket: those of SSE, and of callers in the process. Nothing of theirs can be closed; the reader
 * itself ends when its token does, and is woken to find that out.
 */

/** How often they are looked at. */
const SWEEP_MS = 500;

type LapseOf = (principal: Principal) => TokenInvalidReason | undefined;

export class SocketlessTransports {
  readonly #invalidReasonOf: LapseOf;
  readonly #open = new Set<Stream>();
  /** Runs while there are any. */
  #sweepTimer: NodeJS.Timeout | undefined;

  constructor(invalidReasonOf: LapseOf) {
    this.#invalidReasonOf = invalidReasonOf;
  }

  /** The other end of one subscription. */
  transportOf(principal: Principal): Transport {
    return new Stream(principal, this.#invalidReasonOf, (stream, isOpen) => this.#note(stream, isOpen));
  }

  /** Ends those whose token has expired or been revoked. */
  review(): void {
    for (const stream of this.#open) stream.review();
  }

  #note(stream: Stream, isOpen: boolean): void {
    if (isOpen) this.#open.add(stream);
    else this.#open.delete(stream);
    if (this.#open.size > 0) this.#sweepTimer ??= setInterval(() => this.review(), SWEEP_MS).unref();
    else {
      clearInterval(this.#sweepTimer);
      this.#sweepTimer = undefined;
    }
  }
}

/** It takes what it asks for, when it asks for it. */
class Stream implements Transport {
  readonly principal: Principal;
  readonly isDrained = true;
  readonly #invalidReasonOf: LapseOf;
  readonly #note: (stream: Stream, isOpen: boolean) => void;
  #reader: Attached | undefined;

  constructor(principal: Principal, invalidReasonOf: LapseOf, note: (stream: Stream, isOpen: boolean) => void) {
    this.principal = principal;
    this.#invalidReasonOf = invalidReasonOf;
    this.#note = note;
  }

  drained(): Promise<void> {
    return Promise.resolve();
  }

  refuseLapsed(): void {
    const reason = this.#invalidReasonOf(this.principal);
    if (reason) throw tokenInvalidError(reason);
  }

  review(): void {
    if (this.#invalidReasonOf(this.principal)) this.#reader?.recheckAccess();
  }

  attach(reader: Attached): void {
    this.#reader = reader;
    this.#note(this, true);
  }

  detach(): void {
    this.#note(this, false);
  }
}
