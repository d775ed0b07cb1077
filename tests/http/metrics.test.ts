import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { created, everyone, isLive, progress, startServer, tokenFor, Wire } from '../support/harness.ts';

const publisher = { actor: 'ada' };
const metricsOf = async (url: string): Promise<Map<string, number>> => {
  const response = await fetch(`${url}/metrics`);
  expect(response.headers.get('content-type')).toMatch(/^text\/plain/);
  const lines = (await response.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]),
  );
};

test('[Q13] /metrics counts published, delivered, refused and replayed events, gaps, and connections', async () => {
  await using server = await startServer();
  await server.bus.publish([created('r1'), ...[1, 2, 3, 4].map((value) => progress('r1', value))], publisher);
  await using wire = await Wire.open(server.url);
  const replaying = wire.subscribe('onRunEvent', { runId: 'r1', from: 'start' });
  await replaying.until(isLive);
  await wire.subscribe('onEvent', {}, 'abc.7').until(isLive);
  const conflating = wire.subscribe('onRunEvent', {
    runId: 'r1',
    conflate: true,
    from: 'start',
  });
  await conflating.until(isLive);
  await server.bus.publish([progress('r1', 5)], publisher);
  await replaying.until((item) => item.type === 'stage.progress' && item.progress === 5);
  await wire.call('query', 'run.get', { runId: 'missing' });
  await fetch(`${server.url}/api/v1/events`, { method: 'POST' });
  await using refused = await Wire.open(server.url, { token: await tokenFor({ ttlSeconds: -5 }) });
  await refused.closed;
  await expect.poll(() => server.getStats().connections).toBe(1);

  const { delivered } = server.getStats();
  const metrics = await metricsOf(server.url);
  expect(Object.fromEntries(metrics)).toMatchObject({
    runwire_connections: 1,
    runwire_subscriptions: 3,
    runwire_waiting_readers: 3,
    runwire_slow_readers: 0,
    runwire_reader_lag_events: 0,
    runwire_unsent_bytes: 0,
    runwire_log_head: 6,
    runwire_log_oldest: 1,
    runwire_published_events_total: 6,
    runwire_delivered_messages_total: delivered,
    runwire_replays_total: 2,
    'runwire_gaps_total{reason="epoch_changed"}': 1,
    'runwire_gaps_total{reason="expired"}': 0,
    'runwire_closes_total{code="4401"}': 1,
    'runwire_rejections_total{reason="RUN_NOT_FOUND"}': 1,
    'runwire_rejections_total{reason="UNAUTHENTICATED"}': 1,
    runwire_publish_to_write_seconds_count: 2,
    runwire_log_commit_seconds_count: 2,
    runwire_log_commit_events_sum: 6,
  });
});

test('[Q13] a request that its client closes is not counted as a refusal', async () => {
  await using server = await startServer();
  const authorization = `Bearer ${await tokenFor()}`;
  const leave = (path: string) => {
    const socket = connect(server.port, '127.0.0.1');
    const head = `POST ${path} HTTP/1.1\r\nhost: ${server.host}\r\nauthorization: ${authorization}\r\ncontent-type: application/json\r\n`;
    socket.write(`${head}content-length: 100\r\n\r\n{"json"`, () => setImmediate(() => socket.destroy()));
  };
  // The access record has each request that has begun.
  const { audit } = server.router.createCaller({ principal: everyone });
  const recorded = async () => {
    const { entries } = await audit.access({ outcome: 'INVALID_INPUT', limit: 500 });
    return entries.reduce((sum, { count }) => sum + count, 0);
  };
  // One by one: a request that waits for its turn does not begin once its client has left.
  for (let count = 0; count < 10; count++) {
    leave(count % 2 === 0 ? '/trpc/run.get' : '/api/v1/events');
    await expect.poll(recorded).toBe(count + 1);
  }
  const metrics = await metricsOf(server.url);
  expect([...metrics.keys()].filter((name) => name.startsWith('runwire_rejections_total'))).toEqual([]);
});

test('[Q13] /metrics contains no text of a client and no id', async () => {
  await using server = await startServer();
  await server.bus.publish([created('CANARY', { projectId: 'CANARY', createdBy: 'CANARY' })], publisher);
  await using wire = await Wire.open(server.url, { token: await tokenFor({ sub: 'CANARY' }) });
  await wire.subscribe('onRunEvent', { runId: 'CANARY' }).until(isLive);
  await wire.call('query', 'CANARY', 'CANARY');
  await fetch(`${server.url}/CANARY`);
  expect(await (await fetch(`${server.url}/metrics`)).text()).not.toContain('CANARY');
});

test('[Q13] every metric that the operations guide names exists', async () => {
  const guide = readFileSync(new URL('../../docs/guide/operations.md', import.meta.url), 'utf8');
  // Names of other things, and metrics of a server on PostgreSQL (M34).
  const isOther = (name: string) => /^runwire_(sockets|connection|publish|retry|outbox_.+)$/.test(name);
  const named = new Set(guide.match(/\brunwire_[a-z_]+/g)?.filter((name) => !isOther(name)));
  await using server = await startServer();
  const kept = new Set((await server.metrics.getMetricsAsArray()).map(({ name }) => name));
  expect(named.size).toBeGreaterThan(5);
  expect([...named].filter((name) => !kept.has(name.replace(/_bucket$/, '')))).toEqual([]);
});
