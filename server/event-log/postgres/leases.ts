import type { Lease } from '../contract/nodes.ts';
import type { Query } from './database.ts';
import { elapsedMs, type Instant, instant } from './elapsed.ts';

/**
 * Tasks that one node does at a time. The row of a lease names its holder and the end of the lease by the database's clock;
 * a single statement takes it or renews it, so two nodes never both succeed. The holder counts the time from before it sent
 * the statement, and stops earlier than the row says.
 */

export const LEASE_MS = 10_000;
/** The holder stops this much before its lease ends: a turn of the event loop may end after it began as the holder. */
const MARGIN_MS = 2_000;
export const HOLD_MS = LEASE_MS - MARGIN_MS;

const TAKE = `
  INSERT INTO leases AS l (name, node_id, lease_until)
  SELECT name, $1, clock_timestamp() + interval '${LEASE_MS} ms' FROM unnest($2::text[]) AS name ORDER BY name
  ON CONFLICT (name) DO UPDATE SET node_id = excluded.node_id, lease_until = excluded.lease_until
  WHERE l.node_id = excluded.node_id OR l.lease_until <= clock_timestamp()
  RETURNING name`;
const GIVE_UP = 'DELETE FROM leases WHERE node_id = $1 AND name = ANY($2::text[])';

type Task = {
  onChange: (isHeld: boolean) => void;
  /** When the statement was sent that took or renewed the lease. */
  heldAt: Instant | undefined;
  /** What `onChange` was last called with. */
  wasHeld: boolean;
  timer: NodeJS.Timeout | undefined;
};

type LeasesParts = {
  query: Query;
  node: string;
  /** Makes the next pulse of this node come at once. */
  look: () => void;
  /** Makes the next pulse of every node come at once. */
  changed: () => void;
  onFailure: (error: unknown, message: string) => void;
};

export class Leases {
  readonly #parts: LeasesParts;
  readonly #tasks = new Map<string, Task>();

  constructor(parts: LeasesParts) {
    this.#parts = parts;
  }

  lease(name: string, onChange: (isHeld: boolean) => void): Lease {
    if (this.#tasks.has(name)) throw new Error(`this node has asked for the lease ${name} already`);
    const task: Task = { onChange, heldAt: undefined, wasHeld: false, timer: undefined };
    this.#tasks.set(name, task);
    this.#parts.look();
    return {
      get isHeld() {
        return isHeld(task);
      },
      release: () => this.#release(name, task),
    };
  }

  /** Whether a task of this node has a lease that nobody holds. `held`: names of the leases that a node holds. */
  canTake(held: readonly string[]): boolean {
    return [...this.#tasks.keys()].some((name) => !held.includes(name));
  }

  /** Renews the leases of this node, and takes those that are free. */
  async renew(): Promise<void> {
    if (this.#tasks.size === 0) return;
    const startedAt = instant();
    const names = [...this.#tasks.keys()];
    const rows = await this.#parts.query<{ name: string }>({
      name: 'take-leases',
      text: TAKE,
      values: [this.#parts.node, names],
    });
    const taken = new Set(rows.map(({ name }) => name));
    for (const name of names) {
      const task = this.#tasks.get(name);
      if (!task) continue;
      task.heldAt = taken.has(name) ? startedAt : undefined;
      this.#update(task);
    }
  }

  /** Gives all leases up. */
  async close(): Promise<void> {
    const names = [...this.#tasks.keys()];
    for (const task of this.#tasks.values()) end(task);
    this.#tasks.clear();
    await this.#giveUp(names);
  }

  async #release(name: string, task: Task): Promise<void> {
    if (this.#tasks.get(name) !== task) return;
    end(task);
    this.#tasks.delete(name);
    await this.#giveUp([name]);
  }

  async #giveUp(names: readonly string[]): Promise<void> {
    if (names.length === 0) return;
    try {
      // A renewal in flight uses the same connection, so it is over when this statement begins.
      await this.#parts.query({ text: GIVE_UP, values: [this.#parts.node, names] });
      this.#parts.changed();
    } catch (error) {
      this.#parts.onFailure(error, 'a lease cannot be given up: another node gets it when its time is over');
    }
  }

  /** Calls `onChange` if the lease was got or lost, and again when its time is over. */
  #update(task: Task): void {
    clearTimeout(task.timer);
    const held = isHeld(task);
    if (held && task.heldAt) {
      const endsInMs = Math.max(0, HOLD_MS - elapsedMs(task.heldAt));
      task.timer = setTimeout(() => this.#update(task), endsInMs + 1).unref();
    }
    if (held === task.wasHeld) return;
    task.wasHeld = held;
    try {
      task.onChange(held);
    } catch (error) {
      this.#parts.onFailure(error, 'a listener of a lease failed');
    }
  }
}

const isHeld = ({ heldAt }: Task): boolean => heldAt !== undefined && elapsedMs(heldAt) < HOLD_MS;

function end(task: Task): void {
  clearTimeout(task.timer);
  task.heldAt = undefined;
}
