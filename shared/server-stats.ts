export type ClientStats = {
  id: number;
  /** Who it is; absent until it has said so. */
  sub?: string;
  connectedAt: string;
  subscriptions: number;
  /** Events between the slowest of its subscriptions and the head. */
  lag: number;
  /** Bytes sent and not yet taken, and bytes taken in all. */
  unsentBytes: number;
  sentBytes: number;
};

/** What `getStats()` and `server.stats` answer. */
export type ServerStats = {
  epoch: string;
  head: number;
  oldest: number;
  uptimeMs: number;
  connections: number;
  subscriptions: number;
  /** Since the start, and a second over the last ten. */
  published: number;
  delivered: number;
  publishedPerSecond: number;
  deliveredPerSecond: number;
  /** In `server.stats`, those alone all of whose projects the caller has. */
  clients: ClientStats[];
};
