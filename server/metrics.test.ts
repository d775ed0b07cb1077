import { Histogram, Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { Distribution } from './distribution.ts';
import { addProcessMetrics, Metrics, type MetricsParts } from './metrics.ts';

test('[Q13] scrapes compute the totals over all connections at most once a second', async () => {
  let computed = 0;
  const metrics = new Metrics();
  metrics.addSources({
    log: { head: 0, oldest: 1 },
    bus: { published: 0 },
    delivery: { waiting: 0, counts: { delivered: 0, replays: 0, gaps: {}, conflated: 0 } },
    connections: {
      count: 0,
      totals: () => ({ subscriptions: ++computed, unsentBytes: 0, mostLag: 0, slow: 0 }),
      counts: { stalls: 0, closes: new Map() },
    },
    streams: { streams: 0 },
    inFlight: { bytes: 0 },
    access: { failures: 0 },
    health: { states: () => [] },
    retention: { isPaused: false },
    webhooks: { count: 0, pending: 0, counts: { sent: 0, failed: 0, deadLetters: 0 } },
  } as unknown as MetricsParts);
  const before = computed;
  const begun = performance.now();
  for (let scrape = 0; scrape < 20; scrape++) await metrics.registry.metrics();
  expect(computed - before).toBeLessThanOrEqual(1 + (performance.now() - begun) / 1_000);
});

test('[Q13] the metrics of the process do not contain the version of Node', async () => {
  const registry = new Registry();
  addProcessMetrics(registry);
  const text = await registry.metrics();
  expect(text).toContain('process_cpu_seconds_total');
  expect(text).not.toContain(process.version);
});

test('[Q13] a distribution has the text of a histogram of prom-client with the same values', async () => {
  const [own, other] = [new Registry(), new Registry()];
  const bounds = [0.5, 1, 25];
  const distribution = new Distribution('runwire_some_seconds', 'Some.', bounds, own);
  const histogram = new Histogram({ name: 'runwire_some_seconds', help: 'Some.', buckets: bounds, registers: [other] });
  expect(await own.metrics()).toBe(await other.metrics());
  for (const value of [0, 0.5, 0.6, 1, 25, 25.5, 1_000, 7]) {
    distribution.observe(value);
    histogram.observe(value);
  }
  expect(await own.metrics()).toBe(await other.metrics());
});
