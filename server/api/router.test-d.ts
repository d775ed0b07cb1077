import type {
  AnyTRPCProcedure,
  inferProcedureInput,
  inferProcedureOutput,
  inferRouterError,
  inferRouterInputs,
} from '@trpc/server';
import { expectTypeOf, test } from 'vitest';
import { z } from 'zod';
import type { ErrorCode } from '../../shared/errors.ts';
import { type RunEvent, type RunwireEvents, runwireEvents } from '../../shared/events.ts';
import type { StreamSignal } from '../../shared/protocol.ts';
import { defineEvent, type EventOf } from '../../shared/registry.ts';
import type { AppRouter } from '../../shared/router.ts';
import type { Decision, ListedApproval, RunSummary, RunView } from '../../shared/run.ts';
import { everyone } from '../../tests/support/harness.ts';
import { createRunServer, type RunServer } from '../run-server.ts';
import type { BuiltRouter } from './router.ts';

declare const server: RunServer;
const caller = server.router.createCaller({ principal: everyone });
const run = { projectId: 'demo', runId: 'r1' };

test('[C7] the items of a subscription are inferred, and narrow by `type`', async () => {
  for await (const [cursor, item] of await caller.onRunEvent({ runId: 'r1' })) {
    expectTypeOf(cursor).toExtend<string>();
    expectTypeOf(item).toEqualTypeOf<RunEvent | StreamSignal>();
    if (item.type === 'stage.progress') expectTypeOf(item.progress).toEqualTypeOf<number | undefined>();
    if (item.type === 'stream.gap') {
      expectTypeOf(item.reason).toEqualTypeOf<'expired' | 'epoch_changed' | 'ahead' | 'access_changed'>();
    }
    // @ts-expect-error no event has this field
    item.colour;
    // @ts-expect-error there is no such type
    item.type === 'run.crated';
  }
  for await (const [, item] of await caller.onRunSummary()) {
    expectTypeOf(item).toEqualTypeOf<RunSummary | StreamSignal>();
  }
  expectTypeOf((await caller.run.get({ runId: 'r1' })).run).toEqualTypeOf<RunView>();
});

test('[C7] a draft of a wrong type, without a field, or with an unknown key does not compile', () => {
  caller.event.publish({ events: [{ type: 'run.created', ...run, name: 'One' }] });
  // @ts-expect-error no such event type
  caller.event.publish({ events: [{ type: 'run.crated', ...run, name: 'One' }] });
  // @ts-expect-error name is missing
  caller.event.publish({ events: [{ type: 'run.created', ...run }] });
  // @ts-expect-error the project is missing
  caller.event.publish({ events: [{ type: 'run.started', runId: 'r1' }] });
  // @ts-expect-error an unknown key
  caller.event.publish({ events: [{ type: 'run.created', ...run, name: 'One', colour: 'red' }] });
  // @ts-expect-error progress is a number
  caller.event.publish({ events: [{ type: 'stage.progress', ...run, stageId: 's1', progress: '50' }] });
  // @ts-expect-error seq is set by the server
  caller.event.publish({ events: [{ type: 'run.started', ...run, seq: 1 }] });
});

test('[C7] an input with an unknown key, or without a field, does not compile', () => {
  // @ts-expect-error an unknown key
  caller.onRunEvent({ runId: 'r1', colour: 'red' });
  // @ts-expect-error runId is missing
  caller.onRunEvent({});
  // @ts-expect-error neither now nor start
  caller.onEvent({ from: 'yesterday' });
  // @ts-expect-error no such event type
  caller.onEvent({ types: ['run.crated'] });
  // @ts-expect-error no such category
  caller.onEvent({ categories: ['runs'] });
  // @ts-expect-error runId is text
  caller.run.get({ runId: 1 });
  // @ts-expect-error no such procedure
  caller.run.remove({ runId: 'r1' });
});

test('[C7] a method of the broadcaster takes the fields of its event type, and no others', () => {
  server.broadcaster.broadcastStageProgress({ ...run, stageId: 's1', progress: 50 });
  // @ts-expect-error the stage is missing
  server.broadcaster.broadcastStageProgress({ ...run, progress: 50 });
  // @ts-expect-error name is of run.created
  server.broadcaster.broadcastRunStarted({ ...run, name: 'One' });
  // @ts-expect-error the type is the method's
  server.broadcaster.broadcastRunStarted({ ...run, type: 'run.started' });
});

