/** `runwire/server`: what a Node server that runs pipelines puts in. */
export { EventCategories, RunEventDraftSchema } from '../shared/events.ts';
export type { AppRouter, Context, RouterOf, ServerRouter } from './api/router.ts';
export type { Outcome, WaitOptions } from './approvals/approvals.ts';
export { type Action, type Authenticate, can, type Principal, type Role, signToken } from './auth/tokens.ts';
export type { EventLog } from './event-log/contract/log.ts';
export { createPhiGuard, type PhiOptions, type PhiPattern } from './phi/guard.ts';
export { type Broadcast, type BroadcastData, RunEventBroadcaster } from './publishing/broadcaster.ts';
export { type BusObserver, EventBus, type Guard, type Published, type Publisher } from './publishing/bus.ts';
export { createRunServer, type RunServer, type RunServerOptions } from './run-server.ts';
export type { ServerStats } from './stats.ts';
