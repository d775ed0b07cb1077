import { initTRPC, type TrackedEnvelope } from '@trpc/server';
import type { Logger } from 'pino';
import { z } from 'zod';
import { type ErrorCode, errorTable, RunwireError } from '../../shared/errors.ts';
import type { RunwireEvents } from '../../shared/events.ts';
import * as field from '../../shared/fields.ts';
import {
  type CategoryOf,
  categoriesOf,
  type DraftOf,
  type EventOf,
  type Registry,
  type TypeOf,
} from '../../shared/registry.ts';
import type { Approval, RunHeader } from '../../shared/run.ts';
import type { ServerStats } from '../../shared/server-stats.ts';
import type { Approvals } from '../approvals/approvals.ts';
import { waitsFor } from '../approvals/rules.ts';
import { type AccessLogger, aboutOf } from '../audit/access-logger.ts';
import { type Audit, MAX_CHECKPOINTS } from '../audit/audit.ts';
import { type Credentials, tokenInvalidError } from '../auth/credentials.ts';
import { can, projectsFor, requirePermission } from '../auth/permissions.ts';
import { everyProject, type Principal } from '../auth/principal.ts';
import { resolveRun } from '../auth/resolve-run.ts';
import type { Delivery } from '../delivery/delivery.ts';
import type { EventQuery } from '../delivery/events.ts';
import type { Tracked } from '../delivery/iterator.ts';
import type { SocketlessTransports } from '../delivery/streams.ts';
import type { Transport } from '../delivery/transport.ts';
import { toRunwireError, toTRPCError } from '../errors.ts';
import type { Scope } from '../event-log/contract/log.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import { encodeCursor } from '../event-log/cursor.ts';
import { positionOfRunSeq } from '../event-log/run-position.ts';
import type { PublishGateway } from '../publishing/gateway.ts';
import type { Context } from './context.ts';
import { cursorOfRun, nextCursor, positionOf, runKeyOf } from './pagination.ts';

/** The procedures: thin. What they promise is the contract's sections 2 and 3. */

export type RouterOptions<R extends Registry> = {
  registry: R;
  log: EventLog;
  publishing: PublishGateway<R>;
  delivery: Delivery;
  approvals: Approvals;
  audit: Audit;
  access: AccessLogger;
  credentials: Credentials;
  streams: SocketlessTransports;
  stats: (seenBy: Principal) => ServerStats;
  /** Told the code of each error that a procedure answers with. */
  onRejected: (code: ErrorCode) => void;
  logger: Logger;
};

/** What has been done is in the log already, or is about nobody else. What is refused is recorded all the same. */
const UNRECORDED = new Set(['event.publish', 'auth.me', 'auth.refresh']);
const MAX_LIMIT = 500;
const limit = z.int().positive().max(MAX_LIMIT).default(50);
const keptCheckpoint = z.strictObject({ seq: z.int().nonnegative(), hash: z.string().regex(/^[0-9a-f]{64}$/) });
/** A cursor of whatever length: one that is too long is none of ours, and says so as any other does. */
const opaque = z.string();
/** `direction` is set by tRPC's `useInfiniteQuery`; pages go one way. */
const paging = { limit, cursor: opaque.nullish(), direction: z.literal('forward').optional() };

