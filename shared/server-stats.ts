import type { RecordState } from './audit.ts';

/** Statistics of a running server. Sizes are in bytes, rates per second. */

export type ClientStats = {
  /** Unique among the servers of a log. */
  id: number;
  /** Id of the server to which the client is connected, if several share the log. */
  node?: string;
  /** User id; undefined until the client has authenticated. */
  sub?: string;
  /** Projects of the client's token; undefined until it has authenticated. `*` means every project. */
  projects?: string[];
  /** Network address. Behind a proxy that the server trusts, the address that the proxy states. */
  address: string;
  /** `slow`: the socket has not taken everything yet. `draining`: the client was asked to connect again. */
  state: 'keeping up' | 'slow' | 'draining';
  connectedAt: string;
  subscriptions: number;
  /** Number of events between the client's slowest subscription and the end of the log. */
  lag: number;
  /** Bytes in the send buffer. */
  unsentBytes: number;
  /** Bytes written to the network since the client connected. */
  sentBytes: number;
};

/** Figures of one of the servers that share a log. */
export type NodeStats = {
  /** Random, another one at each start. */
  id: string;
  uptimeMs: number;
  /** Last position of the log that the server has delivered. */
  head: number;
  connections: number;
  subscriptions: number;
  published: number;
  delivered: number;
  publishedPerSecond: number;
  deliveredPerSecond: number;
};

/** The result of `getStats()` and `server.stats`. Counts and rates are sums over all servers that share the log. */
export type ServerStats = {
  /** Identity of the log. Another log has another epoch. */
  epoch: string;
  /** Last position of the log. */
  head: number;
  /** First position that the log still holds; retention removes older events. */
  oldest: number;
  uptimeMs: number;
  connections: number;
  subscriptions: number;
  /** Events published and delivered since the server started. */
  published: number;
  delivered: number;
  /** Averages over the last 10 s. */
  publishedPerSecond: number;
  deliveredPerSecond: number;
  /** What the guard does with health information. `off`: nothing, it only masks secrets. */
  phiPolicy: 'reject' | 'redact' | 'off';
  /**
   * `server.stats` returns only the clients with tokens for no other projects than the caller's own. Of another server, those
   * with the most lag, about 100, as of at most 2 s ago.
   */
  clients: ClientStats[];
  /** The servers that share the log, this one first. Those of others are at most 2 s old. */
  nodes: NodeStats[];
};

/** The log and its record, as `server.record` returns them. */
export type RecordStats = {
  epoch: string;
  record: RecordState;
  /** The last signed checkpoint; absent before the first. */
  checkpoint?: { seq: number; at: string };
  /** Number of events with an erased text. */
  erasures: number;
  /** Events older than this are removed; null: none. */
  retentionDays: number | null;
  /** Runs without events that ended longer ago than this are removed; null: none. */
  retentionRunsDays: number | null;
  /** Nothing is removed, because the system clock may be wrong. */
  isRetentionPaused: boolean;
  /** Number of positions between the last event in the search index and the head of the log. */
  searchLag: number;
  /** Sizes of the database and of the WAL of its file; 0 for a log in memory. */
  databaseBytes: number;
  walBytes: number;
  version: string;
  uptimeMs: number;
  /** The servers that share the log, this one first. */
  nodes: NodeStats[];
};

/** One second of a running server. Numbers of things that happened are of that second. */
export type StatsSample = {
  /** The end of the second, Unix ms by the server's clock. */
  at: number;
  connections: number;
  subscriptions: number;
  published: number;
  delivered: number;
  /** Time from a publish call to the write to the sockets of waiting readers, in ms; null without a publish. */
  publishP50Ms: number | null;
  publishP99Ms: number | null;
  /** Time of a commit to the log, in ms; null without a commit. */
  commitP99Ms: number | null;
  gaps: number;
  replays: number;
  /** Requests answered with an error, by error code. */
  refused: { [code: string]: number };
  /** The longest time that the event loop was held, in ms. */
  loopDelayMs: number;
  memoryBytes: number;
  unsentBytes: number;
  /** Events between the slowest reader and the head of the log. */
  mostLag: number;
  /** Sizes of the database and of the WAL of its file; 0 for a log in memory. */
  databaseBytes: number;
  walBytes: number;
};
