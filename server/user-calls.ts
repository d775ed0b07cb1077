import { setMaxListeners } from 'node:events';
import { RunwireError } from '../shared/errors.ts';

/** Calls of one user that run at the same time. Further ones wait. */
const MAX_RUNNING = 16;
/** Calls of one user that run or wait. */
const MAX_OPEN = 256;

type Queue = { running: number; waiting: Set<() => void> };

/** The queries and mutations that users have in progress over the network: a bound for each user, whatever the transport. */
export class UserCalls {
  readonly #queues = new Map<string, Queue>();

  /** Number of users with calls in progress. */
  get size(): number {
    return this.#queues.size;
  }

  /**
   * Resolves when a call of a user may run, with a function that ends the call. Throws `RATE_LIMITED` when the user has too
   * many, and the reason of the signal if it aborts first.
   */
  async begin(user: string, signal: AbortSignal | undefined): Promise<() => void> {
    signal?.throwIfAborted();
    const queue = this.#queues.get(user) ?? { running: 0, waiting: new Set() };
    if (queue.running + queue.waiting.size >= MAX_OPEN) {
      throw new RunwireError('RATE_LIMITED', 'too many calls of this user at once');
    }
    this.#queues.set(user, queue);
    if (queue.running < MAX_RUNNING) queue.running++;
    else await turnIn(queue, signal);
    let hasEnded = false;
    return () => {
      if (hasEnded) return;
      hasEnded = true;
      this.#end(user, queue);
    };
  }

  #end(user: string, queue: Queue): void {
    const [start] = queue.waiting;
    if (start) {
      start(); // It takes the place of the ended call.
      return;
    }
    queue.running--;
    if (queue.running === 0) this.#queues.delete(user);
  }
}

function turnIn(queue: Queue, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const leave = () => {
      queue.waiting.delete(start);
      signal?.removeEventListener('abort', cancel);
    };
    const start = () => {
      leave();
      resolve();
    };
    const cancel = () => {
      leave();
      reject(signal?.reason);
    };
    queue.waiting.add(start);
    if (signal) setMaxListeners(0, signal); // All calls of a socket have one signal.
    signal?.addEventListener('abort', cancel);
  });
}
