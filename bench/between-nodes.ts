import { RedisBackplane } from '../server/backplane/redis.ts';
import type { EventLog } from '../server/event-log/contract/store.ts';
import { type OpenBackplane, silentBackplane } from '../server/event-log/postgres/backplane.ts';
import { openPostgresLog } from '../server/event-log/postgres/log.ts';
import { foldEvent } from '../shared/events.ts';
import { startPostgres } from '../tests/support/postgres.ts';
import { startRedis } from '../tests/support/redis.ts';

/**
 * Latency from the call of `append` on one node to the listener on another, over Redis, over NOTIFY, and with the pulse
 * alone: `tsx bench/between-nodes.ts [seconds]`. 100 events a second, at random times, one an append.
 */

const SECONDS = Number(process.argv[2] ?? 20);
const PER_SECOND = 100;
const health = { report: () => undefined, note: () => undefined };

async function measure(url: string, backplane: OpenBackplane | undefined): Promise<number[]> {
  const open = () => openPostgresLog({ url, fold: foldEvent, ...(backplane ? { backplane } : {}) });
  const [from, to] = [await open(), await open()] as [EventLog, EventLog];
  const sent = new Map<string, number>();
  const latencies: number[] = [];
  to.subscribe((records) => {
    for (const { json } of records) {
      const { eventId } = JSON.parse(json) as { eventId: string };
      latencies.push(performance.now() - (sent.get(eventId) ?? 0));
    }
  });
  const appends: Promise<unknown>[] = [];
  for (let count = 0; count < SECONDS * PER_SECOND; count++) {
    await new Promise((resolve) => setTimeout(resolve, (Math.random() * 2_000) / PER_SECOND));
    const eventId = crypto.randomUUID();
    sent.set(eventId, performance.now());
    const draft = {
      type: 'run.started',
      projectId: 'p',
      runId: `r${count % 20}`,
      timestamp: new Date().toISOString(),
      eventId,
    };
    appends.push(from.append({ actor: 'bench', drafts: [draft] }));
  }
  await Promise.all(appends);
  await to.reached((await from.durableHead()).seq, 10_000);
  await Promise.all([from.close(), to.close()]);
  return latencies.toSorted((a, b) => a - b);
}

const postgres = await startPostgres({ isDurable: true });
const redis = await startRedis();
try {
  const ways: [string, OpenBackplane | undefined][] = [
    ['Redis', (channel) => new RedisBackplane(redis.url, channel, health)],
    ['NOTIFY', undefined],
    ['pulse alone', silentBackplane],
  ];
  for (const [name, backplane] of ways) {
    const url = await postgres.createDatabase();
    const latencies = await measure(url, backplane);
    const at = (part: number) => latencies[Math.floor(part * (latencies.length - 1))]?.toFixed(1);
    console.info(`${name}: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, ${latencies.length} events`);
  }
} finally {
  await Promise.all([postgres.remove(), redis.remove()]);
}
