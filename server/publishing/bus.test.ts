import fc from 'fast-check';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { z } from 'zod';
import { RunwireError } from '../../shared/errors.ts';
import { foldOf } from '../../shared/event-table.ts';
import type { RunEvent, RunEventDraft } from '../../shared/events.ts';
import { runwireEvents } from '../../shared/events.ts';
import * as field from '../../shared/fields.ts';
import { defineEvent } from '../../shared/registry.ts';
import { created, everyone, keptLog, openServer, progress } from '../../tests/support/harness.ts';
import { viewOf } from '../event-log/conformance/kit.ts';
import { openSqliteLog } from '../event-log/sqlite/log.ts';
import { defaultLimits } from '../limits.ts';
import type { Guard } from '../phi/policy.ts';
import { EventBus } from './bus.ts';
import { PublishGateway } from './gateway.ts';

const producer = { actor: 'ada' };
const canary = 'CANARY-7f3a';
const refusal = (promise: Promise<unknown>): Promise<RunwireError> =>
  promise.then(
    () => Promise.reject(new Error('was not refused')),
    (error: unknown) => error as RunwireError,
  );
const anything = (value: unknown) => value as RunEventDraft;

describe('publish', () => {
  test('[B8] a draft that is much too large is refused and charged by its size, and is not serialized', async () => {
    await using server = await openServer();
    const stringify = vi.spyOn(JSON, 'stringify');
    onTestFinished(() => stringify.mockRestore());
    const charges: number[] = [];
    for (const draft of [
      { ...created('r1'), name: 'x'.repeat(4_000_000) },
      { ...created('r1'), labels: [[['y'.repeat(4_000_000)]]] },
    ]) {
      const publishing = server.bus.publish([anything(draft)], { ...producer, charge: (units) => charges.push(units) });
      expect((await refusal(publishing)).issues[0]?.message).toBe('the draft is larger than 64 KiB');
    }
    const lengths = stringify.mock.results.map(({ value }) => String(value).length);
    expect(Math.max(0, ...lengths)).toBeLessThan(100_000);
    expect(charges.every((units) => units > 900)).toBe(true);
  });

  test('[B1] publish validates, guards, appends and then calls the observers, in this order', async () => {
    const steps: string[] = [];
    const guard: Guard = (draft) => {
      steps.push(`guard ${draft.type}`);
      return draft;
    };
    await using server = await openServer({ guard });
    server.log.subscribe((records) => steps.push(`append ${records[0]?.type}`));
    server.bus.subscribe({ next: (event) => steps.push(`tell ${event.type}`) });

    await refusal(server.bus.publish([anything({ ...created('r1'), type: 'run.crated' })], producer));
    expect(steps).toEqual([]);

    await server.bus.publish([created('r1')], producer);
    steps.push('resolved');
    expect(steps).toEqual(['guard run.created', 'tell run.created', 'append run.created', 'resolved']);
  });

  test('[B1] one invalid draft refuses the whole request with its path, and nothing is stored or observed', async () => {
    await using server = await openServer();
    const seen: RunEvent[] = [];
    server.bus.subscribe({ next: (event) => seen.push(event) });
    const error = await refusal(
      server.bus.publish([created('r1'), anything({ ...progress('r1', 10), progress: canary })], producer),
    );
    expect(error).toBeInstanceOf(RunwireError);
    expect(error.code).toBe('INVALID_EVENT');
    expect(error.issues).toEqual([{ index: 1, path: 'progress', message: 'expected number' }]);
    expect(JSON.stringify(error)).not.toContain(canary);
    expect(server.log.head).toBe(0);
    expect(seen).toEqual([]);
    expect(server.getStats().published).toBe(0);
  });

  test('[E4] [E8] a text with NUL, an integer beyond 2^53 - 1, or a key __proto__, in an own type is refused with its path, at any depth', async () => {
    const measured = defineEvent({
      type: 'measured',
      category: 'own',
      topic: 'own',
      fields: {
        value: z.number().optional(),
        more: z.unknown().optional(),
        tags: z.record(z.string(), z.string()).optional(),
        notes: z.array(z.looseObject({ text: z.string() })).optional(),
      },
    });
    const log = await openSqliteLog({ path: ':memory:', fold: foldOf({ measured }) as never });
    onTestFinished(() => log.close());
    const registry = { measured };
    const bus = new EventBus({ registry, log, health: { note: () => undefined }, phiPolicy: 'reject' });
    const publish = (fields: string) => {
      const draft = JSON.parse(`{"type":"measured","projectId":"p","runId":"r",${fields}}`);
      return bus.publish([draft], producer);
    };
    const wrong = {
      '"value":9007199254740993': 'value',
      '"value":-9007199254740993': 'value',
      '"value":1e300': 'value',
      '"more":{"a":["x\\u0000"]}': 'more.a.0',
      '"more":{"a\\ud800":1}': 'more.(key)',
      '"tags":{"a":"\\udc00"}': 'tags.a',
      '"more":{"a":[1,{"b":9007199254740992}]}': 'more.a.1.b',
      '"more":{"Jane Doe":9007199254740992}': 'more.(key)',
      '"tags":{"a":"b","__proto__":"x"}': 'tags.__proto__',
      '"notes":[{"text":"a","__proto__":{"b":"x"}}]': 'notes.0.__proto__',
    };
    for (const [fields, path] of Object.entries(wrong)) {
      const { code, issues } = await refusal(publish(fields));
      expect([code, issues[0]?.path]).toEqual(['INVALID_EVENT', path]);
    }
    expect(log.head).toBe(0);
    await publish('"value":9007199254740991,"more":[-9007199254740991,0.1,1.5e-300,null,"9007199254740993"]');
    await publish('"tags":{"constructor":"x","valueOf":"y"}');
    expect(log.head).toBe(2);
  });

  test('[L3] the log is asked to look up the ids of a batch, unless the bus made each of them', async () => {
    const log = await openSqliteLog({ path: ':memory:', fold: foldOf(runwireEvents) });
    onTestFinished(() => log.close());
    const append = vi.spyOn(log, 'append');
    const parts = { registry: runwireEvents, log, health: { note: () => undefined }, phiPolicy: 'reject' } as const;
    const bus = new EventBus(parts);
    const renaming = new EventBus({ ...parts, guard: (draft) => ({ ...draft, eventId: 'theirs' }) });
    const changing = new EventBus({ ...parts, guard: (draft) => Object.assign(draft, { eventId: 'theirs' }) });
    const theirs = progress('r1', 1, { eventId: crypto.randomUUID() });
    await bus.publish([created('r1'), progress('r1', 1)], producer);
    await bus.publish([progress('r1', 1), theirs], producer);
    await renaming.publish([progress('r1', 1)], producer);
    expect(await changing.publish([progress('r1', 1)], producer)).toMatchObject({ duplicates: 1 });
    expect(append.mock.calls.map(([batch]) => batch.hasNewIds)).toEqual([true, false, false, false]);
    expect(await bus.publish([theirs, progress('r1', 2)], producer)).toMatchObject({ accepted: 1, duplicates: 1 });
  });

  test('[S14] a draft is refused if the schema of a field allows no redacted text', async () => {
    const fields = { contact: z.email(), note: field.message().optional() };
    const own = defineEvent({ type: 'own', category: 'own', topic: 'own', fields });
    await using server = await openServer({ events: { ...runwireEvents, own } as never });
    const draft = { type: 'own', projectId: 'p', runId: 'r', contact: 'ann@example.org' } as never;
    for (const onPhi of ['reject', 'redact'] as const) {
      const { code, issues } = await refusal(server.bus.publish([draft], { ...producer, onPhi }));
      expect([code, issues[0]?.path]).toEqual(['PHI_REJECTED', 'contact']);
    }
    await using allowing = await openServer({
      events: { ...runwireEvents, own } as never,
      phi: { allow: ['own:contact'] },
    });
    await allowing.bus.publish([draft], producer);
    expect(allowing.log.head).toBe(1);
  });

  test('[B1] one draft that the guard refuses makes the whole request fail, with the path', async () => {
    const guard: Guard = (draft) => {
      if (draft.runId === 'r2') throw new RunwireError('PHI_REJECTED', 'holds an identifier', { path: 'name' });
      return draft;
    };
    await using server = await openServer({ guard });
    const error = await refusal(server.bus.publish([created('r1'), created('r2')], producer));
    expect(error.code).toBe('PHI_REJECTED');
    expect(error.issues).toEqual([{ index: 1, path: 'name', message: 'holds an identifier' }]);
    expect(server.log.head).toBe(0);
  });

  test('[B1] the log gets the draft that the guard returned, and the guard gets the policy of the request', async () => {
    const policies: string[] = [];
    const guard: Guard = (draft, policy) => {
      policies.push(policy);
      return { ...draft, ...('name' in draft ? { name: '[removed]' } : {}) };
    };
    await using server = await openServer({ guard, phiPolicy: 'redact' });
    await server.bus.publish([created('r1')], producer);
    await server.bus.publish([created('r2')], { ...producer, onPhi: 'reject' });
    expect(policies).toEqual(['redact', 'reject']);
    const { run } = await server.router.createCaller({ principal: everyone }).run.get({ runId: 'r1' });
    expect(run.name).toBe('[removed]');
  });

  test('[B7] a request with more than 10,000 planned stages, users and approvers is refused with the path', async () => {
    await using server = await openServer();
    const audience = Array.from({ length: 1_000 }, (_, index) => `u${index}`);
    const drafts = Array.from({ length: 10 }, (_, index) => progress('r1', index, { audience }));
    const error = await refusal(server.bus.publish([...drafts, progress('r1', 10, { audience: ['ann'] })], producer));
    expect([error.code, error.path, server.log.head]).toEqual(['TOO_LARGE', 'events.10.audience', 0]);
    expect((await server.bus.publish(drafts, producer)).accepted).toBe(10);
  });

  test('[B7] stages, users and size count as events against the limit of the publisher', async () => {
    await using server = await openServer();
    const gateway = new PublishGateway(server.bus as never, { ...defaultLimits, publishedPerSecond: 1 });
    const publish = (sub: string, ...drafts: RunEventDraft[]) =>
      gateway.publish({ ...everyone, sub }, drafts as never, undefined);
    const audience = Array.from({ length: 8 }, (_, index) => `u${index}`);
    const limited = { code: 'RATE_LIMITED' };
    const tooMany = Array.from({ length: 11 }, () => progress('r1', 1, { audience: Array(1_000).fill('ann') }));
    await expect(publish('ann', ...tooMany)).rejects.toMatchObject({ code: 'TOO_LARGE' });
    // Ten at once: nine, and then one more.
    await publish('ann', progress('r1', 1, { audience }));
    await expect(publish('ann', progress('r1', 2), progress('r1', 3))).rejects.toMatchObject(limited);
    await publish('ann', progress('r1', 2));
    await expect(publish('ann', progress('r1', 3))).rejects.toMatchObject(limited);
    // Two of about 24 KiB: two, and then at least ten more.
    const labels = Object.fromEntries(Array.from({ length: 60 }, (_, index) => [`k${index}`, 'é'.repeat(200)]));
    await publish('bob', created('r2', { labels }), created('r3', { labels }));
    await expect(publish('bob', progress('r2', 1))).rejects.toMatchObject(limited);
  });

  test('[B8] a large request leaves turns to others; those of its actor keep their order, and those of others pass it', async () => {
    await using server = await openServer();
    const large = Array.from({ length: 1_000 }, (_, index) =>
      progress('large', index % 100, { message: 'm '.repeat(900) }),
    );
    const order: string[] = [];
    let turns = 0;
    let isPublished = false;
    const publish = (actor: string, name: string, drafts: RunEventDraft[]) =>
      server.bus.publish(drafts, { actor }).then(() => order.push(name));
    const all = Promise.all([
      publish('ann', 'large', large),
      publish('ann', 'same actor', [progress('r1', 1)]),
      publish('ann', 'same actor, again', [progress('r1', 2)]),
      publish('bob', 'other actor', [progress('r1', 3)]),
    ]).finally(() => {
      isPublished = true;
    });
    while (!isPublished) {
      turns++;
      await new Promise((resolve) => setImmediate(resolve));
    }
    await all;
    expect(order).toEqual(['other actor', 'large', 'same actor', 'same actor, again']);
    expect(turns).toBeGreaterThan(10);
  });

  const plan = (count: number, name = (index: number) => `warehouse.marts.finance.revenue_v${index} (incremental)`) =>
    Array.from({ length: count }, (_, index) => ({
      stageId: `warehouse.marts.finance.line_${index}`,
      name: name(index),
    }));

  test('[B9] a plan of 10,000 named stages is stored in parts of less than 64 KiB, in turns, once, and is whole in the run', async () => {
    await using server = await openServer();
    const stages = plan(10_000);
    const draft = { ...created('r1'), name: 'Big', labels: { a: 'b' }, createdBy: 'eve', eventId: 'e1', stages };
    expect(JSON.stringify(draft).length).toBeGreaterThan(1_000_000);
    let turns = 0;
    let isPublished = false;
    const publishing = server.bus.publish([progress('r2', 1), draft, progress('r2', 2)], producer).finally(() => {
      isPublished = true;
    });
    while (!isPublished) {
      turns++;
      await new Promise((resolve) => setImmediate(resolve));
    }
    const { accepted, receipts, seq } = await publishing;
    expect(turns).toBeGreaterThan(10);
    expect(accepted).toBe(3);
    expect(receipts[1]).toMatchObject({ eventId: 'e1', seq: seq - 1, isDuplicate: false });
    for (let after = 0; after < seq; ) {
      const page = await server.log.read({ scope: { kind: 'all' }, after, limit: 1_000 });
      expect(Math.max(...page.records.map(({ json }) => json.length))).toBeLessThan(64 * 1024);
      after = page.scannedTo;
    }
    const view = await viewOf(server.log, 'demo', 'r1');
    expect(view?.run).toMatchObject({ name: 'Big', labels: { a: 'b' }, createdBy: 'eve', counts: { stages: 10_000 } });
    expect(view?.run.stages.map(({ stageId, name }) => ({ stageId, name }))).toEqual(stages);

    const again = await server.bus.publish([draft], producer);
    expect(again).toMatchObject({ accepted: 0, duplicates: 1, receipts: [{ eventId: 'e1', seq: seq - 1 }] });
    expect(server.log.head).toBe(seq);
  });

  test('[B9] an error in a plan that is too large for one event has its path in the whole plan, and nothing is stored', async () => {
    await using server = await openServer();
    const wrong = (index: number, stage: object) =>
      refusal(
        server.bus.publish(
          [progress('r1', 1), anything({ ...created('r1'), stages: Object.assign(plan(2_000), { [index]: stage }) })],
          producer,
        ),
      );
    const path = 'stages.1900.name';
    expect((await wrong(1_900, { stageId: 'x', name: '' })).issues).toMatchObject([{ index: 1, path }]);
    expect((await wrong(1_900, { stageId: 'x', name: 7 })).issues[0]).toMatchObject({ index: 1, path: '' });
    const secret = await openServer({ phi: {} } as never);
    onTestFinished(() => secret.close());
    const found = refusal(
      secret.bus.publish(
        [
          anything({
            ...created('r1'),
            stages: plan(2_000, (index) => (index === 1_900 ? 'SSN 123-45-6789' : 'a stage')),
          }),
        ],
        { ...producer, onPhi: 'reject' },
      ),
    );
    expect((await found).issues).toMatchObject([{ index: 0, path }]);
    expect(server.log.head).toBe(0);
    await server.bus.publish([anything({ ...created('r1'), stages: plan(9_000) })], producer);
    const full = anything({
      ...created('r1'),
      stages: plan(1_001).map(({ name }, index) => ({ stageId: `s${index}`, name })),
    });
    expect(await refusal(server.bus.publish([progress('r1', 1), full], producer))).toMatchObject({
      code: 'TOO_LARGE',
      path: 'events.1.stages',
    });
  });

  test('[B8] a large request that is refused does not hold up the next one of its actor', async () => {
    await using server = await openServer();
    const large = Array.from({ length: 900 }, (_, index) =>
      progress('large', index % 100, { message: 'm '.repeat(900) }),
    );
    const refused = refusal(
      server.bus.publish([...large, anything({ ...progress('r1', 1), progress: 'x' })], producer),
    );
    const next = server.bus.publish([progress('r1', 1)], producer);
    expect((await refused).issues).toMatchObject([{ index: 900, path: 'progress' }]);
    expect((await next).seq).toBe(1);
  });

  test('[B6] a guard with a defect refuses the draft, and its error message is not answered', async () => {
    const { logger, lines } = keptLog();
    const guard: Guard = () => {
      throw new TypeError(`cannot read ${canary}`);
    };
    await using server = await openServer({ guard, logger });
    const error = await refusal(server.bus.publish([created('r1')], producer));
    expect(error.code).toBe('PHI_REJECTED');
    expect(JSON.stringify(error)).not.toContain(canary);
    expect(lines.join()).toContain('the PHI guard failed');
    expect(lines.join()).not.toContain(canary);
    expect(server.log.head).toBe(0);
  });

  test('[B4] a draft of more than 64 KiB is refused, whatever its characters, and a slightly smaller one is accepted', async () => {
    await using server = await openServer();
    const withAudience = (count: number) =>
      anything({ ...created('r1'), audience: Array.from({ length: count }, (_, i) => `${i}`.padEnd(100, 'é')) });
    const tooLarge = await refusal(server.bus.publish([withAudience(340)], producer));
    expect(JSON.stringify(withAudience(340)).length).toBeLessThan(64 * 1024);
    expect(tooLarge.issues).toEqual([{ index: 0, path: '', message: 'the draft is larger than 64 KiB' }]);
    await server.bus.publish([withAudience(320)], producer);
    expect(server.log.head).toBe(1);
  });

  test('[B4] the size of a flat draft is that of its JSON, escapes included', async () => {
    await using server = await openServer();
    const messageOf = async (message: string) =>
      (await refusal(server.bus.publish([anything({ ...progress('r1', 10), message })], producer))).issues?.[0]
        ?.message;
    expect(await messageOf('x'.repeat(65_000))).toBe('must be at most 2000');
    expect(await messageOf('x'.repeat(65_536))).toBe('the draft is larger than 64 KiB');
    expect(await messageOf('\u0001'.repeat(11_000))).toBe('the draft is larger than 64 KiB');
    expect(await messageOf('～'.repeat(22_000))).toBe('the draft is larger than 64 KiB');
  });

  test('[B4] a request may have 1 to 1,000 drafts', async () => {
    await using server = await openServer();
    const drafts = (count: number) => Array.from({ length: count }, (_, i) => progress('r1', i % 100));
    expect((await refusal(server.bus.publish(drafts(1_001), producer))).code).toBe('TOO_LARGE');
    expect((await refusal(server.bus.publish([], producer))).code).toBe('INVALID_INPUT');
    expect(server.log.head).toBe(0);
    expect(await server.bus.publish(drafts(1_000), producer)).toMatchObject({ accepted: 1_000, seq: 1_000 });
  });

  test('[B1] any input is either stored whole or refused with a code of the error table', async () => {
    await using server = await openServer();
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.anything({ withNullPrototype: true }), { minLength: 1, maxLength: 5 }),
        async (junk) => {
          const before = server.log.head;
          const error = await refusal(server.bus.publish([created('r1'), ...junk.map(anything)], producer));
          expect(error).toBeInstanceOf(RunwireError);
          expect(server.log.head).toBe(before);
        },
      ),
      { numRuns: 300, seed: 20 },
    );
  });
});

