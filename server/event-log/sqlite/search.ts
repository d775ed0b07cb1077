import type { DatabaseSyncInstance, StatementSyncInstance } from '@photostructure/sqlite';
import { StoredEvent } from '../contract/log.ts';
import type { EventSearch, Projects, SearchPage, SearchQuery } from '../contract/search.ts';
import { type Block, fieldTerm, intersect, prefixTerms, type Wanted, wordTerm } from '../search/block.ts';
import { holdsAll, type Phrase, parseText } from '../search/tokenizer.ts';
import { NewestFirst, type Source } from './newest-first.ts';
import type { FoundBlock, SearchIndex } from './search-index.ts';

/**
 * `search`: candidates, newest first, from the index of words or from the narrowest index of the table, and a look at
 * the event of each. Projects that are not asked for are in other blocks and at other places of the tables' indexes, so
 * nothing of them is read, and neither answers nor the time they take can tell of them.
 */

/** What one search may do before it answers: a row passed by is 1. With a warm cache, a tenth of a second. */
const BUDGET = 50_000;
const COST = { row: 1, event: 5, phrase: 1, lookup: 10 };
/** Of all projects together. */
const BLOCKS_AT_ONCE = 16;
/** How long the index may take to catch up before it is searched as it is. */
const LAG_MS = 1_000;

export type SqliteSearchParts = {
  db: DatabaseSyncInstance;
  index: SearchIndex;
  slice: <T>(work: (until: number) => T) => Promise<T>;
  head: () => number;
  oldest: () => number;
  positionBeforeTime: (recordedBeforeMs: number) => number;
};

type EventRow = {
  seq: number;
  run_seq: number;
  project_id: string;
  run_id: string;
  type: string;
  actor: string;
  payload: string;
};

type Key = { seq: number; type: string; actor: string };

/** Where candidates come from. */
interface Candidates {
  /**
   * Looks a little further. `known`: of this position and those after it, all candidates are in `found`, rising or not;
   * 0 once there are no more. `cost`: what it did.
   */
  step(found: number[]): { known: number; cost: number };
}

export class SqliteSearch implements EventSearch {
  readonly #parts: SqliteSearchParts;
  readonly #statements: ReturnType<typeof prepareSearch>;

  constructor(parts: SqliteSearchParts) {
    this.#parts = parts;
    this.#statements = prepareSearch(parts.db);
  }

