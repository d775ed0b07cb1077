import { RunwireError } from '../../shared/errors.ts';

/**
 * Counts the bytes of requests and answers that the server holds in memory, by user and in all. A request counts what it
 * has sent, and what that inflates to, until its answer is sent. An answer counts what its client has not accepted. A
 * published byte takes about five bytes of memory until it is stored.
 */
const MAX_USER_BYTES = 32 * 1024 * 1024;
const MAX_BYTES = 128 * 1024 * 1024;

/** The bytes of one request and its answer. */
export type Held = {
  /**
   * Throws `RATE_LIMITED` if the user then has too many bytes in flight, and `UNAVAILABLE` if all users have. Throws
   * `INVALID_INPUT` after `release`: nothing would release the bytes of a body that is read after its answer.
   */
  add(bytes: number): void;
  /** Counts the bytes of an answer. The answer exists already, so the next request is refused instead of this one. */
  addAnswer(bytes: number): void;
  release(): void;
};

export class InFlight {
  readonly #byUser = new Map<string, number>();
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** Throws as {@link Held.add} does. */
  hold(sub: string): Held {
    let held = 0;
    let isReleased = false;
    const count = (bytes: number) => {
      held += bytes;
      this.#bytes += bytes;
      const ofUser = (this.#byUser.get(sub) ?? 0) + bytes;
      if (ofUser > 0) this.#byUser.set(sub, ofUser);
      else this.#byUser.delete(sub);
    };
    this.#check(sub, 0);
    return {
      add: (bytes) => {
        if (isReleased) throw new RunwireError('INVALID_INPUT', 'the request is answered');
        this.#check(sub, bytes);
        count(bytes);
      },
      addAnswer: count,
      release: () => {
        isReleased = true;
        count(-held);
      },
    };
  }

  #check(sub: string, bytes: number): void {
    if ((this.#byUser.get(sub) ?? 0) + bytes > MAX_USER_BYTES) {
      throw new RunwireError('RATE_LIMITED', 'too many bytes in flight for this user');
    }
    if (this.#bytes + bytes > MAX_BYTES) throw new RunwireError('UNAVAILABLE', 'too many bytes in flight');
  }
}
