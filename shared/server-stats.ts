/** Statistics of a running server. Sizes are in bytes, rates per second. */

export type ClientStats = {
  id: number;
  /** User id; undefined until the client has authenticated. */
  sub?: string;
  connectedAt: string;
  subscriptions: number;
  /** Number of events between the client's slowest subscription and the end of the log. */
  lag: number;
  /** Bytes in the send buffer. */
  unsentBytes: number;
  /** Bytes written to the network since the client connected. */
  sentBytes: number;
};

/** The result of `getStats()` and `server.stats`. */
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
  /** `server.stats` returns only the clients with tokens for no other projects than the caller's own. */
  clients: ClientStats[];
};
