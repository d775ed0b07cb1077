import type { Logger } from 'pino';
import type { Clock } from './clock.ts';
import type { Log } from './event-log/contract/log.ts';
import type { Lease } from './event-log/contract/nodes.ts';
import type { EventLog } from './event-log/contract/store.ts';

const DAY_MS = 86_400_000;
const INTERVAL_MS = 3_600_000;

export type RetentionOptions = {
  log: Pick<Log, 'trim' | 'now'> & Pick<EventLog, 'nodes'> & { runs: Pick<EventLog['runs'], 'remove'> };
  clock: Pick<Clock, 'isRight'>;
  /** Events older than this are deleted. Default: none. */
  days: number | undefined;
  /** Runs that ended before this time, and have no event left, are removed. Default: none. */
  runsDays: number | undefined;
  logger: Logger;
  /** The current time in Unix ms. Default: that of the log. */
  now?: () => number;
};

/**
 * Deletes old events and runs, every hour, while the system clock is right. Of the nodes that share a log, the one with the
 * lease does it: when it gets the lease, and from then on.
 */
export class Retention {
  readonly #options: RetentionOptions;
  readonly #timer: NodeJS.Timeout;
  readonly #lease: Lease;
  #isClosed = false;
  #isPaused = false;
  #running: Promise<void> | undefined;

  constructor(options: RetentionOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.run(), INTERVAL_MS).unref();
    this.#lease = options.log.nodes.lease('retention', (isHeld) => {
      this.#isPaused = false;
      if (isHeld) void this.run();
    });
  }

  get days(): number | undefined {
    return this.#options.days;
  }

  get runsDays(): number | undefined {
    return this.#options.runsDays;
  }

  /** Whether nothing is deleted because the system clock may be wrong. */
  get isPaused(): boolean {
    return this.#isPaused;
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#timer);
    void this.#lease.release();
  }

  /** Deletes what is old, on the node with the lease. A call during another one shares its result. */
  async run(): Promise<void> {
    if (!this.#lease.isHeld) return;
    this.#running ??= this.#run()
      .catch((error) => {
        // At shutdown the log refuses a trim in progress: this is not a failure.
        if (!this.#isClosed) this.#options.logger.error({ err: error }, 'cannot trim the event log');
      })
      .finally(() => {
        this.#running = undefined;
      });
    await this.#running;
  }

  async #run(): Promise<void> {
    const { log, clock, days, runsDays, logger, now = () => log.now() } = this.#options;
    const isRight = await clock.isRight(); // Also without a retention: the clock's time is kept for a later one.
    if (days === undefined) return;
    this.#isPaused = !isRight;
    if (!isRight) {
      logger.warn(
        'nothing is deleted: the system clock was set ahead by more than 7 days; if it is right, run `runwire clock --now TIME`',
      );
      return;
    }
    const nowMs = now();
    await log.trim(nowMs - days * DAY_MS);
    if (runsDays !== undefined && this.#lease.isHeld)
      await log.runs.remove(new Date(nowMs - runsDays * DAY_MS).toISOString());
  }
}
