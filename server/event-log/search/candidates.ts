import { isUnspacedLetter, type Phrase } from '../../../shared/search-text.ts';
import type { Projects, SearchQuery } from '../contract/search.ts';
import { NewestFirstSteps, type Sources } from '../newest-first.ts';
import { type Awaitable, resultOf, type Steps } from '../steps.ts';
import { type Block, type BlockTerms, intersect, type Wanted } from './block.ts';
import { fieldTerm, prefixTerms, termAt } from './terms.ts';

/**
 * The candidates of a search: positions of events that may match, newest first. If the query has a text, they come from the
 * search index, otherwise from the events table.
 */
export interface Candidates {
  /**
   * Adds further candidates to `found`, in any order, some perhaps twice. `known`: all candidates at this position and above
   * have been found; 0 at the end. `cost`: the work of this step, in the unit of `ROW_COST`.
   */
  step(found: number[]): Steps<{ known: number; cost: number }>;
}

/** A stored block. `open` gives access to the terms that are wanted. */
export type FoundBlock = { lastSeq: number; open: (wanted: readonly Wanted[]) => Awaitable<BlockTerms> };
/** The blocks of a project (undefined: of all) with a `lastSeq` below a position. */
export type BlocksOf = { projectId: string | undefined; lastSeqBelow: number };

/** The reads of stored blocks that a search needs. */
export interface BlockReader {
  /** Number of queries that one call of `before` takes. */
  readonly queriesAtOnce: number;
  /** Returns at most `limit` blocks for each query, the greatest `lastSeq` first. Each has an event before `before`. */
  before(of: readonly BlocksOf[], query: { before: number; limit: number }): Awaitable<FoundBlock[][]>;
}

/**
 * The events that are in no stored block yet: blocks in memory, and sources of the others. Each event that was logged
 * when the search began is in a block in memory, in a source, or in a stored block that is read later; some are in two.
 */
export type RecentEvents = { open: Block[]; others?: Sources<EventKey> };

/** Cost of reading the position of a row, without its payload. This is the unit of costs. */
const ROW_COST = 1;
/** Cost of looking up one term in one block. */
const LOOKUP_COST = 10;
/** Number of stored blocks that are read ahead, in total for all projects. */
const BLOCKS_AT_ONCE = 16;

/** Returns the terms that an event must have to be a candidate. */
export function wantedTerms(
  phrases: readonly Phrase[],
  { runId, types, actors }: Pick<SearchQuery, 'runId' | 'types' | 'actors'>,
): Wanted[] {
  const exact = new Set<string>();
  const wanted: Wanted[] = [];
  for (const { words, isPrefix } of phrases) {
    for (const [index, word] of words.entries()) {
      const isLast = index === words.length - 1;
      if (isLast && isUnspacedLetter(word)) {
        // The term of the letter before has this letter too. Without one, the term of this letter may have any second letter.
        const isCovered = index > 0 && isUnspacedLetter(words[index - 1] as string);
        if (!isCovered) wanted.push({ terms: [word], isPrefix: true });
      } else if (isLast && isPrefix) wanted.push({ terms: prefixTerms(word), isPrefix });
      else exact.add(termAt(words, index));
    }
  }
  if (runId !== undefined) exact.add(fieldTerm('run', runId));
  const anyOf = (field: 'actor' | 'type', values: ReadonlySet<string> | undefined) => {
    if (values) wanted.push({ terms: [...values].map((value) => fieldTerm(field, value)), isPrefix: false });
  };
  anyOf('type', types);
  anyOf('actor', actors);
  // Long words first: they are rare, and the lookup in a block ends at the first missing term. Prefixes last.
  const singles = [...exact].sort((a, b) => b.length - a.length);
  return [...singles.map((term) => ({ terms: [term], isPrefix: false })), ...wanted.reverse()];
}

type BlockQueue = { projectId: string | undefined; blocks: FoundBlock[] };

/**
 * Candidates for a query with a text: from the blocks in memory, then from the stored blocks, the greatest `lastSeq` first.
 * Each event that is in no block is a candidate.
 */
export class IndexCandidates implements Candidates {
  readonly #blocks: BlockReader;
  readonly #wanted: readonly Wanted[];
  readonly #before: number;
  readonly #low: number;
  readonly #open: Block[];
  readonly #limit: number;
  readonly #queues: BlockQueue[];
  #isFilled = false;
  readonly #others: NewestFirstSteps<EventKey> | undefined;
  /** All other events at this position and above have been found. */
  #knownOthers: number;

