import { holdsAll, type Phrase, parseText } from '../../../shared/search-text.ts';
import type { Slice } from '../../slices.ts';
import { StoredEvent } from '../contract/log.ts';
import type { EventSearch, Projects, SearchPage, SearchQuery, Tally, TallyPage } from '../contract/search.ts';
import type { Source } from '../newest-first.ts';
import { type Candidates, type EventKey, IndexCandidates, TableCandidates, wantedTerms } from './candidates.ts';
import type { SearchIndexer } from './indexer.ts';

/**
 * Search for events: the part without SQL, for any store. A search takes candidates (positions that may match), newest
 * first, and reads each candidate's event to check it. The search index and the indexes of the events table are divided by
 * project. So a search reads nothing of other projects, and neither its answer nor its response time can reveal their
 * events.
 */

/** Maximum work of one search: about 0.1 s if the rows are cached. The unit is `ROW_COST` of `candidates.ts`. */
const BUDGET = 50_000;
/** Cost of reading the event of a candidate, and of comparing its text with a phrase. */
const EVENT_COST = 5;
const PHRASE_COST = 1;
/** Maximum time that a search waits for the index to include all logged events. Then the search uses the index as it is. */
const MAX_LAG_MS = 1_000;
/** A page ends when its events have this much JSON. */
const PAGE_BYTES = 1 << 20;
/** Counting ends when the values of its fields have this many characters. */
const TALLY_CHARS = 1 << 18;
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

export type FoundEvent = {
  seq: number;
  runSeq: number;
  projectId: string;
  runId: string;
  type: string;
  actor: string;
  payload: string;
  recordedAtMs: number;
};

/**
 * The reads that search needs from a store, except for the search index. Calls are synchronous and run inside a slice (5 ms
 * of work).
 */
export interface SearchTables {
  event(seq: number): FoundEvent | undefined;
  /**
   * Returns sources of the events with `seq >= low`, each from the narrowest index: of the run, of a project, or of the
   * whole table.
   */
  sources(projects: Projects, runId: string | undefined, low: number): Source<EventKey>[];
}

export type SearchParts = {
  tables: SearchTables;
  index: SearchIndexer;
  slice: Slice;
  head: () => number;
  oldest: () => number;
  positionBeforeTime: (recordedBeforeMs: number) => number;
};

export class BlockSearch implements EventSearch {
  readonly #parts: SearchParts;

  constructor(parts: SearchParts) {
    this.#parts = parts;
  }

  get lag(): number {
    return this.#parts.index.lag;
  }

  async find(query: SearchQuery): Promise<SearchPage> {
    const records: StoredEvent[] = [];
    let bytes = 0;
    const take = ({ payload, recordedAtMs: _, actor: __, event, ...record }: Match) => {
      records.push(new StoredEvent({ ...record, json: payload, ...(event ? { event } : {}) }));
      bytes += payload.length;
    };
    const next = await this.#walk(query, take, () => records.length >= query.limit || bytes >= PAGE_BYTES);
    if (next === undefined) return { records };
    // In whole minutes: the event may be of a project that the caller may not read.
    const atMs = await this.#parts.slice(() => this.#parts.tables.event(next)?.recordedAtMs, query);
    return { records, next, ...(atMs === undefined ? {} : { searchedToMs: atMs - (atMs % MINUTE_MS) }) };
  }

  async count(query: SearchQuery): Promise<TallyPage> {
    const tally: Tally = { total: 0, types: new Map(), projects: new Map(), actors: new Map(), hours: new Map() };
    let chars = 0;
    const add = <Value extends string | number>(counts: Map<Value, number>, value: Value) => {
      const count = counts.get(value) ?? 0;
      if (count === 0) chars += String(value).length;
      counts.set(value, count + 1);
    };
    const take = ({ type, projectId, actor, recordedAtMs }: Match) => {
      tally.total++;
      add(tally.types, type);
      add(tally.projects, projectId);
      add(tally.actors, actor);
      add(tally.hours, recordedAtMs - (recordedAtMs % HOUR_MS));
    };
    const next = await this.#walk(query, take, () => tally.total >= query.limit || chars >= TALLY_CHARS);
    return next === undefined ? { tally } : { tally, next };
  }

  /**
   * Calls `take` with each event that matches, newest first, until `isFull` or the end of the budget. Returns the `before` of
   * the next call; undefined at the end.
   */
  async #walk(query: SearchQuery, take: (match: Match) => void, isFull: () => boolean): Promise<number | undefined> {
    const { index, slice, head, oldest } = this.#parts;
    const phrases = query.text === undefined ? undefined : parseText(query.text);
    if (phrases?.length === 0) return undefined;
    if (phrases) await index.reached(head(), MAX_LAG_MS);

    const { candidates, low, high } = await slice(() => this.#begin(query, phrases), query);
    const checkCost = EVENT_COST + PHRASE_COST * (phrases?.length ?? 0);
    let found: number[] = [];
    let known = high;
    let spent = 0;
    let next: number | undefined = high;
    const isOver = () => spent >= BUDGET || isFull();
    while (next !== undefined && !isOver()) {
      await slice((until) => {
        do {
          const [first] = found;
          if (first !== undefined && first >= known) {
            found.shift();
            const match = first >= oldest() ? this.#match(first, query, phrases ?? []) : undefined;
            if (match) take(match);
            next = first;
            spent += checkCost;
          } else if (known <= low) {
            next = undefined;
          } else {
            const step = candidates.step(found, until);
            found = found.filter((seq) => seq >= low && seq < high).sort((a, b) => b - a);
            known = Math.max(step.known, low);
            spent += step.cost;
            next = Math.max(known, found[0] === undefined ? 0 : found[0] + 1);
          }
        } while (next !== undefined && !isOver() && performance.now() < until);
      }, query);
    }
    return next !== undefined && next <= low ? undefined : next;
  }

  #begin(
    query: SearchQuery,
    phrases: readonly Phrase[] | undefined,
  ): { low: number; high: number; candidates: Candidates } {
    const { tables, index, head, oldest, positionBeforeTime } = this.#parts;
    const { projects, runId, before, sinceMs, untilMs } = query;
    const low = Math.max(oldest(), sinceMs === undefined ? 0 : positionBeforeTime(sinceMs) + 1);
    const ends = [head(), untilMs === undefined ? Number.MAX_SAFE_INTEGER : positionBeforeTime(untilMs)];
    const high = Math.min(before ?? Number.MAX_SAFE_INTEGER, ...ends.map((end) => end + 1));
    const candidates = phrases
      ? new IndexCandidates(index, projects, wantedTerms(phrases, query), { low, before: high })
      : new TableCandidates(tables.sources(projects, runId, low), query, high);
    return { low, high, candidates };
  }

  /** Reads the event at a position. Returns it if it matches the query. */
  #match(seq: number, { projects, runId, types, actors }: SearchQuery, phrases: readonly Phrase[]): Match | undefined {
    const found = this.#parts.tables.event(seq);
    if (!found) return undefined;
    if (projects !== 'all' && !projects.includes(found.projectId)) return undefined;
    if (runId !== undefined && found.runId !== runId) return undefined;
    if (types?.has(found.type) === false || actors?.has(found.actor) === false) return undefined;
    const event = phrases.length === 0 ? undefined : (JSON.parse(found.payload) as object);
    if (event && !holdsAll(event, phrases)) return undefined;
    return event ? { ...found, event } : found;
  }
}

type Match = FoundEvent & { event?: object };
