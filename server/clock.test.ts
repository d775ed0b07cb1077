import { join } from 'node:path';
import { expect, test } from 'vitest';
import { foldEvent } from '../shared/events.ts';
import { everyone, keptLog, openServer, startServer, temporaryFolder } from '../tests/support/harness.ts';
import { Clock } from './clock.ts';
import { append, started, upTo } from './event-log/conformance/kit.ts';
import { openSqliteLog } from './event-log/sqlite/log.ts';
import { Health } from './health.ts';
import { Retention } from './retention.ts';

const DAY_MS = 86_400_000;

/** A log in memory, and the clock of a server that can be stepped. */
async function openClock(eventCount = 0) {
  const log = await openSqliteLog({ path: ':memory:', fold: foldEvent });
  if (eventCount > 0) await append(log, ...upTo(eventCount).map(() => started()));
  const time = { wall: Date.now(), monotonic: 0 };
  const { logger, lines } = keptLog();
  const health = new Health(logger);
  const start = () => new Clock({ log, health, now: () => time.wall, monotonic: () => time.monotonic });
  return { log, time, health, logger, lines, start, [Symbol.asyncDispose]: () => log.close() };
}

test('[L33] a clock set ahead by more than 7 days is not right, also across a restart, until it is set back or confirmed', async () => {
  await using world = await openClock();
  const { time, start } = world;
  let clock = start();
  expect(await clock.isRight()).toBe(true);
  const restart = () => {
    clock.close();
    clock = start();
  };
  for (const afterStep of [() => undefined, restart]) {
    time.wall += 8 * DAY_MS;
    afterStep();
    expect(await clock.isRight()).toBe(false);
    time.wall -= 2 * DAY_MS;
    expect(await clock.isRight()).toBe(true);
    time.wall += 400 * DAY_MS;
    expect(await clock.isRight()).toBe(false);
    await clock.confirm();
    expect(await clock.isRight()).toBe(true);
  }
  time.wall -= 10_000 * DAY_MS; // A clock that begins in the past until it is set over the network.
  restart();
  expect(await clock.isRight()).toBe(true);
  time.wall += 10_001 * DAY_MS;
  expect(await clock.isRight()).toBe(true);
  [time.wall, time.monotonic] = [time.wall + 100 * DAY_MS, time.monotonic + 100 * DAY_MS];
  expect(await clock.isRight()).toBe(true);
  clock.close();
});

test('[L33] with a clock two years ahead nothing is deleted, and with a confirmed clock retention goes on', async () => {
  await using world = await openClock(1_000);
  const { log, time, logger, lines, start } = world;
  time.wall += 730 * DAY_MS;
  const clock = start();
  const retention = new Retention({ log, clock, days: 365, runsDays: 365, logger, now: () => time.wall });
  await expect.poll(() => retention.isPaused).toBe(true);
  expect(log.oldest).toBe(1);
  expect(lines.filter((line) => line.includes('nothing is deleted'))).toHaveLength(1);
  await clock.confirm();
  await retention.run();
  expect({ oldest: log.oldest, isPaused: retention.isPaused }).toEqual({ oldest: 1_000, isPaused: false });
  for (const part of [clock, retention]) part.close();
});

test('[L31] a log ahead of the clock is reported with what to do, and a minute ahead is not', async () => {
  await using world = await openClock(1);
  const { log, time, health, lines, start } = world;
  time.wall = log.newestMs - 60_000;
  const clock = start();
  expect(health.problems.size).toBe(0);
  time.wall -= 1_000;
  for (const _ of upTo(3)) clock.check();
  expect([...health.problems]).toEqual([
    ['clock', expect.stringContaining('61 s ahead of the system clock: set the clock')],
  ]);
  expect(lines).toHaveLength(1);
  time.wall += 2_000;
  clock.check();
  expect(health.problems.size).toBe(0);
  clock.close();
});

test('[L31] a server on a log that is years ahead is not ready until an administrator confirms the clock; then a search finds this minute', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'runwire.db');
  const ahead = await openSqliteLog({ path, fold: foldEvent, now: () => Date.now() + 50 * 365 * DAY_MS });
  await append(ahead, started());
  await ahead.close();

  await using server = await startServer({ databaseUrl: `file:${path}` });
  const ready = async () => {
    const response = await fetch(`${server.url}/readyz`);
    return { status: response.status, text: await response.text() };
  };
  expect(await ready()).toEqual({ status: 503, text: expect.stringContaining('clock') });
  const admin = server.router.createCaller({ principal: everyone });
  const since = new Date(Date.now() - 60_000).toISOString();
  const publish = () => server.bus.publish([{ type: 'run.started', projectId: 'p', runId: 'now' }], { actor: 'ci' });
  await publish();
  expect((await admin.event.search({ since, until: new Date(Date.now() + 60_000).toISOString() })).events).toEqual([]);

  const other = { principal: { ...everyone, projects: ['p'] } };
  const now = new Date().toISOString();
  await expect(server.router.createCaller(other).audit.confirmClock({ now })).rejects.toThrow('not allowed: clock');
  await expect(admin.audit.confirmClock({ now: since.replace(/^..../, '2076') })).rejects.toThrow(
    "the server's clock is at",
  );
  expect(await ready()).toMatchObject({ status: 503 });

  const { repair } = await admin.audit.confirmClock({ now });
  expect(repair).toMatchObject({ seq: 2, by: 'ada' });
  expect(await admin.audit.confirmClock({ now })).toMatchObject({ repair: null });
  expect(await ready()).toMatchObject({ status: 200 });
  const { seq } = await publish();
  const found = await admin.event.search({ since });
  expect(found.events.map((event) => event.seq)).toEqual([seq, seq - 1, seq - 2]); // Those before count as recorded now.
  expect(await admin.event.search({ until: since })).toMatchObject({ events: [] });
  const access = await admin.audit.access({ action: 'audit.confirmClock' });
  expect(access.entries.length).toBeGreaterThan(0);
  expect(await admin.audit.verify()).toMatchObject({ ok: true });
});

test('[W13] retentionRunsDays without retentionDays is refused', async () => {
  await expect(openServer({ retentionRunsDays: 9 })).rejects.toMatchObject({ path: 'retentionRunsDays' });
  await using server = await openServer({ retentionRunsDays: 9, retentionDays: 3 });
  expect(server.log.head).toBe(0);
});
