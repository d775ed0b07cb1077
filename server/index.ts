/** Entry point of `runwire/server`, the library for Node programs that run a server themselves. */
export { EventCategories, RunEventDraftSchema } from '../shared/events.ts';
export type { AppRouter, RouterOf } from '../shared/router.ts';
export type { ServerStats } from '../shared/server-stats.ts';
export type { Context } from './api/context.ts';
export type { ServerRouter } from './api/router.ts';
export type { Outcome, WaitOptions } from './approvals/approvals.ts';
export { type Action, can } from './auth/permissions.ts';
export type { Authenticate, Principal, Role } from './auth/principal.ts';
export { signToken } from './auth/tokens.ts';
export type { EventLog } from './event-log/contract/store.ts';
export type { PhiOptions } from './phi/guard.ts';
export type { PhiPattern } from './phi/patterns.ts';
export { type Broadcast, type BroadcastData, RunEventBroadcaster } from './publishing/broadcaster.ts';
export type { BusObserver, EventBus, Published, Publisher } from './publishing/bus.ts';
export { createRunServer, type RunServer, type RunServerOptions } from './run-server.ts';