  constructor(
    blocks: BlockReader,
    recent: RecentEvents,
    projects: Projects,
    wanted: readonly Wanted[],
    { low, before }: { low: number; before: number },
  ) {
    this.#blocks = blocks;
    this.#wanted = wanted;
    this.#before = before;
    this.#low = low;
    this.#open = [...recent.open];
    const blocksOf = projects === 'all' ? [undefined] : projects;
    this.#limit = Math.max(1, Math.floor(BLOCKS_AT_ONCE / Math.max(1, blocksOf.length)));
    this.#queues = blocksOf.map((projectId) => ({ projectId, blocks: [] }));
    this.#others = recent.others && new NewestFirstSteps(recent.others, ({ seq }) => seq, before);
    this.#knownOthers = this.#others ? before : 0;
  }

  *step(found: number[]): Steps<{ known: number; cost: number }> {
    const open = this.#open.pop();
    if (open) {
      const { seqs, lookups } = intersect(open, this.#wanted);
      found.push(...seqs);
      return { known: this.#before, cost: LOOKUP_COST * lookups };
    }
    if (!this.#isFilled) {
      yield* this.#fill(this.#queues, Number.MAX_SAFE_INTEGER);
      this.#isFilled = true;
      return { known: this.#known(), cost: ROW_COST * this.#queues.length };
    }
    const newest = this.#newest();
    const [block] = newest?.blocks ?? [];
    if (this.#others && this.#knownOthers > (block?.lastSeq ?? 0)) return yield* this.#readOthers(this.#others, found);
    if (!newest || !block) return { known: 0, cost: 0 };
    newest.blocks.shift();
    const { seqs, lookups } = intersect(yield* resultOf(block.open(this.#wanted)), this.#wanted);
    found.push(...seqs);
    if (newest.blocks.length === 0) yield* this.#fill([newest], block.lastSeq);
    return { known: this.#known(), cost: LOOKUP_COST * lookups };
  }

  *#fill(queues: readonly BlockQueue[], lastSeqBelow: number): Steps<void> {
    const { queriesAtOnce } = this.#blocks;
    const query = { before: this.#before, limit: this.#limit };
    for (let from = 0; from < queues.length; from += queriesAtOnce) {
      const some = queues.slice(from, from + queriesAtOnce);
      const of = some.map(({ projectId }) => ({ projectId, lastSeqBelow }));
      const blocks = yield* resultOf(this.#blocks.before(of, query));
      for (const [index, queue] of some.entries()) queue.blocks = blocks[index] as FoundBlock[];
    }
  }

  *#readOthers(others: NewestFirstSteps<EventKey>, found: number[]): Steps<{ known: number; cost: number }> {
    const { rows, known = 0, reads } = yield* others.next();
    for (const { seq } of rows) found.push(seq);
    this.#knownOthers = known;
    return { known: this.#known(), cost: ROW_COST * (rows.length + reads) };
  }

  #newest(): BlockQueue | undefined {
    let newest: BlockQueue | undefined;
    let newestSeq = -1;
    for (const queue of this.#queues) {
      const lastSeq = queue.blocks[0]?.lastSeq ?? -1;
      if (lastSeq > newestSeq) {
        newest = queue;
        newestSeq = lastSeq;
      }
    }
    return newest;
  }

  #known(): number {
    const lastSeq = this.#newest()?.blocks[0]?.lastSeq ?? 0;
    const known = Math.max(lastSeq < this.#low ? 0 : lastSeq + 1, this.#knownOthers);
    return Math.min(this.#before, known);
  }
}

export type EventKey = { seq: number; type: string; actor: string };

/** Candidates from the events table, for a query without a text. */
export class TableCandidates implements Candidates {
  readonly #types: ReadonlySet<string> | undefined;
  readonly #actors: ReadonlySet<string> | undefined;
  readonly #rows: NewestFirstSteps<EventKey>;

  constructor(sources: Sources<EventKey>, { types, actors }: Pick<SearchQuery, 'types' | 'actors'>, before: number) {
    this.#types = types;
    this.#actors = actors;
    this.#rows = new NewestFirstSteps(sources, ({ seq }) => seq, before);
  }

  *step(found: number[]): Steps<{ known: number; cost: number }> {
    const { rows, known = 0, reads } = yield* this.#rows.next();
    for (const { seq, type, actor } of rows) {
      if (this.#types?.has(type) !== false && this.#actors?.has(actor) !== false) found.push(seq);
    }
    return { known, cost: ROW_COST * (rows.length + reads) };
  }
}
