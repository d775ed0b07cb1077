import type { Logger } from 'pino';
import type { Log } from './event-log/contract/log.ts';

const DAY_MS = 86_400_000;
const INTERVAL_MS = 3_600_000;

export type RetentionOptions = { log: Pick<Log, 'trim'>; days: number | undefined; logger: Logger };

/** Deletes events older than `days` from the log, at the start and every hour. Without `days` it does nothing. */
export class Retention {
  readonly #options: RetentionOptions;
  readonly #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: RetentionOptions) {
    this.#options = options;
    if (options.days === undefined) return;
    this.#timer = setInterval(() => this.#trim(), INTERVAL_MS).unref();
    this.#trim();
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#timer);
  }

  #trim(): void {
    const { log, days = 0, logger } = this.#options;
    log.trim(Date.now() - days * DAY_MS).catch((error) => {
      // At shutdown the log refuses a trim in progress: this is not a failure.
      if (!this.#isClosed) logger.error({ err: error }, 'cannot trim the event log');
    });
  }
}
