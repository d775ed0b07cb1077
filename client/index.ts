/** The package entry `runwire/client`: a tRPC client typed by the server's router. It needs no UI framework. */

export { errorTable } from '../shared/error-table.ts';
export { type ErrorCode, type EvidenceChange, type EvidenceState, RunwireError } from '../shared/errors.ts';
export type { AppRouter, RouterOf } from '../shared/router.ts';
export {
  type Connection,
  type ConnectionOptions,
  createConnection,
} from './connection/connection.ts';
export { fetchRun } from './connection/fetch-run.ts';
export type {
  ConnectionState,
  ConnectionStatus,
  ReconnectOptions,
} from './connection/reconnect-policy.ts';
export { createRunwireClient, type Runwire, type RunwireClient } from './connection/runwire.ts';
export type { TokenSource } from './connection/token-cache.ts';
export type { WebSocketClass } from './connection/watched-socket.ts';
export { runwireErrorOf } from './errors.ts';
export { prefetchRun, prefetchRuns } from './feeds/prefetch.ts';
