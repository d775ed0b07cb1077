import { type Lapse, lapseError } from '../auth/credentials.ts';
import type { Principal } from '../auth/principal.ts';
import type { Attached, Transport } from './transport.ts';

/**
 * Subscriptions without a socket: those of SSE, and of callers in the process. Nothing of theirs can be closed; the reader
 * itself ends when its token does, and is woken to find that out.
 */

/** How often they are looked at. */
const TURN_MS = 500;

type LapseOf = (principal: Principal) => Lapse | undefined;

export class Streams {
  readonly #lapseOf: LapseOf;
  readonly #open = new Set<Stream>();
  /** Runs while there are any. */
  #wheel: NodeJS.Timeout | undefined;

  constructor(lapseOf: LapseOf) {
    this.#lapseOf = lapseOf;
  }

  /** The other end of one subscription. */
  transportOf(principal: Principal): Transport {
    return new Stream(principal, this.#lapseOf, (stream, isOpen) => this.#note(stream, isOpen));
  }

  /** Ends those whose token has expired or been revoked. */
  review(): void {
    for (const stream of this.#open) stream.review();
  }

  #note(stream: Stream, isOpen: boolean): void {
    if (isOpen) this.#open.add(stream);
    else this.#open.delete(stream);
    if (this.#open.size > 0) this.#wheel ??= setInterval(() => this.review(), TURN_MS).unref();
    else {
      clearInterval(this.#wheel);
      this.#wheel = undefined;
    }
  }
}

/** It takes what it asks for, when it asks for it. */
class Stream implements Transport {
  readonly principal: Principal;
  readonly isDrained = true;
  readonly #lapseOf: LapseOf;
  readonly #note: (stream: Stream, isOpen: boolean) => void;
  #reader: Attached | undefined;

  constructor(principal: Principal, lapseOf: LapseOf, note: (stream: Stream, isOpen: boolean) => void) {
    this.principal = principal;
    this.#lapseOf = lapseOf;
    this.#note = note;
  }

  drained(): Promise<void> {
    return Promise.resolve();
  }

  refuseLapsed(): void {
    const lapse = this.#lapseOf(this.principal);
    if (lapse) throw lapseError(lapse);
  }

  review(): void {
    if (this.#lapseOf(this.principal)) this.#reader?.poke();
  }

  attach(reader: Attached): void {
    this.#reader = reader;
    this.#note(this, true);
  }

  detach(): void {
    this.#note(this, false);
  }
}