export function createRouter<R extends Registry>(options: RouterOptions<R>) {
  const {
    registry,
    log,
    publishing,
    delivery,
    approvals,
    audit,
    access,
    credentials,
    streams,
    stats,
    onRejected,
    logger,
  } = options;
  type Event = EventOf<R>;

  const paths = new Set<string>();
  const t = initTRPC.context<Context>().create({
    isDev: false,
    isServer: true,
    // Neither messages of parsers, which quote their input, nor stacks reach the wire.
    errorFormatter: ({ shape, error }) => {
      const known = toRunwireError(error);
      return {
        code: shape.code,
        message: known.message,
        data: {
          code: shape.data.code,
          httpStatus: errorTable[known.code].http,
          runwireCode: known.code,
          // A path that is no procedure's is the client's own text.
          ...(shape.data.path !== undefined && paths.has(shape.data.path) ? { path: shape.data.path } : {}),
          ...(known.path === undefined ? {} : { field: known.path }),
          ...(known.issues.length > 0 ? { issues: known.issues } : {}),
          ...(known.outcome === undefined ? {} : { outcome: known.outcome }),
        },
      };
    },
    sse: { ping: { enabled: true, intervalMs: 15_000 }, client: { reconnectAfterInactivityMs: 45_000 } },
  });

  const record = async (
    { principal, connection, via }: Context,
    action: string,
    getRawInput: () => Promise<unknown>,
    outcome: 'ok' | ErrorCode,
  ): Promise<void> => {
    if (outcome === 'ok' && UNRECORDED.has(action)) return;
    const { projectId, runId, isResumed } = await getRawInput().then(aboutOf, () => aboutOf(undefined));
    const detail = isResumed ? 'resume' : undefined;
    access.record({ principal, action, via: connection ? 'ws' : (via ?? 'caller'), outcome, projectId, runId, detail });
  };

  // Gives errors of ours the tRPC code, and so the HTTP status, that the table says; and all calls go on record here.
  const procedure = t.procedure.use(async ({ next, path, ctx, getRawInput, signal }) => {
    // The rest of a message that went over the limit on the way is not worked off before the socket closes.
    if (ctx.connection?.request() === false) {
      throw toTRPCError(new RunwireError('RATE_LIMITED', 'too many messages'));
    }
    const { principal, connection, via } = ctx;
    const caller = { principal, ...(connection ? { connection } : {}), ...(via ? { via } : {}) };
    // On a socket that closes it says so: what is thrown here would end a subscription for good, and is not sent any more.
    ctx.connection?.closeIfTokenInvalid();
    const reason = credentials.invalidReasonOf(ctx.principal);
    if (reason) {
      onRejected('UNAUTHENTICATED');
      void record(caller, path, getRawInput, 'UNAUTHENTICATED');
      throw toTRPCError(tokenInvalidError(reason));
    }
    const result = await next();
    if (result.ok) {
      // Which project an erasure was in, its answer tells.
      void record(caller, path, path === 'audit.erase' ? async () => result.data : getRawInput, 'ok');
      return result;
    }
    // Who has gone away is told nothing; that it ended what was done for them is no failure of ours.
    const isGone = signal?.aborted && result.error.cause === signal.reason;
    const known = isGone
      ? new RunwireError('INVALID_INPUT', 'the client closed the request')
      : toRunwireError(result.error);
    onRejected(known.code);
    void record(caller, path, getRawInput, known.code);
    if (known.code === 'INTERNAL') logger.error({ procedure: path, err: known.cause }, 'a procedure failed');
    throw toTRPCError(known);
  });

  const types = Object.keys(registry) as [TypeOf<R>, ...TypeOf<R>[]];
  const categories = categoriesOf(registry);
  const categoryNames = Object.keys(categories) as [CategoryOf<R>, ...CategoryOf<R>[]];
  const startInput = { from: z.enum(['now', 'start']).default('now'), lastEventId: opaque.nullish() };
  const filterInput = {
    ...startInput,
    types: z.array(z.enum(types)).max(types.length).optional(),
    categories: z.array(z.enum(categoryNames)).max(categoryNames.length).optional(),
    conflate: z.boolean().default(false),
  };
  const period = { since: field.instant().optional(), until: field.instant().optional() };
  const approvalStatus = z.enum(['pending', 'granted', 'denied', 'expired']);
  const runInput = { runId: field.scopeId(), projectId: field.scopeId().optional() };

  type FilterInput = {
    from: 'now' | 'start';
    lastEventId?: string | null | undefined;
    types?: readonly TypeOf<R>[] | undefined;
    categories?: readonly CategoryOf<R>[] | undefined;
    conflate: boolean;
  };

  const transportOf = ({ principal, connection }: Context): Transport => connection ?? streams.transportOf(principal);

  // A plain function, with no I/O before the iterator is returned: a stop that comes meanwhile would be lost.
  const subscribe = (
    ctx: Context,
    scope: EventQuery['scope'],
    { from, lastEventId, conflate, ...filter }: FilterInput,
    signal: AbortSignal | undefined,
  ): AsyncIterable<Tracked<Event>> => {
    const wanted = typesOf<R>(filter, categories);
    const query = { scope, from, conflate, types: wanted, lastEventId: lastEventId ?? undefined };
    return delivery.events<Event>(transportOf(ctx), query, signal);
  };

  const router = t.router({
    onRunEvent: procedure
      .input(z.strictObject({ ...runInput, ...filterInput }))
      .subscription(({ ctx, input: { runId, projectId, ...rest }, signal }) =>
        subscribe(ctx, { kind: 'run', runId, projectId }, rest, signal),
      ),
    onProjectEvent: procedure
      .input(z.strictObject({ projectId: field.scopeId(), ...filterInput }))
      .subscription(({ ctx, input: { projectId, ...rest }, signal }) =>
        subscribe(ctx, { kind: 'project', projectId }, rest, signal),
      ),
    onUserEvent: procedure
      .input(z.strictObject(filterInput).prefault({}))
      .subscription(({ ctx, input, signal }) =>
        subscribe(ctx, { kind: 'user', userId: ctx.principal.sub }, input, signal),
      ),
    onEvent: procedure
      .input(z.strictObject(filterInput).prefault({}))
      .subscription(({ ctx, input, signal }) => subscribe(ctx, { kind: 'all' }, input, signal)),
    onRunSummary: procedure
      .input(z.strictObject({ projectId: field.scopeId().optional(), ...startInput }).prefault({}))
      .subscription(({ ctx, input: { projectId, from, lastEventId }, signal }): AsyncIterable<Tracked<RunHeader>> => {
        const query = { projectId, from, lastEventId: lastEventId ?? undefined };
        return delivery.summaries(transportOf(ctx), query, signal);
      }),

    run: t.router({
      get: procedure.input(z.strictObject(runInput)).query(async ({ ctx, input }) => {
        const { projectId, runId } = await resolveRun(log, ctx.principal, input);
        const found = await log.run(projectId, runId);
        if (!found) throw new RunwireError('RUN_NOT_FOUND', 'no such run');
        return { run: found.run, cursor: encodeCursor(log.epoch, found.position) };
      }),
      list: procedure
        .input(
          z
            .strictObject({
              projectId: field.scopeId().optional(),
              status: z
                .array(z.enum(['created', 'running', 'waiting', 'completed', 'failed']))
                .max(5)
                .optional(),
              labels: z.record(z.string().max(100), z.string().max(200)).optional(),
              text: z.string().max(200).optional(),
              ...period,
              needsMyDecision: z.boolean().optional(),
              ...paging,
            })
            .prefault({}),
        )
        .query(async ({ ctx: { principal }, signal, input: { cursor, direction: _, needsMyDecision, ...query } }) => {
          const { projectId } = query;
          // Even to pass over what is not the caller's takes its time, and would tell how much of it there is.
          if (projectId !== undefined && !can(principal, 'read', { projectId })) {
            return { runs: [], position: encodeCursor(log.epoch, log.head) };
          }
          const page = await log.runs({
            ...query,
            signal,
            canRead: (projectId) => can(principal, 'read', { projectId }),
            after: runKeyOf(cursor),
            hasPending: needsMyDecision ? (approval) => waitsFor(principal, approval) : undefined,
          });
          return {
            runs: page.runs,
            ...(page.next ? { nextCursor: cursorOfRun(page.next) } : {}),
            position: encodeCursor(log.epoch, page.position),
          };
        }),
      history: procedure
        .input(
          z.strictObject({
            ...runInput,
            types: filterInput.types,
            /** Where the first page begins; later ones go by their cursor. */
            fromRunSeq: z.int().positive().default(1),
            ...paging,
          }),
        )
        .query(async ({ ctx, signal, input }) => {
          const { cursor, direction: _, types: wanted, fromRunSeq, limit: most, ...run } = input;
          const scope: Scope = { kind: 'run', ...(await resolveRun(log, ctx.principal, run)) };
          let after =
            positionOf(cursor, log.epoch) ?? (fromRunSeq === 1 ? 0 : await positionOfRunSeq(log, scope, fromRunSeq));
          const events: Event[] = [];
          // A page of the log may end early; a page of history ends at its limit or at the head.
          while (events.length < most && after < log.head && !signal?.aborted) {
            const rest = { scope, after, limit: most - events.length };
            const page = await log.read(wanted ? { ...rest, types: new Set<string>(wanted) } : rest);
            for (const record of page.records) events.push(record.event as Event);
            after = page.scannedTo;
          }
          return { events, ...nextCursor(log.epoch, events.length < most ? undefined : after) };
        }),
    }),

    event: t.router({
      publish: procedure
        .input(
          z.strictObject({
            events: z.array(z.custom<DraftOf<R>>()).min(1),
            onPhi: z.enum(['reject', 'redact']).optional(),
          }),
        )
        .mutation(async ({ ctx: { principal }, input: { events, onPhi } }) => {
          const { accepted, duplicates, seq } = await publishing.publish(principal, events, onPhi);
          return { accepted, duplicates, seq };
        }),
      /**
       * Events by what is in them, newest first. `text`: words that must all be there, whatever their case and
       * diacritics; phrases between quotes; the last word may be the beginning of one. `since` and `until` are on
       * `recordedAt`. The index may lag by a second. A page may end short of its limit, even empty, where much was
       * looked through and little found: as long as there is a `nextCursor`, there may be more. What is not the
       * caller's to read, or does not exist, is an empty answer.
       */
      search: procedure
        .input(
          z
            .strictObject({
              text: z.string().max(2_000).optional(),
              projectId: field.scopeId().optional(),
              runId: field.scopeId().optional(),
              types: filterInput.types,
              actor: field.id().optional(),
              ...period,
              ...paging,
            })
            .prefault({}),
        )
        .query(async ({ ctx: { principal }, signal, input }) => {
          const { text, projectId, types: wanted, since, until, cursor, direction: _, ...query } = input;
          const readable = projectsFor(principal, 'read');
          const isAsked = (id: string) => projectId === undefined || id === projectId;
          const page = await log.search({
            ...query,
            ...(text?.trim() ? { text } : {}),
            projects: readable === 'all' ? (projectId === undefined ? 'all' : [projectId]) : readable.filter(isAsked),
            types: wanted && new Set<string>(wanted),
            sinceMs: msOf(since),
            untilMs: msOf(until),
            before: positionOf(cursor, log.epoch),
            signal,
          });
          const records = page.records.filter((record) => can(principal, 'read', { projectId: record.projectId }));
          return {
            events: records.map((record) => record.event as Event),
            ...nextCursor(log.epoch, page.next),
          };
        }),
    }),

    approval: t.router({
      list: procedure
        .input(
          z
            .strictObject({ status: z.union([approvalStatus, z.array(approvalStatus).max(4)]).optional(), ...paging })
            .prefault({}),
        )
        .query(async ({ ctx: { principal }, signal, input: { status, cursor, limit } }) => {
          const page = await approvals.list(principal, {
            status: typeof status === 'string' ? [status] : status,
            after: positionOf(cursor, log.epoch),
            limit,
            signal,
          });
          return {
            approvals: page.approvals.map(({ projectId, runId, approval }): ListedApproval => {
              return { projectId, runId, ...approval };
            }),
            ...nextCursor(log.epoch, page.next),
          };
        }),
      grant: procedure
        .input(z.strictObject({ ...runInput, approvalId: field.id(), comment: field.message().optional() }))
        .mutation(async ({ ctx: { principal }, input: { approvalId, comment, ...run } }) =>
          approvals.grant(principal, { ...(await resolveRun(log, principal, run)), approvalId }, comment),
        ),
      deny: procedure
        .input(z.strictObject({ ...runInput, approvalId: field.id(), reason: field.message() }))
        .mutation(async ({ ctx: { principal }, input: { approvalId, reason, ...run } }) =>
          approvals.deny(principal, { ...(await resolveRun(log, principal, run)), approvalId }, reason),
        ),
    }),

    audit: t.router({
      verify: procedure
        .input(z.strictObject({ checkpoints: z.array(keptCheckpoint).max(MAX_CHECKPOINTS).optional() }).prefault({}))
        .query(({ ctx: { principal }, signal, input: { checkpoints } }) =>
          audit.verify(principal, { checkpoints, signal }),
        ),
      checkpoint: procedure.query(({ ctx: { principal } }) => audit.checkpoint(principal)),
      erase: procedure
        .input(z.strictObject({ seq: z.int().positive(), reason: field.message() }))
        .mutation(({ ctx: { principal }, input }) => audit.erase(principal, input)),
      /**
       * Who did what, newest first: entries of the projects of the caller's token, and with `['*']` those about no
       * project, too.
       */
      access: procedure
        .input(
          z
            .strictObject({
              sub: field.id().optional(),
              action: z.string().max(100).optional(),
              projectId: field.scopeId().optional(),
              runId: field.scopeId().optional(),
              outcome: z.string().max(100).optional(),
              ...period,
              ...paging,
            })
            .prefault({}),
        )
        .query(async ({ ctx: { principal }, signal, input: { since, until, cursor, direction: _, ...query } }) => {
          requirePermission(principal, 'audit');
          const { entries, next } = await access.list({
            ...query,
            projects: projectsFor(principal, 'audit'),
            sinceMs: msOf(since),
            untilMs: msOf(until),
            before: positionOf(cursor, log.epoch),
            signal,
          });
          return { entries, ...nextCursor(log.epoch, next) };
        }),
    }),

    server: t.router({
      stats: procedure.query(({ ctx }) => {
        requirePermission(ctx.principal, 'stats');
        return stats(ctx.principal);
      }),
    }),

    auth: t.router({
      me: procedure.query(({ ctx: { principal } }) => ({
        sub: principal.sub,
        projects: [...principal.projects],
        roles: [...principal.roles],
        ...(principal.expiresAtMs === undefined ? {} : { expiresAt: new Date(principal.expiresAtMs).toISOString() }),
      })),
      refresh: procedure.input(z.strictObject({ token: z.string().max(8_192) })).mutation(async ({ ctx, input }) => {
        if (!ctx.connection) throw new RunwireError('INVALID_INPUT', 'there is no open socket to refresh');
        const fresh = await credentials.identify(input.token);
        if (fresh.sub !== ctx.principal.sub) throw new RunwireError('FORBIDDEN', 'the token is of another subject');
        ctx.connection.identify(fresh);
        return { expiresAt: fresh.expiresAtMs === undefined ? null : new Date(fresh.expiresAtMs).toISOString() };
      }),
      revoke: procedure
        .input(z.union([z.strictObject({ jti: field.id() }), z.strictObject({ sub: field.id() })]))
        .mutation(async ({ ctx, input }) => {
          requirePermission(ctx.principal, 'revoke', { projectId: everyProject });
          await credentials.revoke(input);
          return { revoked: true };
        }),
    }),
  });
  for (const path of Object.keys(router._def.procedures)) paths.add(path);
  return router;
}

