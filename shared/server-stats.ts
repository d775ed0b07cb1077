/** Statistics of a running server. Sizes in bytes, rates per second. */

export type ClientStats = {
  id: number;
  /** User id; undefined until the client has authenticated. */
  sub?: string;
  connectedAt: string;
  subscriptions: number;
  /** Events between its slowest subscription and the head. */
  lag: number;
  /** Bytes in the send buffer, and bytes written to the network in total. */
  unsentBytes: number;
  sentBytes: number;
};

/** The result of `getStats()` and `server.stats`. */
export type ServerStats = {
  epoch: string;
  head: number;
  oldest: number;
  uptimeMs: number;
  connections: number;
  subscriptions: number;
  /** Totals since the start; rates over the last 10 s. */
  published: number;
  delivered: number;
  publishedPerSecond: number;
  deliveredPerSecond: number;
  /** `server.stats` lists only clients without a project that the caller does not have. */
  clients: ClientStats[];
};
