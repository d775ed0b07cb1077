import type { TrackedEnvelope } from '@trpc/server';
import type { Registry } from '../../shared/registry.ts';
import type { RouterOf } from '../../shared/router.ts';
import { type AccountParts, authProcedures } from './account.ts';
import { type ApprovalParts, approvalProcedures } from './approvals.ts';
import { type AuditParts, auditProcedures } from './audit.ts';
import type { Context } from './context.ts';
import { type EventParts, eventProcedures } from './events.ts';
import { type ProjectParts, projectProcedures } from './projects.ts';
import { runStateProcedures } from './run-states.ts';
import { type RunParts, runProcedures } from './runs.ts';
import { type ServerParts, serverProcedures } from './server.ts';
import { type SubscriptionParts, subscriptionProcedures } from './subscriptions.ts';
import { type ApiOptions, createApi } from './trpc.ts';
import { type WebhookParts, webhookProcedures } from './webhooks.ts';

/** Joins the namespaces of procedures to one router. A new procedure belongs in the file of its namespace. */

export type RouterOptions<R extends Registry> = ApiOptions &
  SubscriptionParts<R> &
  RunParts<R> &
  ProjectParts &
  EventParts<R> &
  ApprovalParts &
  AuditParts &
  WebhookParts<R> &
  AccountParts &
  ServerParts;

export function createRouter<R extends Registry>(options: RouterOptions<R>) {
  const { t, procedure, paths } = createApi(options);
  const router = t.router({
    ...subscriptionProcedures<R>(procedure, options),
    run: { ...runStateProcedures<R>(procedure, options), ...runProcedures<R>(procedure, options) },
    project: projectProcedures(procedure, options),
    event: eventProcedures<R>(procedure, options),
    approval: approvalProcedures(procedure, options),
    audit: auditProcedures(procedure, options),
    webhook: webhookProcedures<R>(procedure, options),
    auth: authProcedures(procedure, options),
    server: serverProcedures(procedure, options),
  });
  for (const path of Object.keys(router._def.procedures)) paths.add(path);
  return router;
}

/** The router as tRPC infers it. `shared/router.ts` declares the same procedures for clients. */
export type BuiltRouter<R extends Registry> = ReturnType<typeof createRouter<R>>;

/**
 * The router with the types that callers in the same process need. By tRPC's own types, a subscription yields
 * `{id, data}`, as sent over the network. A caller in the same process gets a `TrackedEnvelope` instead.
 */
export type ServerRouter<R extends Registry> = Omit<RouterOf<R, Context>, 'createCaller'> & {
  createCaller(
    ...args: Parameters<RouterOf<R, Context>['createCaller']>
  ): InProcess<ReturnType<RouterOf<R, Context>['createCaller']>>;
};

type InProcess<T> = T extends (...args: infer Input) => Promise<AsyncIterable<{ id: string; data: infer Item }>>
  ? (...args: Input) => Promise<AsyncIterable<TrackedEnvelope<Item>>>
  : T extends (...args: never) => unknown
    ? T
    : { [Name in keyof T]: InProcess<T[Name]> };
