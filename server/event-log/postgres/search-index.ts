import { setTimeout as sleep } from 'node:timers/promises';
import { RunwireError } from '../../../shared/errors.ts';
import { type Caller, Turns } from '../../slices.ts';
import type { StoredEvent } from '../contract/log.ts';
import type { Lease, Nodes } from '../contract/nodes.ts';
import type { Projects } from '../contract/search.ts';
import { Block } from '../search/block.ts';
import type { RecentEvents } from '../search/candidates.ts';
import { type CommittedEvent, CommittedEvents } from '../search/committed.ts';
import type { SearchIndex } from '../search/search.ts';
import { TERMS_VERSION, termsOf } from '../search/terms.ts';
import type { PostgresDatabase, Query } from './database.ts';
import { type BlockRow, PostgresSearchTables } from './search.ts';
import {
  deleteBlocksUpTo,
  type EventRow,
  eventAt,
  insertBlock,
  lockIndex,
  movePosition,
  refreshBlock,
  rewriteBlock,
} from './search-blocks.ts';

/**
 * The index of words in PostgreSQL: the blocks of `search/block.ts` in two tables.
 *
 * One node feeds it (the lease `search-index`): it adds new events to blocks in memory, and stores full ones, each with
 * the position up to which every event is in a stored block. The next feeder begins at this position. Two feeders at once do
 * no harm: the version of the row `search_index` lets only one of them store, and the other one begins again.
 *
 * Events that are in no block that this node knows are read by the search itself, project by project, so each node finds
 * each event at once ({@link RecentEvents}).
 *
 * An erasure or a trim by any node locks the row `search_index`, then changes the stored blocks. A block that was in memory
 * meanwhile is compared with the events under the same lock before it is stored, so no erased word comes back.
 */

/** Delay after a commit: a burst of events is logged first and indexed later. */
const DELAY_MS = 400;
const RETRY_MS = 1_000;
const ROWS_AT_ONCE = 256;
const BYTES_AT_ONCE = 1 << 20;
/** After each piece of work, the feeder rests for this many times its duration: two thirds are left to other work. */
const REST = 2;
const MAX_REST_MS = 50;
/** A block in memory is stored at the latest when its first event is this many positions behind. */
const MAX_SPAN = 16_384;
/** How often the feeder writes the position that it has read, and another node reads it. */
const INDEXED_MS = 1_000;

/**
 * What the feeder has in memory. `position`: the events up to it are in `blocks` or in stored blocks. `stored`: greatest
 * position of a stored block at the start; up to it, an event may be in a stored block and after `search_index.position`.
 */
type Tail = {
  version: number;
  position: number;
  stored: number;
  /** By project, the oldest block first. */
  blocks: Map<string, Block>;
  lastSeqs: Map<string, number>;
  /** Whether no block has terms of an earlier release. */
  isRenewed: boolean;
};

/** Returns the first events that meet a condition, as many as their size allows. */
const firstEvents = (where: string, order: string) => `SELECT seq, project_id, payload FROM (
    SELECT seq, project_id, payload, sum(octet_length(payload)) OVER (ORDER BY seq) - octet_length(payload) AS bytes
    FROM (SELECT seq, project_id, payload FROM events WHERE ${where} ORDER BY ${order} LIMIT ${ROWS_AT_ONCE}) e
  ) e WHERE bytes < ${BYTES_AT_ONCE} ORDER BY seq`;

const INDEX_STATEMENTS = {
  eventsAfter: firstEvents('seq > $1 AND seq <= $2', 'seq'),
  eventsOf: firstEvents('(project_id, seq) >= ($1, $2) AND (project_id, seq) <= ($1, $3)', 'project_id, seq'),
  start: `SELECT position, version, indexed, (SELECT coalesce(max(last_seq), 0) FROM search_blocks) AS stored
    FROM search_index`,
  lastSeq: 'SELECT coalesce(max(last_seq), 0) AS seq FROM search_blocks WHERE project_id = $1',
  setIndexed: 'UPDATE search_index SET indexed = $1 WHERE version = $2',
  across: 'SELECT project_id FROM search_blocks WHERE last_seq >= $1 AND first_seq < $1',
  outdated: `SELECT project_id, first_seq, last_seq FROM search_blocks WHERE terms_version < ${TERMS_VERSION}
    ORDER BY terms_version DESC, block DESC LIMIT 1`,
};

export type PostgresSearchIndexParts = {
  database: Pick<PostgresDatabase, 'read' | 'write'>;
  nodes: Pick<Nodes, 'lease'>;
  head: () => number;
};

export class PostgresSearchIndex implements SearchIndex {
  readonly #parts: PostgresSearchIndexParts;
  readonly #turns = new Turns();
  readonly #lease: Lease;
  readonly #committed = new CommittedEvents();
  #tail: Tail | undefined;
  #isFeeding = false;
  #isClosed = false;
  #wake: (() => void) | undefined;
  /** Counts the changes of events that a read in progress may not have seen. */
  #changes = 0;
  #indexed = 0;
  #indexedAtMs = Number.NEGATIVE_INFINITY;