describe('observers', () => {
  test('[B2] observers get each event once, in seq order, when it can be read from the log', async () => {
    await using server = await openServer();
    const seen: number[] = [];
    const heads: number[] = [];
    server.bus.subscribe({
      next: (event) => {
        seen.push(event.seq);
        heads.push(server.log.head);
      },
    });
    await Promise.all(
      Array.from({ length: 50 }, (_, i) => server.bus.publish([created(`r${i}`), progress(`r${i}`, 5)], producer)),
    );
    expect(seen).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
    expect(heads.every((head, i) => head >= (seen[i] as number))).toBe(true);
  });

  test('[B2] observers are called before publish resolves, and not for a duplicate', async () => {
    await using server = await openServer();
    const seen: string[] = [];
    server.bus.subscribe({ next: (event) => seen.push(event.eventId) });
    await server.bus.publish([created('r1', { eventId: 'once' })], producer);
    expect(seen).toEqual(['once']);
    expect(await server.bus.publish([created('r1', { eventId: 'once' })], producer)).toMatchObject({
      accepted: 0,
      duplicates: 1,
      seq: 1,
    });
    expect(seen).toEqual(['once']);
  });

  test('[B2] an observer that throws affects neither the publisher, nor other observers, nor subscribers', async () => {
    const { logger, lines } = keptLog();
    await using server = await openServer({ logger });
    const seen: number[] = [];
    server.bus.subscribe({
      next: () => {
        throw new Error('an observer');
      },
    });
    server.bus.subscribe({ next: (event) => seen.push(event.seq) });
    await server.bus.publish([created('r1')], producer);
    await server.bus.publish([created('r2')], producer);
    expect(seen).toEqual([1, 2]);
    expect(lines.filter((line) => line.includes('an observer of the bus failed'))).toHaveLength(1);
  });

  test('[B2] an observer cannot change an event', async () => {
    await using server = await openServer();
    const names: string[] = [];
    server.bus.subscribe({
      next: (event) => {
        if (event.type !== 'run.created') return;
        event.stages?.pop();
        event.name = 'changed';
      },
    });
    server.bus.subscribe({
      next: (event) => {
        if (event.type === 'run.created') names.push(event.name, ...(event.stages ?? []).map(({ name }) => name));
      },
    });
    await server.bus.publish([created('r1', { stages: [{ stageId: 's1', name: 'First' }] })], producer);
    expect(names).toEqual(['Run r1', 'First']);
  });

  test('[B2] an observer with a rejected promise affects nothing else', async () => {
    const { logger, lines } = keptLog();
    await using server = await openServer({ logger });
    server.bus.subscribe({ next: async () => Promise.reject(new Error('an async observer')) });
    await server.bus.publish([created('r1')], producer);
    await expect.poll(() => lines.join()).toContain('an observer of the bus failed');
  });

  test('[B2] an observer is not called after unsubscribe, even from inside its own call', async () => {
    await using server = await openServer();
    const seen: number[] = [];
    const { unsubscribe } = server.bus.subscribe({
      next: (event) => {
        seen.push(event.seq);
        unsubscribe();
      },
    });
    await server.bus.publish([created('r1'), created('r2')], producer);
    unsubscribe();
    expect(seen).toEqual([1]);
  });

  test('[B2] an observer may publish', async () => {
    await using server = await openServer();
    const seen: string[] = [];
    const followed = new Promise<void>((resolve) => {
      server.bus.subscribe({
        next: (event) => {
          seen.push(event.type);
          if (event.type === 'run.created') {
            void server.bus.publish([{ type: 'run.started', projectId: 'demo', runId: event.runId }], producer);
          } else resolve();
        },
      });
    });
    await server.bus.publish([created('r1')], producer);
    await followed;
    expect(seen).toEqual(['run.created', 'run.started']);
  });
});

