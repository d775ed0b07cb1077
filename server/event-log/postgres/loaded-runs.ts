import type { Stage } from '../../../shared/run.ts';
import type { MissingRow } from '../commit/commit-fold.ts';
import { CachedRun, type RunCache, type RunRow, runKey } from '../commit/run-cache.ts';
import type { Batch, ReadyDraft } from '../contract/log.ts';
import type { Statement } from './database.ts';
import { approvalOf, artifactOf, headerOf } from './rows.ts';

/** The runs of one commit, with the rows that its fold needs: from the cache, the others from `runwire_rows`. */

/** Sorts after every start key. */
const AFTER_ALL = '~';
/** Running stages that `runwire_rows` returns at once. */
const RUNNING_AT_ONCE = 4;

type Key = Pick<MissingRow, 'kind' | 'id'>;
type KeyedDraft = ReadyDraft & {
  stageId?: string;
  stages?: { stageId: string }[];
  artifactId?: string;
  approvalId?: string;
  evidence?: string[];
};

/** Whether one of the rows that the fold and the checks of the twelve types read meets a condition. */
function someKey(draft: KeyedDraft, is: (kind: Key['kind'], id: string) => boolean): boolean {
  const { type, stageId, stages, artifactId, approvalId, evidence } = draft;
  return (
    (stageId !== undefined && (is('stage', stageId) || is('running', AFTER_ALL))) ||
    stages?.some((stage) => is('stage', stage.stageId)) ||
    (artifactId !== undefined && is('artifact', artifactId)) ||
    (approvalId !== undefined && is('approval', approvalId)) ||
    evidence?.some((id) => is('artifact', id)) ||
    (type === 'governance.required' && is('approvals', ''))
  );
}

/** `missed`: rows that the fold has missed. */
type Loading = {
  projectId: string;
  runId: string;
  run: CachedRun | undefined;
  drafts: KeyedDraft[];
  missed: Key[];
};

/** The rows that a run needs, each once. Made for a read only: mostly all of them are in memory. */
function keysOf({ drafts, missed }: Loading): Key[] {
  const keys = new Map<string, Key>();
  const add = (kind: Key['kind'], id: string) => {
    keys.set(`${kind} ${id}`, { kind, id });
    return false;
  };
  for (const draft of drafts) someKey(draft, add);
  for (const { kind, id } of missed) add(kind, id);
  return [...keys.values()];
}

export type LoadedRow = {
  o_kind: MissingRow['kind'] | 'run';
  o_run: number;
  o_id: string;
  o_row: number;
  o_version: number;
  o_seq: number;
  o_state: string | null;
};

const STATEMENT = 'SELECT * FROM runwire_rows($1, $2, $3, $4, $5, $6, $7, $8)';

export class LoadedRuns {
  readonly #runs = new Map<string, Loading>();
  /** Whether the last {@link load} has replaced a run that was open before. */
  isChanged = false;
  readonly #opened = new Set<string>();

  constructor(cache: RunCache, batches: readonly Batch[]) {
    for (const { drafts } of batches) {
      for (const draft of drafts) {
        const { projectId, runId } = draft;
        const key = runKey(projectId, runId);
        let loading = this.#runs.get(key);
        if (!loading) {
          loading = { projectId, runId, run: cache.get(key), drafts: [], missed: [] };
          this.#runs.set(key, loading);
        }
        loading.drafts.push(draft as KeyedDraft);
      }
    }
  }

  /** Whether the fold would miss a row. */
  get isIncomplete(): boolean {
    for (const { run, drafts } of this.#runs.values()) {
      if (!run || drafts.some((draft) => someKey(draft, (kind, id) => !run.has(kind, id)))) return true;
    }
    return false;
  }

