import { isStorable } from '../../../shared/issues.ts';
import type { Caller } from '../../slices.ts';
import type { Projects } from '../contract/search.ts';
import type { Sources } from '../newest-first.ts';
import { type BlockTerms, chunksWith, StoredBlock, type Wanted } from '../search/block.ts';
import type { BlockReader, BlocksOf, EventKey, FoundBlock } from '../search/candidates.ts';
import type { FoundEvent, SearchTables } from '../search/search.ts';
import type { PostgresDatabase } from './database.ts';

/**
 * The reads of a search. One statement reads several projects. It compares rows, `(project_id, seq) < (…, …)`, so that no
 * plan can use another index than that of the project: the time of a search would depend on events of other projects.
 */

const SOURCES_AT_ONCE = 64;
/** An event has at most 64 KiB. */
const EVENTS_AT_ONCE = 32;
/** Stored blocks with chunks that one statement reads. */
const BLOCKS_AT_ONCE = 4;

/** `$1`: numbers of the sources; `$2`, `$3`: their keys and lowest positions; `$4`: below these positions; `$5`: rows of each. */
const newestBy = (key: string, type: string) => `
  SELECT w.source, e.seq, e.type, e.actor
  FROM unnest($1::int[], $2::${type}[], $3::bigint[], $4::bigint[]) AS w (source, key, low, below)
  CROSS JOIN LATERAL (
    SELECT seq, type, actor FROM events
    WHERE (${key}, seq) >= (w.key, w.low) AND (${key}, seq) < (w.key, w.below)
    ORDER BY ${key} DESC, seq DESC LIMIT $5
  ) e`;

const SEARCH_STATEMENTS = {
  newestOfProjects: newestBy('project_id', 'text'),
  newestOfRuns: newestBy('run_row', 'bigint'),
  newestOfAll: `SELECT 0 AS source, seq, type, actor FROM events WHERE seq >= $1 AND seq < $2 ORDER BY seq DESC LIMIT $3`,
  runs: 'SELECT row_id FROM runs WHERE run_id = $1',
  runsOf: `SELECT r.row_id FROM unnest($2::text[]) AS p (project_id) CROSS JOIN LATERAL (
    SELECT row_id FROM runs
    WHERE (runs.project_id, run_id) >= (p.project_id, $1) AND (runs.project_id, run_id) <= (p.project_id, $1)) r`,
  events: `SELECT seq, run_seq, project_id, run_id, type, actor, payload, recorded_at_ms FROM events WHERE seq = ANY ($1)`,
  blocksOf: `
    SELECT w.source, b.* FROM unnest($1::int[], $2::text[], $3::bigint[]) AS w (source, project_id, below)
    CROSS JOIN LATERAL (
      SELECT block, first_seq, last_seq, seqs, firsts FROM search_blocks
      WHERE (project_id, last_seq) >= (w.project_id, 0) AND (project_id, last_seq) < (w.project_id, w.below)
        AND first_seq < $4
      ORDER BY project_id DESC, last_seq DESC LIMIT $5
    ) b`,
  blocks: `SELECT 0 AS source, block, first_seq, last_seq, seqs, firsts FROM search_blocks
    WHERE last_seq < $1 AND first_seq < $2 ORDER BY last_seq DESC LIMIT $3`,
  chunks: `SELECT w.block, w.chunk, c.lines FROM unnest($1::bigint[], $2::int[]) AS w (block, chunk)
    CROSS JOIN LATERAL (SELECT lines FROM search_chunks WHERE block = w.block AND chunk = w.chunk) c`,
  unstored: `SELECT p.project_id, greatest(i.position, coalesce(b.last_seq, 0)) AS seq
    FROM unnest($1::text[]) AS p (project_id) CROSS JOIN search_index i LEFT JOIN LATERAL (
      SELECT last_seq FROM search_blocks
      WHERE (project_id, last_seq) >= (p.project_id, 0)
        AND (project_id, last_seq) < (p.project_id, ${Number.MAX_SAFE_INTEGER})
      ORDER BY project_id DESC, last_seq DESC LIMIT 1
    ) b ON true`,
  position: 'SELECT position FROM search_index',
  // A project's blocks have all its events up to the last one.
  newestUnstored: `SELECT 0 AS source, seq, type, actor FROM events e WHERE seq >= $1 AND seq < $2 AND NOT EXISTS (
      SELECT FROM search_blocks b WHERE b.project_id = e.project_id AND b.last_seq >= e.seq)
    ORDER BY seq DESC LIMIT $3`,
};