test('[G9] `wait` resolves with a decided status, and its input is checked', async () => {
  const outcome = await server.approvals.wait({ runId: 'r1', approvalId: 'a1', signal: AbortSignal.timeout(1) });
  expectTypeOf(outcome.status).toEqualTypeOf<'granted' | 'denied' | 'expired'>();
  expectTypeOf(outcome.decisions).toEqualTypeOf<(Decision & { actor: string })[]>();
  expectTypeOf(outcome.authority).toEqualTypeOf<'runwire' | 'producer'>();
  // @ts-expect-error the approval is missing
  server.approvals.wait({ runId: 'r1' });
  // @ts-expect-error decisions are made through the router
  server.approvals.grant;
});

test('[C7] the procedures of approvals are inferred', async () => {
  const decision = await caller.approval.grant({ runId: 'r1', approvalId: 'a1' });
  expectTypeOf(decision.status).toEqualTypeOf<'pending' | 'granted' | 'denied' | 'expired'>();
  const { approvals, nextCursor } = await caller.approval.list({ status: ['pending'] });
  expectTypeOf(approvals).toEqualTypeOf<ListedApproval[]>();
  expectTypeOf(nextCursor).toEqualTypeOf<string | undefined>();
  // @ts-expect-error a deny has a reason
  caller.approval.deny({ runId: 'r1', approvalId: 'a1' });
  // @ts-expect-error no such status
  caller.approval.list({ status: 'open' });
  // @ts-expect-error decidedBy comes from the credentials
  caller.approval.grant({ runId: 'r1', approvalId: 'a1', decidedBy: 'ann' });
});

test('[E6] subscriptions, publishing, filters and observers accept a type added to the registry', async () => {
  const events = {
    ...runwireEvents,
    'metric.sampled': defineEvent({
      type: 'metric.sampled',
      category: 'metric',
      topic: 'metrics',
      fields: { metric: z.string(), value: z.number() },
    }),
  };
  const wider = await createRunServer({ events });
  const its = wider.router.createCaller({ principal: everyone });
  const stream = await its.onRunEvent({
    runId: 'r1',
    types: ['metric.sampled', 'run.created'],
    categories: ['metric'],
  });
  for await (const [, item] of stream) {
    expectTypeOf(item).toEqualTypeOf<EventOf<typeof events> | StreamSignal>();
    if (item.type === 'metric.sampled') expectTypeOf(item.value).toEqualTypeOf<number>();
  }
  its.event.publish({ events: [{ type: 'metric.sampled', ...run, metric: 'loss', value: 0.1 }] });
  // @ts-expect-error value is missing
  its.event.publish({ events: [{ type: 'metric.sampled', ...run, metric: 'loss' }] });
  wider.bus.subscribe({
    next: (event) => {
      if (event.type === 'metric.sampled') expectTypeOf(event.metric).toEqualTypeOf<string>();
    },
  });
  // @ts-expect-error the key is not the type
  createRunServer({ events: { ...runwireEvents, metric: events['metric.sampled'] } });
  // @ts-expect-error the default registry has no such type
  caller.onEvent({ types: ['metric.sampled'] });
});

/** The kind of each procedure, and what tRPC's clients infer of it. */
type Face<Record> = {
  [Name in keyof Record]: Record[Name] extends AnyTRPCProcedure
    ? [Record[Name]['_def']['type'], inferProcedureInput<Record[Name]>, inferProcedureOutput<Record[Name]>]
    : Face<Record[Name]>;
};

test('[C7] the procedures that the client is typed by are exactly those of the server', () => {
  type Server = BuiltRouter<RunwireEvents>;
  expectTypeOf<Face<AppRouter['_def']['record']>>().toEqualTypeOf<Face<Server['_def']['record']>>();
  expectTypeOf<inferRouterError<AppRouter>>().toEqualTypeOf<inferRouterError<Server>>();
  expectTypeOf<inferRouterError<AppRouter>['data']['runwireCode']>().toEqualTypeOf<ErrorCode>();
  expectTypeOf<inferRouterInputs<AppRouter>['run']['get']['runId']>().toEqualTypeOf<string>();
});