  /** The runs that are loaded. */
  *all(): Generator<CachedRun> {
    for (const { run } of this.#runs.values()) if (run) yield run;
  }

  open(key: string): CachedRun {
    this.#opened.add(key);
    return this.#runs.get(key)?.run as CachedRun;
  }

  forget(): void {
    for (const loading of this.#runs.values()) loading.run = undefined;
  }

  /** Adds a row that the fold has missed. */
  want({ projectId, runId, kind, id }: MissingRow): void {
    this.#runs.get(runKey(projectId, runId))?.missed.push({ kind, id });
  }

  /** Reads the runs with a changed version, and the rows that are not loaded. */
  statement(): Statement {
    const [rowIds, versions, runs, cached]: [number[], number[], number[], boolean[]] = [[], [], [], []];
    const [projectIds, runIds, kinds, ids]: [string[], string[], string[], string[]] = [[], [], [], []];
    for (const loading of this.#runs.values()) {
      const { projectId, runId, run } = loading;
      projectIds.push(projectId);
      runIds.push(runId);
      rowIds.push(run?.row?.rowId ?? 0);
      versions.push(run?.row?.version ?? 0);
      for (const { kind, id } of keysOf(loading)) {
        runs.push(runIds.length);
        cached.push(run?.has(kind, id) ?? false);
        kinds.push(kind);
        ids.push(id);
      }
    }
    const numbers = [rowIds, versions].map(arrayOf);
    const texts = [projectIds, runIds].map(textOf);
    const keys = [arrayOf(runs), arrayOf(cached), textOf(kinds), textOf(ids)];
    return { name: 'rows', text: STATEMENT, values: [...numbers, ...texts, ...keys] };
  }

  /** Takes the answer to {@link statement}. */
  load(rows: readonly LoadedRow[]): void {
    const loadings = [...this.#runs.values()];
    const stored = new Map(rows.filter(({ o_kind }) => o_kind === 'run').map((row) => [row.o_run, row]));
    const before = loadings.map(({ run }) => run);
    for (const [index, loading] of loadings.entries()) {
      const { projectId, runId, run } = loading;
      const row = stored.get(index + 1);
      if (row && row.o_state === null) continue;
      if (!row && run && !run.row) continue;
      if (this.#opened.has(runKey(projectId, runId))) this.isChanged = true;
      loading.run = new CachedRun(projectId, runId, row && rowOf(row));
    }
    const found = new Map<string, LoadedRow[]>();
    for (const row of rows) {
      const { o_run, o_kind, o_id } = row;
      const at = isList(o_kind) ? `${o_run} ${o_kind}` : `${o_run} ${o_kind} ${o_id}`;
      const others = found.get(at);
      if (others) others.push(row);
      else found.set(at, [row]);
    }
    for (const [index, loading] of loadings.entries()) {
      const { run } = loading;
      if (!run?.row) continue;
      const isNew = run !== before[index];
      for (const { kind, id } of keysOf(loading)) {
        if (!isNew && run.has(kind, id)) continue;
        const at = `${index + 1} ${kind}`;
        put(run, { kind, id }, found.get(isList(kind) ? at : `${at} ${id}`) ?? []);
      }
    }
  }
}

function rowOf({ o_row: rowId, o_version: version, o_state, o_seq: last_seq }: LoadedRow): RunRow {
  const state = o_state as string;
  return { rowId, version, header: headerOf({ state, last_seq }), length: state.length };
}

/** Whether the rows of this kind are not found by their id. */
const isList = (kind: LoadedRow['o_kind']) => kind === 'running' || kind === 'approvals';

function put(run: CachedRun, { kind, id }: Key, rows: readonly LoadedRow[]): void {
  const [row] = rows;
  const state = row?.o_state ?? '';
  if (kind === 'stage') run.put(kind, id, row && (JSON.parse(state) as Stage), state.length);
  else if (kind === 'artifact') run.put(kind, id, row && artifactOf({ state, seq: row.o_seq }), state.length);
  else if (kind === 'approval') run.put(kind, id, row && approvalOf({ state, request_seq: row.o_seq }), state.length);
  else if (kind === 'approvals') run.putApprovals(row?.o_seq ?? 0);
  else {
    const stages = rows.map(({ o_state }) => JSON.parse(o_state as string) as Stage);
    run.putRunning(stages, rows.length < RUNNING_AT_ONCE ? '' : (rows.at(-1)?.o_id ?? ''));
  }
}

const arrayOf = (list: readonly (number | boolean)[]): string => `{${list.join(',')}}`;
const textOf = (list: readonly string[]): string => list.join('\u0001');