type EventRow = {
  seq: number;
  run_seq: number;
  project_id: string;
  run_id: string;
  type: string;
  actor: string;
  payload: string;
  recorded_at_ms: number;
};
export type BlockRow = { block: number; first_seq: number; last_seq: number; seqs: string | null; firsts: string };
type OfSource = { source: number };

/** Returns the reads of a search, for its caller. */
export const searchReads = (database: Pick<PostgresDatabase, 'read'>) => (caller: Caller) => {
  const tables = new PostgresSearchTables(database, caller);
  return { tables, blocks: tables };
};

export class PostgresSearchTables implements SearchTables, BlockReader {
  readonly eventsAtOnce = EVENTS_AT_ONCE;
  readonly queriesAtOnce = SOURCES_AT_ONCE;
  readonly #database: Pick<PostgresDatabase, 'read'>;
  readonly #caller: Caller;

  constructor(database: Pick<PostgresDatabase, 'read'>, caller: Caller) {
    this.#database = database;
    this.#caller = caller;
  }

  async events(seqs: readonly number[]): Promise<FoundEvent[]> {
    const rows = await this.#rows<EventRow>('events', [seqs]);
    return rows.map(({ run_seq, project_id, run_id, recorded_at_ms, ...row }) => ({
      ...row,
      runSeq: run_seq,
      projectId: project_id,
      runId: run_id,
      recordedAtMs: recorded_at_ms,
    }));
  }

