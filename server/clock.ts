import type { Log } from './event-log/contract/log.ts';
import type { Health } from './health.ts';

/** Time by which the log may be ahead of the system clock before the server is not ready. */
const MAX_AHEAD_MS = 60_000;
/**
 * Largest step ahead of the system clock that the server believes without confirmation. Events are removed at most this
 * much too early.
 */
const MAX_STEP_MS = 7 * 86_400_000;
const CHECK_MS = 1_000;

export type ClockOptions = {
  log: Pick<Log, 'newestMs' | 'keepClock' | 'keptClock'>;
  health: Pick<Health, 'report'>;
  /** System clock, Unix ms. */
  now?: () => number;
  /** Ms from any start, unaffected by changes of the system clock. */
  monotonic?: () => number;
};

/**
 * Compares the system clock with the log, and with itself.
 *
 * - A log that was written with a clock ahead makes the server not ready (`clock`): its next events would get the time of the
 *   newest one.
 * - A clock that was set ahead, also between two runs of the server, is not right until an administrator confirms it
 *   (docs/decisions/012).
 */
export class Clock {
  readonly #options: Required<ClockOptions>;
  readonly #timer: NodeJS.Timeout;
  /** The last time at which the clock was right, and the monotonic time of that moment. */
  #right: { ms: number; at: number } | undefined;

  constructor(options: ClockOptions) {
    this.#options = { now: Date.now, monotonic: () => performance.now(), ...options };
    this.#timer = setInterval(() => this.check(), CHECK_MS).unref();
    this.check();
  }

  /** Reports whether the newest event or access entry is ahead of the clock. */
  check(): void {
    const { log, health, now } = this.#options;
    const aheadMs = log.newestMs - now();
    const message =
      `the newest entry of the log is ${Math.round(aheadMs / 1_000)} s ahead of the system clock: ` +
      'set the clock, or if it is right, run `runwire clock --now TIME`';
    health.report('clock', aheadMs > MAX_AHEAD_MS ? { message } : undefined);
  }

  /** Whether the clock is right: it was not set ahead by more than 7 days since the last call that found it right. */
  async isRight(): Promise<boolean> {
    const { log, now, monotonic } = this.#options;
    // A log of an older release has no kept time: its newest event is the best known one.
    this.#right ??= { ms: (await log.keptClock()) ?? (log.newestMs || now()), at: monotonic() };
    const { ms, at } = this.#right;
    if (now() - ms > monotonic() - at + MAX_STEP_MS) return false;
    await this.#keep(Math.max(ms, now()));
    return true;
  }

  /** Takes the present time of the system clock as right. */
  async confirm(): Promise<void> {
    await this.#keep(this.#options.now());
    this.check();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #keep(ms: number): Promise<void> {
    this.#right = { ms, at: this.#options.monotonic() };
    await this.#options.log.keepClock(ms);
  }
}