describe('decisions about approvals', () => {
  const request = (authority?: 'runwire' | 'producer'): RunEventDraft => ({
    type: 'governance.required',
    projectId: 'demo',
    runId: 'r1',
    approvalId: 'a1',
    title: 'Release',
    ...(authority ? { authority } : {}),
  });
  const granted: RunEventDraft = {
    type: 'approval.granted',
    projectId: 'demo',
    runId: 'r1',
    approvalId: 'a1',
    decidedBy: 'eve',
  };
  const denied: RunEventDraft = { ...granted, type: 'approval.denied', reason: 'no' };

  test.each([undefined, 'runwire'] as const)('[B5] with authority %s a producer does not decide', async (authority) => {
    await using server = await openServer();
    await server.bus.publish([request(authority)], producer);
    for (const decision of [granted, denied]) {
      expect((await refusal(server.bus.publish([decision], producer))).code).toBe('FORBIDDEN');
    }
    expect(server.log.head).toBe(1);
  });

  test('[B5] an approval request and its decision in one publish request are refused together', async () => {
    await using server = await openServer();
    expect((await refusal(server.bus.publish([request(), granted], producer))).code).toBe('FORBIDDEN');
    expect(server.log.head).toBe(0);
  });

  test('[B5] a decision that is logged before its approval request decides nothing', async () => {
    await using server = await openServer();
    await server.bus.publish([granted], producer);
    await server.bus.publish([request()], producer);
    const { run } = await server.router.createCaller({ principal: everyone }).run.get({ runId: 'r1' });
    expect(run.approvals[0]).toMatchObject({ status: 'pending', decisions: [] });
  });

  test('[B5] with authority `producer`, the producer decides', async () => {
    await using server = await openServer();
    await server.bus.publish([request('producer'), granted], producer);
    const { run } = await server.router.createCaller({ principal: everyone }).run.get({ runId: 'r1' });
    expect(run.approvals[0]?.status).toBe('granted');
  });

  test('[B5] a second approval request cannot change the authority to `producer`', async () => {
    await using server = await openServer();
    await server.bus.publish([request('runwire')], producer);
    expect((await refusal(server.bus.publish([request('producer')], producer))).code).toBe('APPROVAL_ID_TAKEN');
    expect((await refusal(server.bus.publish([granted], producer))).code).toBe('FORBIDDEN');
  });

  test('[B5] a decision that is published again is a duplicate, not a refusal', async () => {
    await using server = await openServer();
    await server.bus.publish([request('producer'), { ...granted, eventId: 'd1' }], producer);
    expect(await server.bus.publish([{ ...granted, eventId: 'd1' }], producer)).toMatchObject({ duplicates: 1 });
  });
});