  async sources(projects: Projects, runId: string | undefined, low: number): Promise<Sources<EventKey>> {
    if (runId === undefined)
      return projects === 'all' ? this.#all(low) : this.#projects(projects.map((id) => [id, low]));
    if (!isStorable(runId)) return this.#by('newestOfRuns', []);
    const rows: { row_id: number }[] =
      projects === 'all'
        ? await this.#rows('runs', [runId])
        : await this.#rows('runsOf', [runId, projects.filter(isStorable)]);
    return this.#by(
      'newestOfRuns',
      rows.map(({ row_id }) => [row_id, low]),
    );
  }

  /** Returns sources of the events of the projects that are in no stored block, or of those after a position. */
  async unstored(projects: Projects, indexedTo?: number): Promise<Sources<EventKey>> {
    if (projects === 'all') {
      if (indexedTo !== undefined) return this.#all(indexedTo + 1);
      const [row] = await this.#rows<{ position: number }>('position', []);
      return this.#all((row?.position ?? 0) + 1, 'newestUnstored');
    }
    if (indexedTo !== undefined) return this.#projects(projects.map((id) => [id, indexedTo + 1]));
    const rows = await this.#rows<{ project_id: string; seq: number }>('unstored', [projects.filter(isStorable)]);
    return this.#projects(rows.map(({ project_id, seq }) => [project_id, seq + 1]));
  }

  async before(of: readonly BlocksOf[], { before, limit }: { before: number; limit: number }): Promise<FoundBlock[][]> {
    const [first] = of;
    const some = of.flatMap((each, source) => (isStorable(each.projectId ?? '') ? [{ ...each, source }] : []));
    const rows: (BlockRow & OfSource)[] =
      first && first.projectId === undefined
        ? await this.#rows('blocks', [first.lastSeqBelow, before, limit])
        : await this.#rows('blocksOf', [
            some.map(({ source }) => source),
            some.map(({ projectId }) => projectId),
            some.map(({ lastSeqBelow }) => lastSeqBelow),
            before,
            limit,
          ]);
    const found = grouped(of.length, rows).map((blocks) => blocks.sort((a, b) => b.last_seq - a.last_seq));
    return found.map((blocks) => this.#foundBlocks(blocks));
  }

  /** The first block is read alone: its events may fill the page. The others are read some at once. */
  #foundBlocks(rows: readonly BlockRow[]): FoundBlock[] {
    const opened = new Map<number, Promise<BlockTerms[]>>();
    const open = async (index: number, wanted: readonly Wanted[]): Promise<BlockTerms> => {
      const group = Math.ceil(index / BLOCKS_AT_ONCE);
      const from = Math.max(0, (group - 1) * BLOCKS_AT_ONCE + 1);
      const some = group === 0 ? rows.slice(0, 1) : rows.slice(from, from + BLOCKS_AT_ONCE);
      if (!opened.has(group)) opened.set(group, this.#open(some, wanted));
      const blocks = (await opened.get(group)) as BlockTerms[];
      return blocks[index - from] as BlockTerms;
    };
    return rows.map((row, index) => ({ lastSeq: row.last_seq, open: (wanted) => open(index, wanted) }));
  }

  async #open(rows: readonly BlockRow[], wanted: readonly Wanted[]): Promise<BlockTerms[]> {
    const blocks = rows.map((row) => ({
      row,
      firsts: JSON.parse(row.firsts) as string[],
      chunks: new Map<number, string>(),
    }));
    const keys = blocks.flatMap(({ row, firsts }) => [...chunksOf(firsts, wanted)].map((chunk) => [row.block, chunk]));
    const read = await this.#rows<{ block: number; chunk: number; lines: string }>('chunks', [
      keys.map(([block]) => block),
      keys.map(([, chunk]) => chunk),
    ]);
    const byId = new Map(blocks.map((block) => [block.row.block, block]));
    for (const { block, chunk, lines } of read) byId.get(block)?.chunks.set(chunk, lines);
    return blocks.map(({ row, firsts, chunks }) => {
      const seqs = seqsOf(row);
      const isGone = [...chunksOf(firsts, wanted)].some((chunk) => !chunks.has(chunk));
      return isGone ? anyTerms(seqs) : new StoredBlock(seqs, firsts, (index) => chunks.get(index) as string);
    });
  }

  #all(low: number, name: 'newestOfAll' | 'newestUnstored' = 'newestOfAll'): Sources<EventKey> {
    return {
      count: 1,
      atOnce: 1,
      read: async ([first], limit) => [await this.#rows<EventKey>(name, [low, first?.below, limit])],
    };
  }

  #projects(of: readonly [projectId: string, low: number][]): Sources<EventKey> {
    return this.#by(
      'newestOfProjects',
      of.filter(([id]) => isStorable(id)),
    );
  }

  #by(
    name: 'newestOfProjects' | 'newestOfRuns',
    keys: readonly [key: string | number, low: number][],
  ): Sources<EventKey> {
    return {
      count: keys.length,
      atOnce: SOURCES_AT_ONCE,
      read: async (of, limit) => {
        const keyOf = (source: number) => keys[source] as [key: string | number, low: number];
        const rows = await this.#rows<EventKey & OfSource>(name, [
          of.map((_, index) => index),
          of.map(({ source }) => keyOf(source)[0]),
          of.map(({ source }) => keyOf(source)[1]),
          of.map(({ below }) => below),
          limit,
        ]);
        return grouped(of.length, rows).map((found) => found.sort((a, b) => b.seq - a.seq));
      },
    };
  }

  #rows<Row extends object>(name: keyof typeof SEARCH_STATEMENTS, values: readonly unknown[]): Promise<Row[]> {
    return this.#database.read<Row>({ name: `search ${name}`, text: SEARCH_STATEMENTS[name], values }, this.#caller);
  }
}

/** Returns the numbers of the chunks that can have a wanted term. */
function chunksOf(firsts: readonly string[], wanted: readonly Wanted[]): Set<number> {
  const chunks = new Set<number>();
  for (const { terms, isPrefix } of wanted) {
    for (const term of terms) {
      const { from, to } = chunksWith(firsts, term, isPrefix);
      for (let chunk = from; chunk < to; chunk++) chunks.add(chunk);
    }
  }
  return chunks;
}

/** A block that has been replaced or deleted since its row was read: each of its events may match. */
const anyTerms = (seqs: readonly number[]): BlockTerms => ({
  seqs,
  find: (_, found) => found(seqs.map((_, at) => at)),
});

function grouped<Row extends OfSource>(count: number, rows: readonly Row[]): Row[][] {
  const groups: Row[][] = Array.from({ length: count }, () => []);
  for (const row of rows) groups[row.source]?.push(row);
  return groups;
}

export function seqsOf({ seqs, first_seq, last_seq }: Pick<BlockRow, 'seqs' | 'first_seq' | 'last_seq'>): number[] {
  if (seqs !== null) return JSON.parse(seqs) as number[];
  return Array.from({ length: last_seq - first_seq + 1 }, (_, index) => first_seq + index);
}
