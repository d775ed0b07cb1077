import { expect, test } from 'vitest';
import { follow, open } from '../support/client.ts';
import { everyone, type openServer, progress, startServer, tokenFor, Wire } from '../support/harness.ts';

/** What administrators see and do: `server.history`, `server.drain`, `server.disconnect`. */

const publisher = { actor: 'ci' };
type Server = Awaited<ReturnType<typeof openServer>>;
const callerOf = (server: Server, projects = ['*']) =>
  server.router.createCaller({ principal: { ...everyone, projects } });

test('[R28] server.history has a sample for each second, with rates, times and refusals', async () => {
  await using server = await startServer();
  const caller = callerOf(server);
  await server.bus.publish([progress('r1', 1), progress('r1', 2)], publisher);
  await using wire = await Wire.open(server.url);
  await wire.call('query', 'run.get', { runId: 'missing' });
  const sum = (of: (sample: Awaited<ReturnType<typeof caller.server.history>>['samples'][number]) => number) =>
    caller.server.history().then(({ samples }) => samples.reduce((total, sample) => total + of(sample), 0));
  await expect.poll(() => sum(({ published }) => published)).toBe(2);
  await expect.poll(() => sum(({ refused }) => refused.RUN_NOT_FOUND ?? 0)).toBe(1);
  const { samples } = await caller.server.history();
  const busy = samples.find(({ published }) => published > 0);
  expect(busy?.publishP50Ms).toBeGreaterThan(0);
  expect(busy?.publishP99Ms).toBeGreaterThanOrEqual(busy?.publishP50Ms as number);
  expect(busy?.commitP99Ms).toBeGreaterThan(0);
  expect(busy?.memoryBytes).toBeGreaterThan(1 << 20);
  const last = samples.at(-1);
  expect((await caller.server.history({ since: last?.at as number })).samples.length).toBeLessThan(samples.length);
});

test('[R28] server.record states the head, the last checkpoint and verification, erasures, retention and the lag of the index', async () => {
  await using server = await startServer({ retentionDays: 30 });
  const caller = callerOf(server);
  expect(await caller.server.record()).toMatchObject({
    record: { seq: 0, oldest: 1 },
    erasures: 0,
    retentionDays: 30,
    retentionRunsDays: null,
    isRetentionPaused: false,
  });
  // The index is filled after a pause. A busy machine may make one too.
  await expect
    .poll(async () => {
      await server.bus.publish([progress('r1', 1), progress('r1', 2), progress('r1', 3)], publisher);
      return (await caller.server.record()).searchLag;
    })
    .toBeGreaterThanOrEqual(3);
  const { head } = server.log;
  await caller.event.search({ text: 'r1' });
  expect((await caller.server.record()).searchLag).toBe(0);
  const { checkpoint } = await caller.audit.checkpoint();
  await caller.audit.erase({ seq: 2, reason: 'asked for' });
  await caller.audit.verify();
  expect(await caller.server.record()).toMatchObject({
    epoch: server.log.epoch,
    record: { seq: head, oldest: 1, verified: { by: 'ada', verdict: { ok: true, events: head, erased: 1 } } },
    checkpoint: { seq: head, at: checkpoint.at },
    erasures: 1,
    nodes: [{ head, connections: 0 }],
    version: expect.stringMatching(/^\d/),
  });
});

test('[R29] a drained client connects again by itself and misses nothing', async () => {
  await using server = await startServer();
  const caller = callerOf(server);
  const { client } = open({ url: server.url, token: await tokenFor() });
  const reader = follow(client, 'r1');
  await server.bus.publish([progress('r1', 1)], publisher);
  await reader.until(() => reader.items.some(({ seq }) => seq === 1));
  const [before] = (await caller.server.stats()).clients;
  expect(before).toMatchObject({ sub: 'ada', projects: ['*'], state: 'keeping up', address: expect.any(String) });
  expect(await caller.server.drain({ id: before?.id as number })).toEqual({ drained: true });
  for (let value = 2; value <= 20; value++) await server.bus.publish([progress('r1', value)], publisher);
  await reader.until(() => reader.items.some(({ seq }) => seq === 20));
  await expect.poll(async () => (await caller.server.stats()).clients.map(({ id }) => id)).not.toContain(before?.id);
  expect(reader.seqs()).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
});

test('[R29] a disconnected client comes back, unless its tokens are revoked', async () => {
  await using server = await startServer();
  const caller = callerOf(server);
  await using first = await Wire.open(server.url, { token: await tokenFor({ sub: 'vera' }) });
  const idOf = async (sub: string, wire: Wire) => {
    await wire.call('query', 'auth.me'); // Answered once the token is verified.
    return (await caller.server.stats()).clients.find((client) => client.sub === sub)?.id as number;
  };
  await caller.server.disconnect({ id: await idOf('vera', first) });
  expect(await first.closed).toEqual({ code: 4429, reason: 'disconnected by an administrator' });
  await using second = await Wire.open(server.url, { token: await tokenFor({ sub: 'vera' }) });
  await caller.server.disconnect({ id: await idOf('vera', second), revoke: true });
  expect((await second.closed).code).toBe(4403);
  await using third = await Wire.open(server.url, { token: await tokenFor({ sub: 'vera' }) });
  expect((await third.closed).code).toBe(4403);
});

test('[R29] an administrator acts on the clients of its own projects, and each act is recorded', async () => {
  await using server = await startServer();
  await using wire = await Wire.open(server.url, { token: await tokenFor({ sub: 'vera', projects: ['demo'] }) });
  await wire.call('query', 'auth.me');
  const [client] = (await callerOf(server).server.stats()).clients;
  const id = client?.id as number;
  for (const act of ['drain', 'disconnect'] as const) {
    await expect(callerOf(server, ['other']).server[act]({ id })).rejects.toThrow('no such connection');
    await expect(callerOf(server).server[act]({ id: 10_000 })).rejects.toThrow('no such connection');
  }
  await expect(callerOf(server, ['demo']).server.disconnect({ id, revoke: true })).rejects.toMatchObject({
    code: 'FORBIDDEN',
  });
  await callerOf(server, ['demo']).server.disconnect({ id });
  expect((await wire.closed).code).toBe(4429);
  await expect
    .poll(async () =>
      (await callerOf(server).audit.access({ action: 'server.disconnect' })).entries.map(({ outcome }) => outcome),
    )
    .toContain('ok');
});
