import type { Caller } from '../../slices.ts';
import type { LogHead } from '../contract/log.ts';
import type { Backplane } from './backplane.ts';
import { closedError, lockHead, type PostgresDatabase, type Query, READ_COMMITTED } from './database.ts';
import { Feed, type LogState, type Tombstone } from './feed.ts';
import { Leases } from './leases.ts';
import { Messages } from './messages.ts';
import { PostgresNodes } from './nodes.ts';
import {
  hashPrefixAt,
  hasOtherHistory,
  logStateOf,
  PULSE_MS,
  Pulse,
  readStoreState,
  type StoreState,
} from './pulse.ts';
import { openSession, type Session } from './session.ts';

/**
 * What makes several nodes one log. Joins the parts: the feed gives the records of all nodes to the listeners of this one,
 * the pulse compares this node with the store, messages arrive by the backplane, and leases give tasks to one node.
 */

/** A pulse that takes longer is worth nothing: the node is not current any more. */
const PULSE_TIMEOUT_MS = 5_000;
const READ_TIMEOUT_MS = 30_000;

const DURABLE_HEAD = `SELECT seq, encode(substr(hash, 1, 4), 'hex') AS "hashPrefix" FROM head`;

type ClusterParts = {
  database: PostgresDatabase;
  backplane: Backplane;
  /** `Log.secret`. */
  secret: string;
  tombstonesAfter: (generation: number) => Promise<Tombstone[]>;
  /** Gives the log a new epoch, with a signed record, in a transaction that has locked the head. */
  renewEpoch: (query: Query, reason: string) => Promise<unknown>;
  onFailure: (error: unknown, message: string) => void;
};

/** Adds a node to those that share the log. MUST be called before anything of the log is read into memory. */
export async function joinCluster(parts: ClusterParts): Promise<Cluster> {
  const { database, onFailure } = parts;
  // A lost renewal of a lease is repeated: it need not wait for the disk.
  const pulse = openSession(database.options, PULSE_TIMEOUT_MS, `${READ_COMMITTED}; SET synchronous_commit = off`);
  const reads = openSession(database.options, READ_TIMEOUT_MS);
  const nodes = new PostgresNodes({ database, query: pulse.query, onFailure });
  try {
    const messages = new Messages({ backplane: parts.backplane, secret: parts.secret, node: nodes.id });
    const cluster: Cluster = new Cluster({ ...parts, pulse, reads, nodes, messages });
    await cluster.join();
    return cluster;
  } catch (error) {
    // Otherwise the others would wait for this node until its lease is over.
    await nodes.leave().catch(() => undefined);
    await Promise.all([pulse.close(), reads.close(), parts.backplane.close()]);
    throw database.errorFor(error);
  }
}

type Parts = ClusterParts & { pulse: Session; reads: Session; nodes: PostgresNodes; messages: Messages };

