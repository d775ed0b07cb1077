import { randomUUID } from 'node:crypto';
import type { Lease, NodeEntry, Nodes } from '../contract/nodes.ts';
import { nodeText, ownEntry } from '../node-text.ts';
import type { PostgresDatabase, Query } from './database.ts';
import { elapsedMs, type Instant, instant } from './elapsed.ts';
import { HOLD_MS, LEASE_MS, type Leases } from './leases.ts';
import type { Messages } from './messages.ts';

/**
 * The nodes that share the log: a row for each, with a lease that it renews every second. A node without a lease serves
 * nothing, so the others need not wait for it.
 */

const RENEWAL_MS = 1_000;

/** The row of a new node has applied all erasures: nothing is in its memory yet. */
const JOIN = `INSERT INTO nodes (node_id, generation, lease_until, erasures, state)
  SELECT $1, 1, clock_timestamp() + interval '${LEASE_MS} ms', h.erasures, '{}' FROM head h`;
/** $2: generation of a row that is missing: another node has removed it, and a commit of before MUST NOT match it. */
const RENEW = `INSERT INTO nodes AS n (node_id, generation, lease_until, erasures, state)
  VALUES ($1, $2, clock_timestamp() + interval '${LEASE_MS} ms', $3, $4)
  ON CONFLICT (node_id) DO UPDATE SET lease_until = excluded.lease_until, erasures = excluded.erasures, state = excluded.state
  RETURNING generation`;
const RAISE = `INSERT INTO nodes AS n (node_id, generation, lease_until, erasures, state)
  VALUES ($1, $2, clock_timestamp(), 0, '{}')
  ON CONFLICT (node_id) DO UPDATE SET generation = greatest(n.generation + 1, excluded.generation)
  RETURNING generation`;
const REMOVE_GONE = `DELETE FROM nodes WHERE node_id IN (
  SELECT node_id FROM nodes WHERE lease_until < clock_timestamp() - interval '1 minute' FOR UPDATE SKIP LOCKED)`;
const LEAVE = 'DELETE FROM nodes WHERE node_id = $1';
const LIST = 'SELECT node_id AS id, state FROM nodes WHERE lease_until > clock_timestamp() ORDER BY node_id';

type NodesParts = {
  database: Pick<PostgresDatabase, 'read' | 'write'>;
  query: Query;
  onFailure: (error: unknown, message: string) => void;
};

export class PostgresNodes implements Nodes {
  readonly id = randomUUID();
  readonly isShared = true;
  readonly #parts: NodesParts;
  readonly #receivers = new Map<string, Set<(message: unknown, nodeId: string) => void>>();
  #leases: Leases | undefined;
  #messages: Messages | undefined;
  #generation = 1;
  #renewedAt: Instant | undefined;
  #erasures = 0;
  #state = '{}';
  #readState: () => object = () => ({});

  constructor(parts: NodesParts) {
    this.#parts = parts;
  }

  /** The generation of this node's row: a commit with another one is refused. */
  get generation(): number {
    return this.#generation;
  }
  /** Whether this node has a lease, by its own clock. */
  get hasLease(): boolean {
    return this.#renewedAt !== undefined && elapsedMs(this.#renewedAt) < HOLD_MS;
  }

  /** Adds the row of this node, before anything of the log is in its memory. */
  async join(parts: { leases: Leases; messages: Messages }): Promise<void> {
    this.#leases = parts.leases;
    this.#messages = parts.messages;
    const startedAt = instant();
    await this.#parts.query({ text: JOIN, values: [this.id] });
    this.#renewedAt = startedAt;
  }

  /** Whether the row of this node should be renewed. */
  isDue(erasures: number): boolean {
    return this.#erasures !== erasures || this.#renewedAt === undefined || elapsedMs(this.#renewedAt) >= RENEWAL_MS;
  }

  /** Renews the lease, and confirms the erasures that this node has applied to its memory. */
  async renew(erasures: number): Promise<void> {
    this.#refreshState();
    const startedAt = instant();
    const [row] = await this.#parts.query<{ generation: number }>({
      name: 'renew-node',
      text: RENEW,
      values: [this.id, this.#generation + 1, erasures, this.#state],
    });
    this.#generation = Math.max(this.#generation, row?.generation ?? 0);
    this.#renewedAt = startedAt;
    this.#erasures = erasures;
  }

  /**
   * Raises the generation: a commit of this node in an earlier one that has not ended by now is refused. Returns the new
   * generation.
   */
  async raise(): Promise<number> {
    const rows = await this.#parts.database.write((query) =>
      query<{ generation: number }>({ text: RAISE, values: [this.id, this.#generation + 1] }),
    );
    this.#generation = Math.max(this.#generation, rows[0]?.generation ?? 0);
    return this.#generation;
  }

  async removeGone(): Promise<void> {
    await this.#parts.query({ text: REMOVE_GONE });
  }

  lease(name: string, onChange: (isHeld: boolean) => void): Lease {
    return (this.#leases as Leases).lease(name, onChange);
  }

  publishState(read: () => object): void {
    this.#readState = read;
  }

  async list(): Promise<NodeEntry[]> {
    const rows = await this.#parts.database.read<{ id: string; state: string }>({ name: 'list-nodes', text: LIST });
    const others = rows.filter(({ id }) => id !== this.id);
    return [
      ownEntry(this.id, this.#readState),
      ...others.map(({ id, state }) => ({ id, isSelf: false, state: JSON.parse(state) as object })),
    ];
  }

  send(topic: string, message: unknown): void {
    nodeText(message);
    this.#messages?.topic(topic, message);
  }

  receive(topic: string, listener: (message: unknown, nodeId: string) => void): () => void {
    const listeners = this.#receivers.get(topic) ?? new Set();
    this.#receivers.set(topic, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  /** Calls the listeners of a topic. */
  received(topic: string, message: unknown, nodeId: string): void {
    for (const listener of [...(this.#receivers.get(topic) ?? [])]) {
      try {
        listener(message, nodeId);
      } catch (error) {
        this.#parts.onFailure(error, 'a listener of messages between nodes failed');
      }
    }
  }

  async leave(): Promise<void> {
    await this.#leases?.close();
    await this.#parts.query({ text: LEAVE, values: [this.id] });
  }

  #refreshState(): void {
    try {
      this.#state = nodeText(this.#readState());
    } catch (error) {
      this.#parts.onFailure(error, 'the state of the node cannot be published');
    }
  }
}