  constructor(parts: PostgresSearchIndexParts) {
    this.#parts = parts;
    this.#lease = parts.nodes.lease('search-index', (isHeld) => {
      if (isHeld) void this.#feed();
      else this.forget();
    });
    this.#readIndexed();
  }

  /** Number of positions between the last event that any node has indexed, as of 1 s ago, and the head of this node. */
  get lag(): number {
    const own = this.#tail?.position;
    if (own === undefined && !this.#isClosed) this.#readIndexed();
    return Math.max(0, this.#parts.head() - (own ?? this.#indexed));
  }

  /** Takes the events of a commit of any node. */
  add(records: readonly CommittedEvent[]): void {
    if (this.#tail) this.#committed.add(records);
    this.#wake?.();
  }

  async recent(projects: Projects, caller: Caller): Promise<RecentEvents> {
    const tables = new PostgresSearchTables(this.#parts.database, caller);
    const tail = this.#tail;
    if (!tail) return { open: [], others: await tables.unstored(projects) };
    const wanted = new Set(projects === 'all' ? [] : projects);
    const blocks = [...tail.blocks.values()];
    const open = projects === 'all' ? blocks : blocks.filter(({ projectId }) => wanted.has(projectId));
    return { open, others: await tables.unstored(projects, tail.position) };
  }

  /** Removes the old words of an event from its stored block. Called in the transaction that has replaced the payload. */
  async erasing(query: Query, seq: number): Promise<void> {
    await lockIndex(query);
    const event = await eventAt(query, seq);
    if (!event) return;
    const terms = new Map([[seq, termsOf(event.payload)]]);
    await rewriteBlock(query, event.project_id, seq, (block) => block.replace(terms));
  }

  /** Removes the old words of an event from the memory of this node. Called on each node, with the tombstone. */
  erased({ seq, projectId, json }: StoredEvent): void {
    this.#changed();
    this.#tail?.blocks.get(projectId)?.replace(new Map([[seq, termsOf(json)]]));
  }

  /** Deletes the stored blocks of trimmed events only. Called in the transaction that deletes the events up to `seq`. */
  async trimmed(query: Query, seq: number): Promise<void> {
    await lockIndex(query);
    await deleteBlocksUpTo(query, seq);
  }

  /** Removes the words of trimmed events from blocks that also have newer events. Called after a trim. */
  async cut(oldest: number): Promise<void> {
    this.#changed();
    const isGone = (seq: number) => seq < oldest;
    for (const block of this.#tail?.blocks.values() ?? []) {
      if (block.firstSeq < oldest) block.drop(isGone);
      await this.#turns.next();
    }
    const { database } = this.#parts;
    const rows = await database.read<{ project_id: string }>({ text: INDEX_STATEMENTS.across, values: [oldest] });
    for (const { project_id: projectId } of rows) {
      await database.write(async (query) => {
        await lockIndex(query);
        await rewriteBlock(query, projectId, oldest, (block) => block.drop(isGone));
      });
    }
  }

  /** Drops the blocks in memory: this node feeds no more, or the history was replaced. */
  forget(): void {
    this.#tail = undefined;
    this.#changed();
  }

  /** Events that were read or taken before may have words that the store no longer has. */
  #changed(): void {
    this.#changes++;
    this.#committed.clear();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.forget();
    this.#wake?.();
    await this.#lease.release();
  }

  get #mayFeed(): boolean {
    return this.#lease.isHeld && !this.#isClosed;
  }

  async #feed(): Promise<void> {
    if (this.#isFeeding) return;
    this.#isFeeding = true;
    while (this.#mayFeed) {
      try {
        this.#tail ??= await this.#start();
        const tail = this.#tail;
        if (await this.#readOn(tail)) continue;
        if (await this.#renew(tail)) continue;
        await this.#saveIndexed(tail);
        await this.#untilWork(tail);
      } catch {
        // The database has reported the error. Whether the last block is stored is not known, so the feeder begins again.
        this.forget();
        await pause(RETRY_MS);
      }
    }
    this.#isFeeding = false;
  }

  async #start(): Promise<Tail> {
    const [row] = await this.#parts.database.read<Omit<Tail, 'blocks' | 'lastSeqs' | 'isRenewed'>>({
      text: INDEX_STATEMENTS.start,
    });
    const { position = 0, version = 0, stored = 0 } = row ?? {};
    return { position, version, stored, blocks: new Map(), lastSeqs: new Map(), isRenewed: false };
  }

  /** Reads the next events. Returns false if there are none. */
  async #readOn(tail: Tail): Promise<boolean> {
    const head = this.#parts.head();
    if (tail.position >= head) return false;
    const changes = this.#changes;
    const events = this.#committed.after(tail.position, ROWS_AT_ONCE) ?? (await this.#stored(tail.position, head));
    const began = performance.now();
    for (const { seq, projectId, json } of events) {
      for (let due = dueBlock(tail, projectId, seq); due; due = dueBlock(tail, projectId, seq)) {
        await this.#store(tail, due);
      }
      const isStored = seq <= tail.stored && (await this.#lastSeqOf(tail, projectId)) >= seq;
      const turn = this.#turns.next();
      if (turn) await turn;
      // The events may have words that have been erased since they were read.
      if (changes !== this.#changes) return true;
      if (!isStored) addTo(tail, projectId, seq, json);
      tail.position = seq;
    }
    await pause(Math.min(MAX_REST_MS, REST * (performance.now() - began)));
    return events.length > 0;
  }

  async #stored(position: number, head: number): Promise<CommittedEvent[]> {
    const statement = { text: INDEX_STATEMENTS.eventsAfter, values: [position, head] };
    const rows = await this.#parts.database.read<EventRow>(statement);
    return rows.map(({ seq, project_id: projectId, payload: json }) => ({ seq, projectId, json }));
  }

  async #lastSeqOf(tail: Tail, projectId: string): Promise<number> {
    const known = tail.lastSeqs.get(projectId);
    if (known !== undefined) return known;
    const values = [projectId];
    const [row] = await this.#parts.database.read<{ seq: number }>({ text: INDEX_STATEMENTS.lastSeq, values });
    const seq = row?.seq ?? 0;
    tail.lastSeqs.set(projectId, seq);
    return seq;
  }

  async #store(tail: Tail, block: Block): Promise<void> {
    let { position } = tail;
    for (const other of tail.blocks.values()) if (other !== block) position = Math.min(position, other.firstSeq - 1);
    await this.#parts.database.write(async (query) => {
      const version = await lockIndex(query);
      if (version !== tail.version) throw new RunwireError('UNAVAILABLE', 'another node feeds the search index');
      await refreshBlock(query, block);
      await insertBlock(query, block);
      await movePosition(query, position);
    });
    tail.version++;
    tail.blocks.delete(block.projectId);
  }

  /** Renews the newest block with terms of an earlier release. Returns false if there is none. */
  async #renew(tail: Tail): Promise<boolean> {
    if (tail.isRenewed) return false;
    const { database } = this.#parts;
    const [outdated] = await database.read<BlockRow & { project_id: string }>({ text: INDEX_STATEMENTS.outdated });
    tail.isRenewed = outdated === undefined;
    if (!outdated) return false;
    const { project_id: projectId, first_seq: first, last_seq: last } = outdated;
    const terms = new Map<number, ReadonlySet<string>>();
    for (let position = first - 1; position < last; ) {
      const rows = await database.read<EventRow>({
        text: INDEX_STATEMENTS.eventsOf,
        values: [projectId, position + 1, last],
      });
      for (const { seq, payload } of rows) {
        terms.set(seq, termsOf(payload));
        await this.#turns.next();
      }
      position = rows.at(-1)?.seq ?? last;
    }
    await database.write(async (query) => {
      await lockIndex(query);
      await rewriteBlock(query, projectId, last, async (block) => {
        block.replace(terms);
        await refreshBlock(query, block);
      });
    });
    return true;
  }

  async #saveIndexed({ position, version }: Tail): Promise<void> {
    if (position <= this.#indexed || performance.now() < this.#indexedAtMs + INDEXED_MS) return;
    const statement = { text: INDEX_STATEMENTS.setIndexed, values: [position, version] };
    await this.#parts.database.write((query) => query(statement));
    this.#indexed = position;
    this.#indexedAtMs = performance.now();
  }

  /** Waits until there are new events, or the position that was read must be saved. */
  async #untilWork({ position }: Tail): Promise<void> {
    if (position >= this.#parts.head()) {
      const abort = new AbortController();
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      const isSaved = position <= this.#indexed;
      await Promise.race(isSaved ? [woken] : [woken, pause(INDEXED_MS, abort.signal)]);
      abort.abort();
      this.#wake = undefined;
    }
    if (this.#mayFeed && this.#parts.head() > position) await pause(DELAY_MS);
  }

  #readIndexed(): void {
    if (performance.now() < this.#indexedAtMs + INDEXED_MS) return;
    this.#indexedAtMs = performance.now();
    this.#parts.database.read<{ position: number; indexed: number }>({ text: INDEX_STATEMENTS.start }).then(
      ([row]) => {
        this.#indexed = Math.max(row?.indexed ?? 0, row?.position ?? 0);
      },
      () => undefined,
    );
  }
}

/** Returns a block that must be stored before the event can be added. */
function dueBlock({ blocks }: Tail, projectId: string, seq: number): Block | undefined {
  const [oldest] = blocks.values();
  if (oldest && oldest.firstSeq + MAX_SPAN <= seq) return oldest;
  const block = blocks.get(projectId);
  return block?.isFull ? block : undefined;
}

function addTo({ blocks }: Tail, projectId: string, seq: number, json: string): void {
  let block = blocks.get(projectId);
  if (!block) {
    block = new Block(projectId);
    blocks.set(projectId, block);
  }
  block.add(seq, json);
}

/** A pause that does not keep the process alive. */
const pause = (ms: number, signal?: AbortSignal): Promise<void> =>
  sleep(ms, undefined, { ref: false, ...(signal ? { signal } : {}) }).catch(() => undefined);