export class Cluster {
  readonly nodes: PostgresNodes;
  readonly #parts: Parts;
  readonly #pulse: Pulse;
  readonly #leases: Leases;
  readonly #changeListeners = new Map<string, Set<() => unknown>>();
  #feed!: Feed;
  #revisions: Record<string, number> = {};
  #log!: LogState;
  /** Erasures that every node with a lease has confirmed, as of the last pulse. */
  #confirmed: number | null = null;
  /** Whether another node had a lease at the last pulse. A node that has joined since then reads the log at its own pulses. */
  #hasOthers = true;
  /** The clock of the database, less the monotonic clock of this node. */
  #clockMs = 0;
  #isClosed = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.nodes = parts.nodes;
    const { onFailure, pulse } = parts;
    this.#pulse = new Pulse({ beat: () => this.#beat(), onFailure });
    const look = () => void this.look();
    this.#leases = new Leases({
      query: pulse.query,
      node: this.nodes.id,
      look,
      changed: () => this.changed(),
      onFailure,
    });
  }

  async join(): Promise<void> {
    const { reads, messages, tombstonesAfter, onFailure } = this.#parts;
    await this.nodes.join({ leases: this.#leases, messages });
    const state = await this.#readState(0);
    this.#log = logStateOf(state);
    this.#revisions = state.revisions ?? {};
    this.#feed = new Feed({
      state: this.#log,
      query: reads.query,
      send: (commit) => this.#hasOthers && messages.commit(commit),
      suspect: () => this.look(),
      tombstonesAfter,
      onFailure,
    });
    messages.receive(
      {
        onCommit: (commit) => this.#feed.received(commit),
        onChanged: () => void this.look(),
        onTopic: (topic, message, nodeId) => this.nodes.received(topic, message, nodeId),
      },
      (error) => onFailure(error, 'a message of another node cannot be read'),
    );
    await this.look();
  }

  get feed(): Feed {
    return this.#feed;
  }
  /** What this node knows of the log. Changes in place. */
  get log(): LogState {
    return this.#log;
  }
  get isCurrent(): boolean {
    return this.#pulse.isCurrent && this.nodes.hasLease;
  }

  /** `Log.now`. */
  nowMs(): number {
    return Math.floor(this.#clockMs + performance.now());
  }

  /** Resolves once this node knows what the store had before the call; false if the store could not be asked. */
  look(): Promise<boolean> {
    return this.#pulse.look();
  }

  async durableHead(caller?: Caller): Promise<LogHead> {
    const [head] = await this.#parts.database.read<LogHead>({ name: 'durable-head', text: DURABLE_HEAD }, caller);
    return head as LogHead;
  }

  /** To be called after a transaction that has changed the head row, other than by a commit, or `revisions`. */
  changed(): void {
    this.#parts.messages.changed();
    void this.look();
  }

  /**
   * Calls the listener when the row of `revisions` with this name has changed. The node is current again once the returned
   * promise has resolved. Returns a function that removes the listener.
   */
  onChange(name: string, listener: () => unknown): () => void {
    const listeners = this.#changeListeners.get(name) ?? new Set();
    this.#changeListeners.set(name, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  /** Resolves once every node with a lease has applied the erasures up to a number. */
  async confirmed(erasures: number): Promise<void> {
    for (;;) {
      if (this.#isClosed) throw closedError();
      const isKnown = await this.look();
      if (isKnown && (this.#confirmed ?? erasures) >= erasures) return;
      if (!isKnown) await new Promise((resolve) => setTimeout(resolve, PULSE_MS));
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const { pulse, reads, messages, onFailure, backplane } = this.#parts;
    await this.#pulse.close();
    this.#feed.close();
    try {
      await this.nodes.leave();
      messages.changed();
    } catch (error) {
      onFailure(error, 'the node cannot leave: the others wait until its lease is over');
    }
    await Promise.all([pulse.close(), reads.close(), backplane.close()]);
  }

  async #readState(head: number): Promise<StoreState> {
    const sentAt = performance.now();
    const state = await readStoreState(this.#parts.pulse.query, head, this.nodes.id);
    this.#clockMs = state.clockMs - (sentAt + performance.now()) / 2;
    return state;
  }

  async #beat(): Promise<void> {
    const { head } = this.#log;
    const state = await this.#readState(head.seq);
    await this.#compare(state, head);
    this.#log.oldest = state.oldest;
    this.#log.recordedAtMs = state.recordedAtMs;
    if (state.erasures > this.#feed.erasures) await this.#feed.applyErasures(state.erasures);
    await this.#announce(state.revisions ?? {});
    this.#confirmed = state.confirmed;
    this.#hasOthers = state.hasOthers;
    const { erasures } = this.#feed;
    if (!state.isMember || this.nodes.isDue(erasures)) {
      await this.nodes.renew(erasures);
      await this.#leases.renew();
    } else if (this.#leases.canTake(state.leases ?? [])) await this.#leases.renew();
    if (state.hasGone) await this.nodes.removeGone();
  }

  /** Takes a new epoch of the store, or renews it if the store has lost the end of the history of this node. */
  async #compare(state: StoreState, head: LogHead): Promise<void> {
    if (state.epoch === this.#log.epoch) {
      if (hasOtherHistory(state, head)) await this.#renewEpoch();
      else this.#feed.follow(state.seq);
    } else if (hashPrefixAt(state, head) === head.hashPrefix) this.#feed.replace(state.epoch, state.seq);
    else this.#feed.replace(state.epoch, state.seq, await this.#beginningOf(state));
  }

  async #renewEpoch(): Promise<void> {
    const { database, renewEpoch } = this.#parts;
    await database.write(async (query) => {
      await lockHead(query);
      const { head } = this.#log;
      const state = await readStoreState(query, head.seq, this.nodes.id);
      // Another node may have renewed the epoch by now.
      if (state.epoch !== this.#log.epoch || !hasOtherHistory(state, head)) return;
      await renewEpoch(query, 'the store has lost the end of its history');
    });
    this.changed();
  }

  /** Returns the position from which every row is of the present epoch. */
  async #beginningOf({ epochSeq, oldest, seq, hashPrefix }: StoreState): Promise<LogHead> {
    const position = Math.max(epochSeq, oldest - 1);
    if (position >= seq) return { seq, hashPrefix };
    const text = `SELECT encode(substr(prev_hash, 1, 4), 'hex') AS "hashPrefix" FROM events WHERE seq = $1`;
    const [row] = await this.#parts.pulse.query<{ hashPrefix: string }>({ text, values: [position + 1] });
    return row ? { seq: position, ...row } : { seq, hashPrefix };
  }

  /** Calls the listeners of the revisions that differ from those that this node has announced. */
  async #announce(revisions: Record<string, number>): Promise<void> {
    for (const [name, revision] of Object.entries(revisions)) {
      if (this.#revisions[name] === revision) continue;
      await Promise.all([...(this.#changeListeners.get(name) ?? [])].map((listener) => listener()));
      this.#revisions[name] = revision;
    }
  }
}
