import { RunwireError } from '../../shared/errors.ts';
import type { RunRows, RunView } from '../../shared/run.ts';
import { RunMemory } from '../../shared/run-memory.ts';
import type { Log, Scope } from '../event-log/contract/log.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import { hasReached } from '../event-log/current.ts';
import { positionOfRunSeq } from '../event-log/run-position.ts';
import type { Caller } from '../slices.ts';

/** The state of a run after one of its events. `seq` and `runSeq` are that event's; `firstRunSeq` is the first event folded. */
type Keyframe = { seq: number; runSeq: number; firstRunSeq: number; view: RunView };

type PastLog = Log & Pick<EventLog, 'integrity' | 'runs'>;

/** A run is kept after every so many events of a fold, so that a later fold begins there. */
const KEYFRAME_EVENTS = 2_000;
/** Characters of JSON that all keyframes may have together, estimated. The keyframes used longest ago are dropped. */
const MAX_CHARACTERS = 128 << 20;
/** Rows of a state from which its size is estimated: the JSON of all takes too long. */
const SAMPLED_ROWS = 50;
/** Events that are folded in one turn of the event loop. */
const EVENTS_PER_READ = 200;
/** A page of a state ends when its rows have this much JSON. */
const PAGE_BYTES = 256 << 10;

/**
 * Computes the state of a run as it was after one of its events: folds the events up to there, from the nearest state that is
 * in memory. A state is immutable, but an erasure removes text from it, so an erasure drops all states.
 */
export class PastRuns {
  readonly #log: PastLog;
  readonly #fold: (rows: RunRows, event: never) => void;
  /** By run and `runSeq`. The state used last is at the end. */
  readonly #keyframes = new Map<string, Keyframe & { size: number }>();
  readonly #maxCharacters: number;
  #characters = 0;
  #erasures = 0;

  constructor(log: PastLog, fold: (rows: RunRows, event: never) => void, maxCharacters = MAX_CHARACTERS) {
    this.#maxCharacters = maxCharacters;
    this.#log = log;
    this.#fold = fold;
    log.integrity.onErased(() => {
      this.#erasures++;
      this.#keyframes.clear();
      this.#characters = 0;
    });
  }

  /**
   * Returns one page of the state: its header, and rows from the index `from` on, over stages, artifacts and approvals. `next`
   * is the index of the next page; undefined after the last. `firstRunSeq` is 1, or the oldest event that retention has kept:
   * the state then lacks the effect of the events before it.
   *
   * Throws `EVENT_NOT_FOUND` if the run has no such event, or retention has removed it.
   */
  async at(run: { projectId: string; runId: string }, runSeq: number, from: number, caller: Caller) {
    const { view, firstRunSeq } = await this.#stateAt(run, runSeq, caller);
    return { ...pageOf(view, from), firstRunSeq };
  }

  async #stateAt(run: { projectId: string; runId: string }, runSeq: number, caller: Caller): Promise<Keyframe> {
    const erasures = this.#erasures;
    const scope: Scope = { kind: 'run', ...run };
    const key = JSON.stringify([run.projectId, run.runId]);
    // Checked first: the search for a state and the fold take as many steps as `runSeq` is large.
    const header = await this.#log.runs.header(run.projectId, run.runId, caller);
    if (!header || header.lastRunSeq < runSeq || !(await hasReached(this.#log, header.lastSeq))) throw notFound();
    const base = this.#nearest(key, runSeq);
    if (base?.runSeq === runSeq) return base;
    const rows = new RunMemory(base?.view);
    let firstRunSeq = base?.firstRunSeq;
    let last = base?.runSeq ?? 0;
    let after = base?.seq ?? (await positionOfRunSeq(this.#log, scope, 1, caller));
    for (let isExhausted = false; last < runSeq && !isExhausted; ) {
      const page = await this.#log.read({ ...caller, scope, after, limit: Math.min(EVENTS_PER_READ, runSeq - last) });
      for (const record of page.records) {
        firstRunSeq ??= record.runSeq;
        if (firstRunSeq > runSeq) throw notFound();
        this.#fold(rows, JSON.parse(record.json) as never);
        last = record.runSeq;
        const isKept = last === runSeq || last % KEYFRAME_EVENTS === 0;
        if (!isKept || this.#erasures !== erasures) continue;
        this.#keep(key, { seq: record.seq, runSeq: last, firstRunSeq, view: rows.view() as RunView });
      }
      after = page.scannedTo;
      isExhausted = page.isExhausted;
    }
    // The fold may have read text that has been erased meanwhile.
    if (this.#erasures !== erasures) return this.#stateAt(run, runSeq, caller);
    const view = rows.view();
    if (last !== runSeq || !view || firstRunSeq === undefined) throw notFound();
    return { seq: view.lastSeq, runSeq, firstRunSeq, view };
  }

  /** The latest state of a run that is not after `runSeq`. */
  #nearest(key: string, runSeq: number): Keyframe | undefined {
    let event = runSeq;
    let found = this.#keyframes.get(`${key} ${event}`);
    for (event -= event % KEYFRAME_EVENTS; !found && event > 0; event -= KEYFRAME_EVENTS) {
      found = this.#keyframes.get(`${key} ${event}`);
    }
    if (found) {
      const id = `${key} ${found.runSeq}`;
      this.#keyframes.delete(id);
      this.#keyframes.set(id, found);
    }
    return found;
  }

  #keep(key: string, keyframe: Keyframe): void {
    const id = `${key} ${keyframe.runSeq}`;
    if (this.#keyframes.has(id)) return;
    const size = sizeOf(keyframe.view);
    this.#keyframes.set(id, { ...keyframe, size });
    this.#characters += size;
    for (const [oldest, dropped] of this.#keyframes) {
      if (this.#characters <= this.#maxCharacters || oldest === id) break;
      this.#keyframes.delete(oldest);
      this.#characters -= dropped.size;
    }
  }
}

const notFound = () =>
  new RunwireError('EVENT_NOT_FOUND', 'the run has no such event, or it was removed', { path: 'runSeq' });

/** Returns the characters of a state as JSON, estimated from rows at random places, so that no producer knows them. */
function sizeOf(view: RunView): number {
  let size = JSON.stringify({ ...view, stages: [], artifacts: [], approvals: [] }).length;
  for (const rows of [view.stages, view.artifacts, view.approvals]) {
    const count = Math.min(SAMPLED_ROWS, rows.length);
    let sampled = 0;
    for (let n = 0; n < count; n++) {
      const at = Math.floor(((n + Math.random()) * rows.length) / count);
      sampled += JSON.stringify(rows[at]).length;
    }
    if (count > 0) size += Math.ceil((sampled * rows.length) / count);
  }
  return size;
}

function pageOf(view: RunView, from: number): { run: RunView; next?: number } {
  const { stages, artifacts, approvals } = view;
  const total = stages.length + artifacts.length + approvals.length;
  const run: RunView = { ...view, stages: [], artifacts: [], approvals: [] };
  let index = from;
  for (let bytes = 0; index < total && bytes < PAGE_BYTES; index++) {
    let at = index;
    let row: object | undefined;
    for (const [list, into] of [
      [stages, run.stages],
      [artifacts, run.artifacts],
      [approvals, run.approvals],
    ] as [object[], object[]][]) {
      row = list[at];
      if (at >= 0 && row) {
        into.push(row);
        break;
      }
      at -= list.length;
    }
    bytes += JSON.stringify(row).length;
  }
  return { run, ...(index < total ? { next: index } : {}) };
}
