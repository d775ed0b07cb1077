import { setImmediate, setTimeout } from 'node:timers/promises';
import { RunwireError } from '../../../shared/errors.ts';
import type { RunRows } from '../../../shared/run.ts';
import { sliceEnd } from '../../slices.ts';
import { CommitFold, Missing } from '../commit/commit-fold.ts';
import { type CachedRun, RunCache } from '../commit/run-cache.ts';
import type { Batch, Receipt } from '../contract/log.ts';
import { GENESIS, KeyOrder } from '../integrity/canonical.ts';
import { type CommitConnection, isStatementError } from './commit-connection.ts';
import { type Basis, CommitStatement, type Given, type Item, type Refused, seal } from './commit-statement.ts';
import type { Statement } from './database.ts';
import type { Committed } from './feed.ts';
import { type LoadedRow, LoadedRuns } from './loaded-runs.ts';

/**
 * Commits batches, in one of two ways:
 *
 * - `once`: folds on the rows in the cache, then sends one statement. The database compares the versions of the runs and
 *   looks for known event ids. If another node has changed a run, nothing is written.
 * - `locked`: locks the head, reads the rows that have changed or are not in the cache, folds, sends the same
 *   statement, and commits. It follows a `once` that has written nothing, and replaces some of the next ones: nodes that
 *   write to the same runs would mostly fold in vain.
 *
 * The fold runs with provisional positions. They follow every position that the node has seen, so that comparisons with
 * stored positions hold. The answer of the statement has the real ones.
 */

/** Maximum number of commits that lock the head first after a `once` that has written nothing. */
const MAX_LOCKED = 64;
const RETRY_MS = 100;

const LOCK = 'SELECT epoch, erasures, seq FROM head WHERE id = 1 FOR UPDATE';
const KNOWN = `
  SELECT u.project_id, u.event_id, x.seq, x.run_seq
  FROM unnest(string_to_array($1, chr(1)), string_to_array($2, chr(1))) u(project_id, event_id)
  CROSS JOIN LATERAL (
    SELECT y.seq, y.run_seq FROM events y WHERE y.project_id = u.project_id AND y.event_id = u.event_id LIMIT 1) x`;
/** The event with this salt: only this commit has it. */
const OWN = `
  SELECT e.seq - 1 AS base, e.recorded_at_ms FROM events e WHERE e.project_id = $1 AND e.event_id = $2 AND e.salt = $3`;
const HASHES = `
  SELECT seq, prev_hash AS hash FROM events WHERE seq > $1 AND seq <= $2 + 1
  UNION ALL SELECT seq + 1, hash FROM head WHERE seq = $2 ORDER BY seq`;

/** The answer to a batch: its receipts, or the error that refuses it. */
export type Answer = { receipts: Receipt[] } | { error: unknown };
/** `committed` is absent if nothing was logged. */
export type CommitResult = { answers: Answer[]; committed?: Committed };

/** The connection failed after the statement was sent, and the store cannot be asked whether it took effect. */
export class InDoubt extends Error {}

export type CommitterParts = {
  connection: CommitConnection;
  node: { readonly id: string; readonly generation: number };
  fold: (rows: RunRows, event: never) => void;
  now: (() => number) | undefined;
  epoch: string;
  erasures: number;
  /** Called when the connection fails during a commit. */
  onDoubt: (error: unknown) => void;
};

/** Batches that are folded and not written. `base`: the provisional position before their first event. */
type Folded = { group: CommitFold<CachedRun, Item>; answers: Answer[]; base: number; runs: LoadedRuns };
type Rows = Record<string, unknown>[];
type HeadRow = { epoch: string; erasures: number; seq: number };
type AnswerRow = {
  o_outcome: 'done' | 'renewed' | 'fenced' | 'stale' | 'known';
  o_base: number;
  o_at: number;
  o_hashes: Buffer | null;
  o_rows: number[] | null;
  o_epoch: string;
  o_erasures: number;
};