/** An approval and the run that it belongs to. */
export type ListedApproval = Approval & { projectId: string; runId: string };

export type RouterOf<R extends Registry> = ReturnType<typeof createRouter<R>>;
export type AppRouter = RouterOf<RunwireEvents>;

/**
 * The router as server code sees it. tRPC gives a caller's subscriptions the type of what comes over the wire,
 * `{id, data}`; what a caller really gets is the envelope.
 */
export type ServerRouter<R extends Registry> = Omit<RouterOf<R>, 'createCaller'> & {
  createCaller(...args: Parameters<RouterOf<R>['createCaller']>): InProcess<ReturnType<RouterOf<R>['createCaller']>>;
};

type InProcess<T> = T extends (...args: infer Input) => Promise<AsyncIterable<{ id: string; data: infer Item }>>
  ? (...args: Input) => Promise<AsyncIterable<TrackedEnvelope<Item>>>
  : T extends (...args: never) => unknown
    ? T
    : { [Name in keyof T]: InProcess<T[Name]> };

function typesOf<R extends Registry>(
  filter: { types?: readonly TypeOf<R>[] | undefined; categories?: readonly CategoryOf<R>[] | undefined },
  byCategory: { [C in CategoryOf<R>]: readonly TypeOf<R>[] },
): ReadonlySet<string> | undefined {
  if (!filter.types && !filter.categories) return undefined;
  return new Set<string>([...(filter.types ?? []), ...(filter.categories ?? []).flatMap((name) => byCategory[name])]);
}

const msOf = (instant: string | undefined): number | undefined =>
  instant === undefined ? undefined : Date.parse(instant);
