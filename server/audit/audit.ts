import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { can, requirePermission } from '../auth/permissions.ts';
import type { Principal } from '../auth/principal.ts';
import type { Checkpoint, Erasure, Verdict, VerifyOptions } from '../event-log/contract/integrity.ts';
import type { Log } from '../event-log/contract/log.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import type { Privacy } from '../phi/identifiers.ts';

/**
 * What an administrator can ask of the record, and the checkpoints that it leaves behind: a log can be chained anew by
 * whoever can write to it, but not so that it agrees with what is kept elsewhere.
 */

const EVERY_MS = 10 * 60_000;
const EVERY_EVENTS = 10_000;
/** In one call; with it, a message is still smaller than its limit. */
export const MAX_CHECKPOINTS = 8_000;

export type AuditOptions = {
  log: Log & Pick<EventLog, 'integrity'>;
  privacy: Pick<Privacy, 'guardText'>;
  tombstone: (event: object) => object;
  /** Where `checkpoints.ndjson` is kept; nowhere for a log in memory. */
  folder: string | undefined;
  logger: Logger;
  /** Default 10 minutes and 10,000 events. */
  everyMs?: number;
  everyEvents?: number;
};

export class Audit {
  readonly #log: Log & Pick<EventLog, 'integrity'>;
  readonly #privacy: Pick<Privacy, 'guardText'>;
  readonly #tombstone: (event: object) => object;
  readonly #folder: string | undefined;
  readonly #logger: Logger;
  readonly #headAtStart: number;
  readonly #everyEvents: number;
  readonly #timer: NodeJS.Timeout;
  /** Head of the last checkpoint of this server's, taken or under way. */
  #checkedTo = -1;
  /** The writing of the file, one line after another. */
  #writing: Promise<void> = Promise.resolve();
  /** Verifications go one after another: each takes what time the loop has to spare. */
  #verifying: Promise<unknown> = Promise.resolve();

  constructor(options: AuditOptions) {
    const { log, privacy, tombstone, folder, logger, everyMs = EVERY_MS, everyEvents = EVERY_EVENTS } = options;
    this.#log = log;
    this.#privacy = privacy;
    this.#tombstone = tombstone;
    this.#folder = folder;
    this.#logger = logger;
    this.#timer = setInterval(() => void this.#check(), everyMs).unref();
    this.#headAtStart = log.head;
    this.#everyEvents = everyEvents;
  }

  /** Makes a checkpoint if enough events have been logged since the last. The server calls it after each commit. */
  committed(): void {
    if (this.#log.head - Math.max(this.#checkedTo, this.#headAtStart) >= this.#everyEvents) void this.#check();
  }

  /** Throws `FORBIDDEN`. */
  async verify(principal: Principal, options: VerifyOptions = {}): Promise<Verdict> {
    requirePermission(principal, 'verify');
    const verdict = this.#verifying.then(() => this.#log.integrity.verify(options));
    this.#verifying = verdict.catch(() => undefined);
    return verdict;
  }

  /** Where the log is now, and the key to check it with. Throws `FORBIDDEN`. */
  async checkpoint(principal: Principal): Promise<{ checkpoint: Checkpoint; publicKey: string }> {
    requirePermission(principal, 'verify');
    return { checkpoint: await this.#keep(), publicKey: this.#log.integrity.publicKey };
  }

  /** Throws `FORBIDDEN`, `EVENT_NOT_FOUND`, `PHI_REJECTED`. */
  async erase(principal: Principal, { seq, reason }: { seq: number; reason: string }): Promise<Erasure> {
    requirePermission(principal, 'erase');
    return this.#log.integrity.erase({
      seq,
      by: principal.sub,
      reason: this.#privacy.guardText('reason', reason),
      mayErase: (projectId) => can(principal, 'erase', { projectId }),
      tombstone: this.#tombstone,
    });
  }

  /** Resolves once the last checkpoint is kept. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#check();
    await this.#writing;
  }

  /** The signing is left for a turn of its own by the log: whoever has published is not to wait for it. */
  async #check(): Promise<void> {
    if (this.#log.head === this.#checkedTo) return;
    try {
      await this.#keep();
    } catch (error) {
      this.#logger.error({ err: error }, 'no checkpoint could be made');
    }
  }

  async #keep(): Promise<Checkpoint> {
    this.#checkedTo = this.#log.head;
    const { checkpoint, isNew } = await this.#log.integrity.checkpoint();
    if (this.#folder !== undefined && isNew) {
      const path = join(this.#folder, 'checkpoints.ndjson');
      const line = `${JSON.stringify(checkpoint)}\n`;
      this.#writing = this.#writing
        .then(() => appendFile(path, line, { mode: 0o600 }))
        .catch((error) => this.#logger.error({ err: error }, 'a checkpoint could not be written to its file'));
    }
    return checkpoint;
  }
}