export class Committer {
  readonly #parts: CommitterParts;
  readonly #order = new KeyOrder();
  readonly #cache = new RunCache();
  /** The state of the log in which the rows of the cache were read. */
  #epoch: string;
  #erasures: number;
  /** The greatest position that this node has seen. */
  #seen = 0;
  /** Number of the next commits that lock the head first, and how many it will be after the next change. */
  #locked = 0;
  #nextLocked = 1;

  constructor(parts: CommitterParts) {
    this.#parts = parts;
    this.#epoch = parts.epoch;
    this.#erasures = parts.erasures;
  }

  /** Forgets the rows of runs: they may have changed without a change of version. */
  forget(): void {
    this.#cache.clear();
  }

  /**
   * Commits the batches, or throws the error of the store; then nothing is written. Throws {@link InDoubt} if that cannot
   * be known before `giveUpAt` (`performance.now()`).
   */
  async commit(batches: readonly Batch[], giveUpAt: () => number): Promise<CommitResult> {
    await this.#parts.connection.open();
    if (this.#locked > 0) this.#locked--;
    else {
      const result = await this.#commitOnce(batches, giveUpAt);
      if (result) return result;
    }
    return this.#commitLocked(batches, giveUpAt);
  }

  async #commitOnce(batches: readonly Batch[], giveUpAt: () => number): Promise<CommitResult | undefined> {
    const runs = new LoadedRuns(this.#cache, batches);
    if (runs.isIncomplete) await this.#load(runs);
    const folded = await this.#fold(batches, runs);
    if (!folded) return undefined;
    const statement = this.#statementOf(folded, this.#refused(batches, folded));
    if (statement.isLarge) return undefined;
    const { value: only } = statement.parts(this.#basis()).next();
    const { given, outcome } = await this.#send([only as Statement], folded, giveUpAt);
    if (given) {
      this.#nextLocked = 1;
      return this.#done(folded, statement, given);
    }
    if (outcome !== 'known') {
      this.#locked = this.#nextLocked - 1;
      this.#nextLocked = Math.min(MAX_LOCKED, 2 * this.#nextLocked);
    }
    return undefined;
  }

  async #commitLocked(batches: readonly Batch[], giveUpAt: () => number): Promise<CommitResult> {
    const { connection } = this.#parts;
    let isOpen = true;
    try {
      const runs = new LoadedRuns(this.#cache, batches);
      const begin = [{ text: 'BEGIN' }, { name: 'lock', text: LOCK }, runs.statement(), knownIds(batches)];
      const [, heads, rows, known] = await connection.send(begin);
      const [head] = heads as HeadRow[];
      if (!head) throw new RunwireError('INTERNAL', 'the event log has no head');
      this.#seen = Math.max(this.#seen, head.seq);
      if (this.#renew(head.epoch, head.erasures)) {
        runs.forget();
        await this.#load(runs);
      } else this.#take(runs, rows as LoadedRow[]);
      const folded = (await this.#fold(batches, runs, known)) as Folded;
      const statement = this.#statementOf(folded);
      let given: Given | undefined;
      const parts = statement.parts(this.#basis());
      let part = folded.group.items.length > 0 ? parts.next() : undefined;
      while (part && !part.done) {
        const next = statement.isLarge ? [part.value] : [part.value, { text: 'COMMIT' }];
        isOpen = statement.isLarge;
        const { given: answer, outcome } = await this.#send(next, folded, giveUpAt);
        if (!answer) throw new RunwireError('INTERNAL', `a commit that holds the lock is ${outcome}`);
        given = joined(given, answer);
        part = parts.next(given);
      }
      if (isOpen) {
        isOpen = false;
        if (given) given = (await this.#send([{ text: 'COMMIT' }], folded, giveUpAt, given)).given;
        else await connection.send([{ text: 'COMMIT' }]);
      }
      return this.#done(folded, statement, given);
    } finally {
      if (isOpen && connection.isOpen) await connection.send([{ text: 'ROLLBACK' }]).catch(() => connection.drop());
    }
  }

  #statementOf({ group, base }: Folded, refused: Refused = { drafts: [], runs: [] }): CommitStatement {
    return new CommitStatement(group.items, group.runs, refused, base);
  }

  /** A refusal holds only if its drafts are no duplicates, and the runs that its check has read are in the same version. */
  #refused(batches: readonly Batch[], { group, answers, runs }: Folded): Refused {
    const drafts = batches.filter((_, index) => 'error' in (answers[index] as Answer)).flatMap((batch) => batch.drafts);
    const written = new Set([...group.runs].map(({ tables }) => tables));
    return { drafts, runs: drafts.length > 0 ? [...runs.all()].filter((run) => !written.has(run)) : [] };
  }

  #basis(): Basis {
    const { node, now } = this.#parts;
    return {
      nodeId: node.id,
      generation: node.generation,
      epoch: this.#epoch,
      erasures: this.#erasures,
      nowMs: now?.(),
    };
  }

  /** Whether the rows of the cache were read in another state of the log. Then forgets them. */
  #renew(epoch: string, erasures: number): boolean {
    if (epoch === this.#epoch && erasures === this.#erasures) return false;
    this.#epoch = epoch;
    this.#erasures = erasures;
    this.forget();
    return true;
  }

  async #load(runs: LoadedRuns): Promise<void> {
    const [rows] = await this.#parts.connection.send([runs.statement()]);
    this.#take(runs, rows as LoadedRow[]);
  }

  #take(runs: LoadedRuns, rows: readonly LoadedRow[]): void {
    for (const { o_kind, o_seq } of rows) if (o_kind === 'run') this.#seen = Math.max(this.#seen, o_seq);
    runs.load(rows);
    // Pages of running stages of two versions may be mixed.
    if (runs.isChanged) return;
    for (const run of runs.all()) if (run.row) this.#cache.put(run);
  }