  async find(query: SearchQuery): Promise<SearchPage> {
    const { text, limit, signal } = query;
    const phrases = text === undefined ? undefined : parseText(text);
    if (phrases?.length === 0) return { records: [] };
    if (phrases) await this.#parts.index.reached(this.#parts.head(), LAG_MS);

    const { candidates, low, high } = await this.#parts.slice(() => this.#begin(query, phrases));
    const records: StoredEvent[] = [];
    let found: number[] = [];
    let known = high;
    let spent = 0;
    let next: number | undefined = high;
    while (next !== undefined && spent < BUDGET && records.length < limit && !signal?.aborted) {
      await this.#parts.slice((until) => {
        do {
          const [first] = found;
          if (first !== undefined && first >= known) {
            found.shift();
            const record = first >= this.#parts.oldest() ? this.#fetch(first, query, phrases ?? []) : undefined;
            if (record) records.push(record);
            next = first;
            spent += COST.event + COST.phrase * (phrases?.length ?? 0);
          } else if (known <= low) {
            next = undefined;
          } else {
            const step = candidates.step(found);
            found = found.filter((seq) => seq >= low && seq < high).sort((a, b) => b - a);
            known = Math.max(step.known, low);
            spent += step.cost;
            next = Math.max(known, found[0] === undefined ? 0 : found[0] + 1);
          }
        } while (next !== undefined && spent < BUDGET && records.length < limit && performance.now() < until);
      });
    }
    if (next !== undefined && next <= low) next = undefined;
    return next === undefined ? { records } : { records, next };
  }

  #begin(
    { projects, runId, types, actor, before, sinceMs, untilMs }: SearchQuery,
    phrases: readonly Phrase[] | undefined,
  ) {
    const low = Math.max(this.#parts.oldest(), sinceMs === undefined ? 0 : this.#parts.positionBeforeTime(sinceMs) + 1);
    const ends = [
      this.#parts.head(),
      untilMs === undefined ? Number.MAX_SAFE_INTEGER : this.#parts.positionBeforeTime(untilMs),
    ];
    const high = Math.min(before ?? Number.MAX_SAFE_INTEGER, ...ends.map((end) => end + 1));
    if (phrases) {
      const wanted = wantedOf(phrases, { runId, types, actor });
      return { low, high, candidates: new IndexCandidates(this.#parts.index, projects, wanted, low, high) };
    }
    const isWanted = (key: Key) => (types?.has(key.type) ?? true) && (actor === undefined || key.actor === actor);
    return { low, high, candidates: new TableCandidates(this.#sourcesOf(projects, runId, low), isWanted, high) };
  }

  /** The narrowest indexes that hold what is asked for. */
  #sourcesOf(projects: Projects, runId: string | undefined, low: number): Source<Key>[] {
    const { backAll, backProject, backRun, runsOf } = this.#statements;
    const source = (statement: StatementSyncInstance, ...of: (string | number)[]): Source<Key> => {
      return (below, limit) => statement.all(...of, low, below, limit) as Key[];
    };
    if (runId === undefined) {
      return projects === 'all' ? [source(backAll)] : projects.map((projectId) => source(backProject, projectId));
    }
    const runs = runsOf.all(runId) as { row_id: number; project_id: string }[];
    return runs
      .filter(({ project_id }) => projects === 'all' || projects.includes(project_id))
      .map(({ row_id }) => source(backRun, row_id));
  }

  /** The event at a position, if it is what is sought. */
  #fetch(seq: number, { projects, runId, types, actor }: SearchQuery, phrases: readonly Phrase[]) {
    const row = this.#statements.event.get(seq) as EventRow | undefined;
    if (!row) return undefined;
    const { project_id: projectId, run_id, type, payload } = row;
    if (projects !== 'all' && !projects.includes(projectId)) return undefined;
    if (runId !== undefined && run_id !== runId) return undefined;
    if (types?.has(type) === false || (actor !== undefined && row.actor !== actor)) return undefined;
    const event = phrases.length === 0 ? undefined : (JSON.parse(payload) as object);
    if (event && !holdsAll(event, phrases)) return undefined;
    const record = { seq, runSeq: row.run_seq, projectId, runId: run_id, type, json: payload };
    return new StoredEvent(event ? { ...record, event } : record);
  }
}

function wantedOf(
  phrases: readonly Phrase[],
  { runId, types, actor }: Pick<SearchQuery, 'runId' | 'types' | 'actor'>,
): Wanted[] {
  const exact = new Set<string>();
  const wanted: Wanted[] = [];
  for (const { words, isPrefix } of phrases) {
    for (const [index, word] of words.entries()) {
      if (isPrefix && index === words.length - 1) wanted.push({ terms: prefixTerms(word), isPrefix });
      else exact.add(wordTerm(word));
    }
  }
  if (runId !== undefined) exact.add(fieldTerm('run', runId));
  if (actor !== undefined) exact.add(fieldTerm('actor', actor));
  if (types) wanted.push({ terms: [...types].map((type) => fieldTerm('type', type)), isPrefix: false });
  // Long words are rare: where one is missing, no further one is looked up. Prefixes come last.
  const singles = [...exact].sort((a, b) => b.length - a.length);
  return [...singles.map((term) => ({ terms: [term], isPrefix: false })), ...wanted.reverse()];
}

type BlockSource = { next: (lastSeqBelow: number) => FoundBlock[]; queue: FoundBlock[] };

/** By the words: the blocks in memory first, then the written ones, by their last event. */
class IndexCandidates implements Candidates {
  readonly #wanted: readonly Wanted[];
  readonly #before: number;
  readonly #low: number;
  readonly #open: Block[];
  readonly #sources: BlockSource[];

  constructor(index: SearchIndex, projects: Projects, wanted: readonly Wanted[], low: number, before: number) {
    this.#wanted = wanted;
    this.#before = before;
    this.#low = low;
    this.#open = index.openBlocks((projectId) => projects === 'all' || projects.includes(projectId));
    // What is written from now on was in memory when the search began.
    const { newest } = index;
    const blocksOf = projects === 'all' ? [undefined] : projects;
    const limit = Math.max(1, Math.floor(BLOCKS_AT_ONCE / Math.max(1, blocksOf.length)));
    this.#sources = blocksOf.map((projectId) => {
      const next = (lastSeqBelow: number) => index.blocksBefore(projectId, { before, lastSeqBelow, newest, limit });
      return { next, queue: next(Number.MAX_SAFE_INTEGER) };
    });
  }

  step(found: number[]): { known: number; cost: number } {
    const open = this.#open.pop();
    if (open) {
      const { seqs, lookups } = intersect(open, this.#wanted);
      found.push(...seqs);
      return { known: this.#open.length > 0 ? this.#before : this.#known(), cost: COST.lookup * lookups };
    }
    const source = this.#newest();
    const block = source?.queue.shift();
    if (!source || !block) return { known: 0, cost: 0 };
    const { seqs, lookups } = intersect(block.open(), this.#wanted);
    found.push(...seqs);
    if (source.queue.length === 0) source.queue = source.next(block.lastSeq);
    return { known: this.#known(), cost: COST.lookup * lookups };
  }

  #newest() {
    let newest: BlockSource | undefined;
    for (const source of this.#sources) {
      if ((source.queue[0]?.lastSeq ?? -1) > (newest?.queue[0]?.lastSeq ?? -1)) newest = source;
    }
    return newest;
  }

  #known(): number {
    const lastSeq = this.#newest()?.queue[0]?.lastSeq ?? 0;
    return lastSeq < this.#low ? 0 : Math.min(this.#before, lastSeq + 1);
  }
}

/** Without words: rows, newest first. */
class TableCandidates implements Candidates {
  readonly #isWanted: (key: Key) => boolean;
  readonly #rows: NewestFirst<Key>;

  constructor(sources: readonly Source<Key>[], isWanted: (key: Key) => boolean, before: number) {
    this.#isWanted = isWanted;
    this.#rows = new NewestFirst(sources, ({ seq }) => seq, before);
  }

  step(found: number[]): { known: number; cost: number } {
    const { rows, known } = this.#rows.next();
    for (const key of rows) if (this.#isWanted(key)) found.push(key.seq);
    return { known, cost: COST.row * rows.length };
  }
}

export function prepareSearch(db: DatabaseSyncInstance) {
  const back = (where: string) =>
    db.prepare(`SELECT seq, type, actor FROM events WHERE ${where} seq >= ? AND seq < ? ORDER BY seq DESC LIMIT ?`);
  return {
    event: db.prepare(
      `SELECT e.seq, e.run_seq, e.project_id, r.run_id, e.type, e.actor, e.payload FROM events e
       CROSS JOIN runs r ON r.row_id = e.run_row WHERE e.seq = ?`,
    ),
    runsOf: db.prepare('SELECT row_id, project_id FROM runs WHERE run_id = ?'),
    backAll: back(''),
    backProject: back('project_id = ? AND'),
    backRun: back('run_row = ? AND'),
  };
}
