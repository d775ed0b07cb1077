import { setTimeout } from 'node:timers/promises';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { createRunwireClient } from '../../client/index.ts';
import type { RunEvent } from '../../shared/events.ts';
import { isSignal } from '../../shared/protocol.ts';
import { type ClusterOptions, hasHaproxy, startCluster } from '../support/cluster.ts';
import { progress, secret, tokenFor } from '../support/harness.ts';
import { createDatabase, dropDatabase } from '../support/postgres.ts';
import { hasRedis, startRedis } from '../support/redis.ts';

/** Three server processes behind HAProxy, and a client that reads all events through it. Needs `npm run build`. */

const isAvailable = inject('postgres') !== undefined && hasHaproxy;

async function open(options: Partial<ClusterOptions> = {}) {
  const postgres = inject('postgres') as string;
  const databaseUrl = await createDatabase(postgres);
  onTestFinished(() => dropDatabase(postgres, databaseUrl));
  const cluster = await startCluster({ databaseUrl, secret, ...options });
  onTestFinished(() => cluster[Symbol.asyncDispose]());
  const token = await tokenFor();
  const { client, connection } = createRunwireClient({
    url: cluster.url,
    token,
    WebSocket: WebSocket as unknown as typeof globalThis.WebSocket,
  });
  const events: RunEvent[] = [];
  const gaps: unknown[] = [];
  const subscription = client.onEvent.subscribe(
    { from: 'start' },
    {
      onData: ({ data }: { data: object }) => {
        if (!isSignal(data)) events.push(data as RunEvent);
        else if (data.type === 'stream.gap') gaps.push(data);
      },
    },
  );
  onTestFinished(async () => {
    subscription.unsubscribe();
    await connection.close();
  });
  let isOver = false;
  let acknowledged = 0;
  /** Publishes one event after the other, and sends each again under its id until it is acknowledged. */
  const publishing = (async () => {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    for (let count = 0; !isOver; count++) {
      const body = JSON.stringify(progress(`r${count % 5}`, count % 100, { eventId: `e${count}` }));
      while (
        !(await fetch(`${cluster.url}/api/v1/events`, { method: 'POST', headers, body }).then(
          ({ status }) => status === 200,
          () => false,
        ))
      ) {
        await setTimeout(50);
      }
      acknowledged++;
    }
  })();
  return {
    ...cluster,
    acknowledged: () => acknowledged,
    /** Ends publishing. Checks that the reader got every event, once, in order. */
    finish: async () => {
      isOver = true;
      await publishing;
      await expect.poll(() => events.length, { timeout: 120_000 }).toBeGreaterThanOrEqual(acknowledged);
      expect(events.map(({ seq }) => seq)).toEqual(Array.from({ length: acknowledged }, (_, index) => index + 1));
      expect(new Set(events.map(({ eventId }) => eventId)).size).toBe(acknowledged);
      expect(gaps).toEqual([]);
    },
  };
}

describe.skipIf(!isAvailable)('server processes behind HAProxy (needs PostgreSQL and HAProxy)', () => {
  test('[M41] a rolling restart and a server that is killed lose and repeat nothing', {
    timeout: 240_000,
  }, async () => {
    const { nodes, acknowledged, finish } = await open();
    for (const node of nodes) {
      await expect.poll(acknowledged).toBeGreaterThan(5);
      expect(await node.stop()).toBe(0);
      await node.start();
    }
    await nodes[0]?.kill();
    const before = acknowledged();
    await expect.poll(acknowledged, { timeout: 120_000 }).toBeGreaterThan(before + 20);
    await nodes[0]?.start();
    await finish();
  });

  test.skipIf(!hasRedis)(
    '[M49] servers lose and repeat nothing, and stay ready, while their Redis is gone and when it comes back',
    { timeout: 240_000 },
    async () => {
      const redis = await startRedis();
      onTestFinished(() => redis.remove());
      const { nodes, acknowledged, finish } = await open({ redisUrl: redis.url });
      await redis.stop();
      const before = acknowledged();
      await expect.poll(acknowledged, { timeout: 120_000 }).toBeGreaterThan(before + 20);
      for (const { url } of nodes) expect((await fetch(`${url}/readyz`)).status).toBe(200);
      await redis.start();
      const after = acknowledged();
      await expect.poll(acknowledged, { timeout: 120_000 }).toBeGreaterThan(after + 20);
      await finish();
    },
  );
});