  /**
   * Folds the batches. Undefined if another node has changed a run meanwhile: its rows may have positions after the
   * provisional ones.
   */
  async #fold(batches: readonly Batch[], runs: LoadedRuns, known: Rows = []): Promise<Folded | undefined> {
    const { fold, now = Date.now } = this.#parts;
    const base = this.#seen;
    const group = new CommitFold<CachedRun, Item>(
      {
        fold,
        now,
        order: this.#order,
        openRun: (key) => runs.open(key),
        seal: (folded) => ({ item: seal(folded), hash: GENESIS }),
      },
      { seq: base, hash: GENESIS, recordedAtMs: 0 },
    );
    for (const row of known as { project_id: string; event_id: string; seq: number; run_seq: number }[]) {
      group.know(row.project_id, row.event_id, row.seq, row.run_seq);
    }
    const answers: Answer[] = [];
    let until = sliceEnd();
    for (const batch of batches) {
      for (;;) {
        try {
          const steps = group.add(batch);
          let step = steps.next();
          for (; !step.done; step = steps.next()) {
            if (performance.now() < until) continue;
            await setImmediate();
            until = sliceEnd();
          }
          answers.push({ receipts: step.value });
          break;
        } catch (error) {
          if (!(error instanceof Missing)) {
            answers.push({ error });
            break;
          }
          runs.want(error.row);
          await this.#load(runs);
          if (runs.isChanged || this.#seen > base) return undefined;
        }
      }
    }
    return { group, answers, base, runs };
  }

