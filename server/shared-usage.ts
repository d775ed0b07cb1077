import type { Nodes } from './event-log/contract/nodes.ts';

/**
 * What users take of their limits on the other servers of a log. Each server reports to the others every 250 ms: the events
 * that users have published since, and their open connections and subscriptions. So a limit of a user holds over all servers,
 * without a round trip, and late by as much as the users take meanwhile. Without messages, each server applies it alone.
 */

const REPORT_MS = 250;
/** Every so many reports, all open connections are reported, and not only those that have changed. */
const WHOLE_EVERY = 4;
/** A report about connections that is not repeated is forgotten after this time. */
const KEPT_MS = 3_000;
/** Size of a message: NOTIFY has room for 8,000 bytes. */
const MAX_MESSAGE_CHARS = 5_000;
/** Messages of one report. The users beyond are reported later, or count on their server only. */
const MAX_MESSAGES = 8;
/** Users with events that are not reported yet. */
const MAX_USERS = 10_000;

export type OpenCounts = { connections: number; subscriptions: number };
type Message = {
  took?: [user: string, events: number][];
  open?: [user: string, connections: number, subscriptions: number][];
  /** The server stops: it has no connections any more. */
  isEnd?: true;
};
type Report = OpenCounts & { atMs: number };

export class SharedUsage {
  readonly #nodes: Pick<Nodes, 'isShared' | 'send' | 'receive'>;
  /** The open connections of this server, by user. */
  readonly #open: () => Iterable<readonly [user: string, counts: OpenCounts]>;
  readonly #onTook: (user: string, events: number) => void;
  readonly #took = new Map<string, number>();
  /** Counts of the other servers: by user, then by server. */
  readonly #elsewhere = new Map<string, Map<string, Report>>();
  /** What this server has reported last. */
  #reported = new Map<string, OpenCounts>();
  readonly #stop: () => void;
  /** Undefined where no other server can share the log: nothing is reported. */
  readonly #timer: NodeJS.Timeout | undefined;
  #reports = 0;

  /** `onTook`: called with the events that a user has published on another server. */
  constructor(parts: {
    nodes: Pick<Nodes, 'isShared' | 'send' | 'receive'>;
    open: () => Iterable<readonly [user: string, counts: OpenCounts]>;
    onTook: (user: string, events: number) => void;
  }) {
    this.#nodes = parts.nodes;
    this.#open = parts.open;
    this.#onTook = parts.onTook;
    this.#stop = parts.nodes.receive('usage', (message, node) => this.#received(message as Message, node));
    if (parts.nodes.isShared) this.#timer = setInterval(() => this.#report(), REPORT_MS).unref();
  }

  /** Counts events that a user publishes on this server. */
  took(user: string, events: number): void {
    if (!this.#timer) return;
    if (this.#took.size < MAX_USERS || this.#took.has(user)) this.#took.set(user, (this.#took.get(user) ?? 0) + events);
  }

  /** Returns what a user has open on the other servers. */
  elsewhere(user: string): OpenCounts {
    const sum = { connections: 0, subscriptions: 0 };
    const oldestMs = performance.now() - KEPT_MS;
    for (const { atMs, connections, subscriptions } of this.#elsewhere.get(user)?.values() ?? []) {
      if (atMs < oldestMs) continue;
      sum.connections += connections;
      sum.subscriptions += subscriptions;
    }
    return sum;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#stop();
    this.#nodes.send('usage', { isEnd: true } satisfies Message);
  }

  #report(): void {
    this.#forgetOld();
    const isWhole = this.#reports++ % WHOLE_EVERY === 0;
    const open = this.#changedOpen(isWhole).map(([user, { connections, subscriptions }]) => {
      return { open: [user, connections, subscriptions] } as const;
    });
    const took = [...this.#took].map((entry) => ({ took: entry }));
    this.#took.clear();
    let messages = 0;
    let message: Required<Pick<Message, 'took' | 'open'>> = { took: [], open: [] };
    let chars = 0;
    const send = () => {
      if (chars > 0 && messages++ < MAX_MESSAGES) this.#nodes.send('usage', message);
      message = { took: [], open: [] };
      chars = 0;
    };
    for (const entry of [...took, ...open]) {
      if ('took' in entry) message.took.push(entry.took);
      else message.open.push([...entry.open]);
      chars += JSON.stringify(entry).length;
      if (chars >= MAX_MESSAGE_CHARS) send();
    }
    send();
  }

  #changedOpen(isWhole: boolean): (readonly [string, OpenCounts])[] {
    const present = new Map<string, OpenCounts>();
    const changed: (readonly [string, OpenCounts])[] = [];
    for (const [user, counts] of this.#open()) {
      present.set(user, counts);
      const before = this.#reported.get(user);
      const isSame = before?.connections === counts.connections && before.subscriptions === counts.subscriptions;
      if (isWhole || !isSame) changed.push([user, counts]);
    }
    for (const user of this.#reported.keys()) {
      if (!present.has(user)) changed.push([user, { connections: 0, subscriptions: 0 }]);
    }
    this.#reported = present;
    return changed.sort(([, a], [, b]) => b.connections - a.connections);
  }

  #received({ took = [], open = [], isEnd }: Message, node: string): void {
    for (const [user, events] of took) this.#onTook(user, events);
    const atMs = performance.now();
    for (const [user, connections, subscriptions] of open) {
      const byNode = this.#elsewhere.get(user) ?? new Map<string, Report>();
      byNode.set(node, { connections, subscriptions, atMs });
      this.#elsewhere.set(user, byNode);
    }
    if (isEnd) for (const byNode of this.#elsewhere.values()) byNode.delete(node);
  }

  #forgetOld(): void {
    const oldestMs = performance.now() - KEPT_MS;
    for (const [user, byNode] of this.#elsewhere) {
      for (const [node, { atMs, connections }] of byNode) if (atMs < oldestMs || connections === 0) byNode.delete(node);
      if (byNode.size === 0) this.#elsewhere.delete(user);
    }
  }
}
