import { holdsAll, type Phrase, parseText } from '../../../shared/search-text.ts';
import type { Caller } from '../../slices.ts';
import { StoredEvent } from '../contract/log.ts';
import type { EventSearch, Projects, SearchPage, SearchQuery, Tally, TallyPage } from '../contract/search.ts';
import type { Sources } from '../newest-first.ts';
import { type Awaitable, type RunSteps, resultOf, type Steps } from '../steps.ts';
import {
  type BlockReader,
  type Candidates,
  type EventKey,
  IndexCandidates,
  type RecentEvents,
  TableCandidates,
  wantedTerms,
} from './candidates.ts';

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

/** The reads of events that a search needs from a store. */
export interface SearchTables {
  /** Number of positions that one call of `events` takes. */
  readonly eventsAtOnce: number;
  /** Returns the events at these positions that exist, in any order. */
  events(seqs: readonly number[]): Awaitable<FoundEvent[]>;
  /**
   * Returns sources of the events with `seq >= low`, each from the narrowest index: of the run, of a project, or of the
   * whole table.
   */
  sources(projects: Projects, runId: string | undefined, low: number): Awaitable<Sources<EventKey>>;
}

/** The index of words, as a search needs it. */
export interface SearchIndex {
  readonly lag: number;
  /** Returns the events of the projects that are in no stored block yet. */
  recent(projects: Projects, caller: Caller): Promise<RecentEvents>;
}

export type SearchParts = {
  /** Returns the reads of a search. */
  reads: (caller: Caller) => { tables: SearchTables; blocks: BlockReader };
  index: SearchIndex;
  run: RunSteps;
  head: () => number;
  oldest: () => number;
  positionBeforeTime: (recordedBeforeMs: number) => Awaitable<number>;
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
    const { run, reads } = this.#parts;
    const [event] = await run(() => resultOf(reads(query).tables.events([next])), query);
    const atMs = event?.recordedAtMs;
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
    const phrases = query.text === undefined ? undefined : parseText(query.text);
    if (phrases?.length === 0) return undefined;
    const high = this.#parts.head() + 1;
    const recent = phrases && (await this.#parts.index.recent(query.projects, query));
    return this.#parts.run(() => this.#steps({ query, phrases, high, recent }, take, isFull), query);
  }

  *#steps(walk: Walk, take: (match: Match) => void, isFull: () => boolean): Steps<number | undefined> {
    const { query, phrases = [] } = walk;
    const { oldest } = this.#parts;
    const { tables } = this.#parts.reads(query);
    const { candidates, low, high } = yield* this.#begin(walk);
    const checkCost = EVENT_COST + PHRASE_COST * phrases.length;
    const atOnce = Math.min(tables.eventsAtOnce, query.limit);
    let found: number[] = [];
    let known = high;
    let spent = 0;
    let next = high;
    const isOver = () => spent >= BUDGET || isFull();
    while (!isOver()) {
      const ready = found.slice(0, atOnce).filter((seq) => seq >= known);
      if (ready.length > 0) {
        const events = new Map((yield* resultOf(tables.events(ready))).map((event) => [event.seq, event]));
        for (const seq of ready) {
          if (isOver()) break;
          const match = seq >= oldest() ? matchOf(events.get(seq), query, phrases) : undefined;
          if (match) take(match);
          found.shift();
          next = seq;
          spent += checkCost;
          yield;
        }
      } else if (known <= low) {
        return undefined;
      } else {
        const step = yield* candidates.step(found);
        const wanted = new Set(found.filter((seq) => seq >= low && seq < high));
        found = [...wanted].sort((a, b) => b - a);
        known = Math.max(step.known, low);
        spent += step.cost;
        next = Math.max(known, found[0] === undefined ? 0 : found[0] + 1);
      }
    }
    return next <= low ? undefined : next;
  }

  *#begin({ query, phrases, high: end, recent }: Walk): Steps<{ low: number; high: number; candidates: Candidates }> {
    const { reads, oldest, positionBeforeTime } = this.#parts;
    const { tables, blocks } = reads(query);
    const { projects, runId, before, sinceMs, untilMs } = query;
    const since = sinceMs === undefined ? 0 : (yield* resultOf(positionBeforeTime(sinceMs))) + 1;
    const until = untilMs === undefined ? end : (yield* resultOf(positionBeforeTime(untilMs))) + 1;
    const low = Math.max(oldest(), since);
    const high = Math.min(before ?? end, until, end);
    const candidates =
      phrases && recent
        ? new IndexCandidates(blocks, recent, projects, wantedTerms(phrases, query), { low, before: high })
        : new TableCandidates(yield* resultOf(tables.sources(projects, runId, low)), query, high);
    return { low, high, candidates };
  }
}

/** `high`: only events before this position. */
type Walk = {
  query: SearchQuery;
  phrases: readonly Phrase[] | undefined;
  high: number;
  recent: RecentEvents | undefined;
};

/** Returns an event if it matches the query. */
function matchOf(
  found: FoundEvent | undefined,
  { projects, runId, types, actors }: SearchQuery,
  phrases: readonly Phrase[],
): Match | undefined {
  if (!found) return undefined;
  if (projects !== 'all' && !projects.includes(found.projectId)) return undefined;
  if (runId !== undefined && found.runId !== runId) return undefined;
  if (types?.has(found.type) === false || actors?.has(found.actor) === false) return undefined;
  if (phrases.length === 0) return found;
  const event = eventOf(found.payload);
  return event && holdsAll(event, phrases) ? { ...found, event } : undefined;
}

/** Undefined for a damaged payload: an error would hide all other events. */
function eventOf(payload: string): object | undefined {
  try {
    return JSON.parse(payload) as object;
  } catch {
    return undefined;
  }
}

type Match = FoundEvent & { event?: object };