  /**
   * Sends the statement of a commit. If the connection fails, finds out whether the commit took effect. `before`: the answer
   * of the earlier parts, for a statement that has none itself.
   */
  async #send(
    statements: readonly Statement[],
    { group }: Folded,
    giveUpAt: () => number,
    before?: Given,
  ): Promise<{ given?: Given | undefined; outcome?: string }> {
    let results: Rows[];
    try {
      results = await this.#parts.connection.send(statements);
    } catch (error) {
      if (isStatementError(error)) throw error;
      this.#parts.onDoubt(error);
      const given = await this.#settle(group.items, giveUpAt);
      if (!given) throw error;
      return { given };
    }
    if (before) return { given: before };
    const [row] = results[0] as AnswerRow[];
    if (!row) throw new RunwireError('INTERNAL', 'a commit has no answer');
    const { o_outcome: outcome, o_base: base, o_at: atMs, o_hashes: hashes, o_rows: rowIds } = row;
    if (outcome === 'done') return { given: { base, atMs, hashes: hashes ?? Buffer.alloc(0), rowIds: rowIds ?? [] } };
    if (outcome === 'renewed') this.#renew(row.o_epoch, row.o_erasures);
    if (outcome === 'fenced') {
      this.#parts.connection.drop();
      throw new Error('the node has another generation in the database');
    }
    return { outcome };
  }

  /** Fences the commit and looks for its first event. Undefined if the commit had no effect. */
  async #settle(items: readonly Item[], giveUpAt: () => number): Promise<Given | undefined> {
    const { connection } = this.#parts;
    connection.drop();
    const [first] = items;
    if (!first) return undefined;
    const { projectId, eventId } = first.folded.draft;
    for (;;) {
      try {
        await connection.open();
        const [[own]] = (await connection.send([{ text: OWN, values: [projectId, eventId, first.salt] }])) as [
          { base: number; recorded_at_ms: number }[],
        ];
        if (!own) return undefined;
        const values = [own.base, own.base + items.length];
        const [rows] = (await connection.send([{ text: HASHES, values }])) as [{ hash: Buffer }[]];
        const hashes = Buffer.concat(rows.map(({ hash }) => hash.subarray(0, 4)));
        return { base: own.base, atMs: own.recorded_at_ms, hashes, rowIds: undefined };
      } catch (error) {
        if (performance.now() > giveUpAt()) throw new InDoubt('the event log failed during a commit', { cause: error });
        await setTimeout(RETRY_MS);
      }
    }
  }

  #done(
    { answers, base: provisional, group }: Folded,
    statement: CommitStatement,
    given: Given | undefined,
  ): CommitResult {
    const real = (seq: number) => (given && seq > provisional ? seq - provisional + given.base : seq);
    for (const answer of answers) {
      if ('receipts' in answer) for (const receipt of answer.receipts) receipt.seq = real(receipt.seq);
    }
    const count = group.items.length;
    if (!given || count === 0) return { answers };
    const { base, rowIds, atMs, hashes } = given;
    if (rowIds) {
      for (const run of statement.cached({ ...given, rowIds })) {
        if (run.row) this.#cache.put(run);
      }
    }
    this.#seen = Math.max(this.#seen, base + count);
    const hashAt = (index: number) => hashes.toString('hex', 4 * index, 4 * index + 4);
    return {
      answers,
      committed: {
        before: { seq: base, hashPrefix: hashAt(0) },
        records: statement.records(given),
        head: { seq: base + count, hashPrefix: hashAt(count) },
        recordedAtMs: atMs,
        erasures: this.#erasures,
      },
    };
  }
}

/** The ids of the drafts that the log has. */
function knownIds(batches: readonly Batch[]): Statement {
  const drafts = batches.flatMap(({ drafts }) => drafts);
  const projectIds = drafts.map(({ projectId }) => projectId).join('\u0001');
  const eventIds = drafts.map(({ eventId }) => eventId).join('\u0001');
  return { name: 'known', text: KNOWN, values: [projectIds, eventIds] };
}

/** The answer of several parts: that of the last one, with the hashes of all. */
function joined(before: Given | undefined, { base, atMs, hashes, rowIds }: Given): Given {
  if (!before) return { base, atMs, hashes, rowIds };
  return { ...before, hashes: Buffer.concat([before.hashes, hashes.subarray(4)]) };
}
