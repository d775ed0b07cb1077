import { isUnspacedLetter, type Phrase } from '../../../shared/search-text.ts';
import type { Projects, SearchQuery } from '../contract/search.ts';
import { NewestFirst, type Source } from '../newest-first.ts';
import { type Block, fieldTerm, intersect, prefixTerms, termAt, type Wanted } from './block.ts';
import type { FoundBlock, SearchIndexer } from './indexer.ts';

/**
 * The candidates of a search: positions of events that may match, newest first. If the query has a text, they come from the
 * search index, otherwise from the events table.
 */
export interface Candidates {
  /**
   * Adds further candidates to `found`, in any order. `known`: all candidates at this position and above have been found; 0
   * at the end. `cost`: the work of this step, in the unit of `ROW_COST`. `until`: the time at which the step should end.
   */
  step(found: number[], until: number): { known: number; cost: number };
}

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

/** `queue` is undefined until it is read for the first time. */
type BlockQueue = { next: (lastSeqBelow: number) => FoundBlock[]; queue: FoundBlock[] | undefined };

/**
 * Candidates from the search index: first from the blocks in memory, then from the stored blocks, the greatest `lastSeq`
 * first.
 */
export class IndexCandidates implements Candidates {
  readonly #wanted: readonly Wanted[];
  readonly #before: number;
  readonly #low: number;
  readonly #open: Block[];
  readonly #queues: BlockQueue[];
  #filled = 0;

  constructor(
    { blocks, openBlocks }: Pick<SearchIndexer, 'blocks' | 'openBlocks'>,
    projects: Projects,
    wanted: readonly Wanted[],
    { low, before }: { low: number; before: number },
  ) {
    this.#wanted = wanted;
    this.#before = before;
    this.#low = low;
    const wantedProjects = new Set(projects === 'all' ? [] : projects);
    this.#open = openBlocks((projectId) => projects === 'all' || wantedProjects.has(projectId));
    // Blocks that are stored after this point are not read: they were in memory when the search began, so `#open` has them.
    const newest = blocks.newest();
    const blocksOf = projects === 'all' ? [undefined] : projects;
    const limit = Math.max(1, Math.floor(BLOCKS_AT_ONCE / Math.max(1, blocksOf.length)));
    this.#queues = blocksOf.map((projectId) => {
      const next = (lastSeqBelow: number) => blocks.before(projectId, { before, lastSeqBelow, newest, limit });
      return { next, queue: undefined };
    });
  }

  step(found: number[], until: number): { known: number; cost: number } {
    const open = this.#open.pop();
    if (open) {
      const { seqs, lookups } = intersect(open, this.#wanted);
      found.push(...seqs);
      return { known: this.#before, cost: LOOKUP_COST * lookups };
    }
    if (this.#filled < this.#queues.length) return this.#fill(until);
    const newest = this.#newest();
    const block = newest?.queue?.shift();
    if (!newest || !block) return { known: 0, cost: 0 };
    const { seqs, lookups } = intersect(block.open(), this.#wanted);
    found.push(...seqs);
    if (newest.queue?.length === 0) newest.queue = newest.next(block.lastSeq);
    return { known: this.#known(), cost: LOOKUP_COST * lookups };
  }

  /** Reads the first blocks of projects until the time is used up. */
  #fill(until: number): { known: number; cost: number } {
    const before = this.#filled;
    do {
      const queue = this.#queues[this.#filled++] as BlockQueue;
      queue.queue = queue.next(Number.MAX_SAFE_INTEGER);
    } while (this.#filled < this.#queues.length && performance.now() < until);
    const isFilled = this.#filled === this.#queues.length;
    return { known: isFilled ? this.#known() : this.#before, cost: ROW_COST * (this.#filled - before) };
  }

  #newest(): BlockQueue | undefined {
    let newest: BlockQueue | undefined;
    let newestSeq = -1;
    for (const queue of this.#queues) {
      const lastSeq = queue.queue?.[0]?.lastSeq ?? -1;
      if (lastSeq > newestSeq) [newest, newestSeq] = [queue, lastSeq];
    }
    return newest;
  }

  #known(): number {
    const lastSeq = this.#newest()?.queue?.[0]?.lastSeq ?? 0;
    return lastSeq < this.#low ? 0 : Math.min(this.#before, lastSeq + 1);
  }
}

export type EventKey = { seq: number; type: string; actor: string };

/** Candidates from the events table, for a query without a text. */
export class TableCandidates implements Candidates {
  readonly #types: ReadonlySet<string> | undefined;
  readonly #actors: ReadonlySet<string> | undefined;
  readonly #rows: NewestFirst<EventKey>;

  constructor(
    sources: readonly Source<EventKey>[],
    { types, actors }: Pick<SearchQuery, 'types' | 'actors'>,
    before: number,
  ) {
    this.#types = types;
    this.#actors = actors;
    this.#rows = new NewestFirst(sources, ({ seq }) => seq, before);
  }

  step(found: number[], until: number): { known: number; cost: number } {
    const { rows, known = 0, reads } = this.#rows.next(until);
    for (const { seq, type, actor } of rows) {
      if (this.#types?.has(type) !== false && this.#actors?.has(actor) !== false) found.push(seq);
    }
    return { known, cost: ROW_COST * (rows.length + reads) };
  }
}
