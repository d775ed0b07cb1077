import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Checkpoint, ClockRepair, Erasure, RecordState, Verdict, Verification } from '../../shared/audit.ts';
import { RunwireError } from '../../shared/errors.ts';
import { can, requirePermission } from '../auth/permissions.ts';
import { everyProject, type Principal } from '../auth/principal.ts';
import type { VerifyOptions } from '../event-log/contract/integrity.ts';
import type { Log } from '../event-log/contract/log.ts';
import type { Lease } from '../event-log/contract/nodes.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import type { Peers } from '../peers.ts';
import type { Privacy } from '../phi/identifiers.ts';
import { CHECKPOINTS_FILE } from './history.ts';

/**
 * Verification, erasure and signed checkpoints of the event log, for administrators.
 *
 * A checkpoint is the signed hash of the log up to its head. A checkpoint is taken every 10 minutes, after 10,000
 * events, and at shutdown, of the nodes that share a log by the one with the lease, and on request by any. An attacker with write access to the database can recompute the whole
 * hash chain. The result then differs from a checkpoint that was copied to another machine.
 */

const EVERY_MS = 10 * 60_000;
const EVERY_EVENTS = 10_000;
/** Maximum number of checkpoints in one call of `audit.verify`, so that the message stays below its size limit. */
export const MAX_CHECKPOINTS = 8_000;

/** Largest difference between the time that a caller of {@link Audit.confirmClock} names and the system clock. */
const MAX_DIFFERENCE_MS = 5 * 60_000;

export type AuditOptions = {
  log: Log & Pick<EventLog, 'integrity' | 'nodes'>;
  privacy: Pick<Privacy, 'guardText'>;
  tombstone: (event: object) => object;
  /** Folder for the file `checkpoints.ndjson`. Undefined: each checkpoint is a line of the server's log instead. */
  folder: string | undefined;
  logger: Logger;
  /** The other servers of the log. Default: none. */
  peers?: Pick<Peers, 'publish' | 'partsOf'>;
  /** Called when an administrator has confirmed that the system clock is right. */
  onClockConfirmed?: () => Promise<void>;
  /** Interval of checkpoints. Default 10 minutes. */
  everyMs?: number;
  /** Number of events after which a checkpoint is taken. Default 10,000. */
  everyEvents?: number;
};

export class Audit {
  readonly #log: Log & Pick<EventLog, 'integrity'>;
  readonly #privacy: Pick<Privacy, 'guardText'>;
  readonly #tombstone: (event: object) => object;
  readonly #folder: string | undefined;
  readonly #logger: Logger;
  readonly #onClockConfirmed: () => Promise<void>;
  readonly #peers: Pick<Peers, 'publish' | 'partsOf'> | undefined;
  readonly #lease: Lease;
  #headAtStart: number;
  readonly #everyEvents: number;
  readonly #timer: NodeJS.Timeout;
  /** Head of the log at the last checkpoint. That checkpoint may still be in progress. */
  #takenAt = -1;
  /** The last checkpoint that was due. */
  #taking: Promise<unknown> = Promise.resolve();
  /** The last write to the file. Each write waits for the one before it, so that the lines are in order. */
  #writing: Promise<void> = Promise.resolve();
  #verification: Verification | undefined;
  /** The last verification. Verifications run one at a time, because each uses all spare time of the event loop. */
  #verifying: Promise<unknown> = Promise.resolve();

