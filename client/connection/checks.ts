import type { ConnectionState } from './reconnect-policy.ts';
import { Store } from './store.ts';

/**
 * Checks that the server answers over the open socket. Each check is a round trip of the text `PING`, which a server answers
 * with `PONG`: it calls no procedure, so it is in no rate and no record. A server that is frozen, or that a broken network
 * hides, leaves the socket open and gives no answer.
 *
 * While components ask for checks, one is made at the shortest of their intervals. A hidden page makes none, and makes one at
 * once when it is shown.
 */

export type CheckStatus = {
  /** Time of the last answer in Unix ms; null without one. */
  checkedAtMs: number | null;
  /** Whether the last check on the present socket was answered in time. */
  isChecked: boolean;
};

/** A server that has not answered after this time is not checked. With an interval of 5 s, a freeze is noticed within 10 s. */
export const CHECK_MS = 4_500;

/** Resolves with true once a ping is answered, with false after `answerMs` or without an open socket. */
type Socket = { check(answerMs: number): Promise<boolean> };
type Policy = { readonly status: { state: ConnectionState }; subscribe(listener: () => void): () => void };

export class Checks {
  readonly #socket: () => Socket | undefined;
  readonly #policy: Policy;
  readonly #store = new Store<CheckStatus>({ checkedAtMs: null, isChecked: false });
  readonly #intervals = new Map<symbol, number>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #current: Promise<boolean> | undefined;
  #lastAt = Number.NEGATIVE_INFINITY;
  #isConnected = false;
  #stopWatching: (() => void) | undefined;

  /** `socket` returns the present socket. */
  constructor(socket: () => Socket | undefined, policy: Policy) {
    this.#socket = socket;
    this.#policy = policy;
    policy.subscribe(() => this.#follow());
  }

  readonly getStatus = (): CheckStatus => this.#store.state;
  readonly subscribe = (listener: () => void): (() => void) => this.#store.subscribe(listener);

  /** Makes a check, or joins the one that is under way. Resolves with whether the server has answered. */
  readonly check = (): Promise<boolean> => {
    this.#current ??= this.#run();
    return this.#current;
  };

  /** Checks every `ms`, now included, until the returned function is called. */
  every(ms: number): () => void {
    const id = Symbol();
    this.#intervals.set(id, ms);
    this.#stopWatching ??= watchPage(() => this.#forget());
    this.#schedule();
    return () => {
      this.#intervals.delete(id);
      if (this.#intervals.size === 0) this.stop();
      else this.#schedule();
    };
  }

  /** A new connection is checked at once, and what was checked before says nothing of it. */
  #follow(): void {
    const isConnected = this.#policy.status.state === 'connected';
    if (isConnected === this.#isConnected) return;
    this.#isConnected = isConnected;
    this.#forget();
  }

  /** Makes a check due, because the last answer says nothing: another socket is open, or the page was hidden. */
  #forget(): void {
    this.#set({ isChecked: false });
    this.#lastAt = Number.NEGATIVE_INFINITY;
    this.#schedule();
  }

  /** Ends the checks in intervals. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#stopWatching?.();
    this.#stopWatching = undefined;
  }

  async #run(): Promise<boolean> {
    const socket = this.#socket();
    this.#lastAt = performance.now();
    const isAnswered = ((await socket?.check(CHECK_MS)) ?? false) && this.#isConnected;
    this.#current = undefined;
    if (socket !== this.#socket()) this.#lastAt = Number.NEGATIVE_INFINITY; // Another socket has taken its place.
    this.#set(isAnswered ? { checkedAtMs: Date.now(), isChecked: true } : { isChecked: false });
    this.#schedule();
    return isAnswered;
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#intervals.size === 0 || this.#current || !this.#isConnected || isHidden()) return;
    const waitMs = this.#lastAt + Math.min(...this.#intervals.values()) - performance.now();
    // In a task of its own, because a component that leaves in the same task needs no check.
    const dueAtMs = Date.now() + Math.max(0, waitMs);
    this.#timer = setTimeout(() => {
      // The device was asleep: the last answer is of the time before.
      if (Date.now() > dueAtMs + CHECK_MS) this.#set({ isChecked: false });
      void this.check();
    }, dueAtMs - Date.now());
  }

  #set(change: Partial<CheckStatus>): void {
    const before = this.#store.state;
    const after = { ...before, ...change };
    if (after.checkedAtMs === before.checkedAtMs && after.isChecked === before.isChecked) return;
    this.#store.state = after;
    this.#store.notify();
  }
}

function watchPage(onChange: () => void): () => void {
  if (typeof document === 'undefined' || !document.addEventListener) return () => undefined;
  document.addEventListener('visibilitychange', onChange);
  return () => document.removeEventListener('visibilitychange', onChange);
}

const isHidden = () => typeof document !== 'undefined' && document.visibilityState === 'hidden';