  constructor(options: AuditOptions) {
    const { log, privacy, tombstone, folder, logger, everyMs = EVERY_MS, everyEvents = EVERY_EVENTS } = options;
    this.#log = log;
    this.#privacy = privacy;
    this.#tombstone = tombstone;
    this.#folder = folder;
    this.#logger = logger;
    this.#peers = options.peers;
    options.peers?.publish('verified', () => this.#verification);
    this.#onClockConfirmed = options.onClockConfirmed ?? (() => Promise.resolve());
    this.#timer = setInterval(() => {
      if (this.#lease.isHeld) void this.#takeIfMoved();
    }, everyMs).unref();
    this.#headAtStart = log.head;
    this.#everyEvents = everyEvents;
    this.#lease = log.nodes.lease('checkpoints', () => {
      this.#headAtStart = this.#log.head;
    });
  }

  /** Takes a checkpoint if enough events were logged since the last one. Called after each commit. */
  committed(): void {
    const isDue = this.#log.head - Math.max(this.#takenAt, this.#headAtStart) >= this.#everyEvents;
    if (isDue && this.#lease.isHeld) void this.#takeIfMoved();
  }

  /** Verifies the hash chain of the log. Throws `FORBIDDEN`. */
  async verify(principal: Principal, options: VerifyOptions = {}): Promise<Verdict> {
    requirePermission(principal, 'verify');
    const verdict = this.#verifying.then(async () => {
      const found = await this.#log.integrity.verify(options);
      this.#verification = { at: new Date().toISOString(), by: principal.sub, verdict: found };
      return found;
    });
    this.#verifying = verdict.catch(() => undefined);
    return verdict;
  }

  /** Returns the head of the log, and the last verification by any server that runs. */
  state(): RecordState {
    const { head, oldest, headHashPrefix: hashPrefix } = this.#log;
    const elsewhere = this.#peers?.partsOf<Verification>('verified').values() ?? [];
    const all = [...elsewhere, ...(this.#verification ? [this.#verification] : [])];
    const verified = all.sort((a, b) => b.at.localeCompare(a.at))[0];
    return { seq: head, oldest, hashPrefix, ...(verified ? { verified } : {}) };
  }

  /** Returns a checkpoint of the current head, and the public key that verifies its signature. Throws `FORBIDDEN`. */
  async checkpoint(principal: Principal): Promise<{ checkpoint: Checkpoint; publicKey: string }> {
    requirePermission(principal, 'verify');
    return { checkpoint: await this.#take(), publicKey: this.#log.integrity.publicKey };
  }

  /** Erases the text of an event. Throws `FORBIDDEN`, `EVENT_NOT_FOUND`, and `PHI_REJECTED` for the reason. */
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

  /**
   * Confirms that the system clock is right, which the caller shows by naming the present time. If the newest event is ahead
   * of the clock, `recordedAt` begins again at the present time. Throws `FORBIDDEN`, and `INVALID_INPUT` for another time.
   */
  async confirmClock(
    principal: Principal,
    { now }: { now: string },
  ): Promise<{ clock: string; repair: ClockRepair | null }> {
    requirePermission(principal, 'clock', { projectId: everyProject });
    const clockMs = Date.now();
    if (Math.abs(Date.parse(now) - clockMs) > MAX_DIFFERENCE_MS) {
      const clock = new Date(clockMs).toISOString();
      throw new RunwireError('INVALID_INPUT', `the server's clock is at ${clock}: set it, or name the present time`, {
        path: 'now',
      });
    }
    const repair = (await this.#log.integrity.repairClock({ by: principal.sub })) ?? null;
    await this.#onClockConfirmed();
    if (repair)
      this.#logger.warn({ seq: repair.seq, from: repair.from, at: repair.at }, 'the clock of the log was repaired');
    return { clock: new Date(clockMs).toISOString(), repair };
  }

  /** Takes a first checkpoint of the present epoch, so that the next start has one to compare with. */
  async begin(): Promise<void> {
    await this.#takeIfMoved();
    await this.#writing;
  }

  /** Takes a last checkpoint, with the lease. Resolves once the checkpoint is in the file. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    if (this.#lease.isHeld) await this.#takeIfMoved();
    await this.#writing;
    await this.#lease.release();
  }

  /** Takes a checkpoint if events were logged since the last one, which may be in progress. Publishers do not wait for it. */
  #takeIfMoved(): Promise<unknown> {
    if (this.#log.head !== this.#takenAt) {
      this.#taking = this.#take().catch((error) => this.#logger.error({ err: error }, 'cannot take a checkpoint'));
    }
    return this.#taking;
  }

  async #take(): Promise<Checkpoint> {
    this.#takenAt = this.#log.head;
    const { checkpoint, isNew } = await this.#log.integrity.checkpoint();
    if (isNew) this.#keep(checkpoint);
    return checkpoint;
  }
  /** Writes a new checkpoint into the file; without a folder, into the server's log, which operators keep elsewhere. */
  #keep(checkpoint: Checkpoint): void {
    const { seq, hash } = checkpoint;
    if (this.#folder === undefined) {
      this.#logger.info({ seq, hash, checkpoint: JSON.stringify(checkpoint) }, 'checkpoint of the event log');
      return;
    }
    const path = join(this.#folder, CHECKPOINTS_FILE);
    const line = `${JSON.stringify(checkpoint)}\n`;
    this.#writing = this.#writing
      .then(() => appendFile(path, line, { mode: 0o600 }))
      .catch((error) => this.#logger.error({ err: error }, 'cannot write a checkpoint to checkpoints.ndjson'));
  }
}
