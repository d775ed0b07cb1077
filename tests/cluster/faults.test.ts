import { describe, expect, onTestFinished, test } from 'vitest';
import { encodeCursor } from '../../server/event-log/cursor.ts';
import { isSignal } from '../../shared/protocol.ts';
import { isLive, progress, startProxy } from '../support/harness.ts';
import { hasRedis, startRedis } from '../support/redis.ts';
import type { Node } from '../support/shared-log.ts';
import { isAvailable, open, publisher, seqsOf, upwards, wireTo } from './open.ts';

describe.skipIf(!isAvailable)('nodes that are behind or cut off (needs PostgreSQL)', () => {
  test('[M41] a client goes on at a node that is behind the node of its cursor, without a gap', async () => {
    const { urls, a, c } = await open({}, { backplane: 'none' });
    const wire = await wireTo(urls[2]);
    let behind = 0;
    for (let round = 1; round <= 20; round++) {
      await a.bus.publish([progress('r1', round)], publisher);
      const cursor = encodeCursor(a.log.epoch, { seq: a.log.head, hashPrefix: a.log.headHashPrefix });
      if (c.log.head < a.log.head) behind++;
      const stream = wire.subscribe('onEvent', {}, cursor);
      await stream.until(isLive);
      expect(stream.items.filter((item) => item.type === 'stream.gap')).toEqual([]);
      expect(seqsOf(stream.items)).toEqual([]);
      stream.stop();
    }
    expect(behind).toBeGreaterThan(0);
    const [beyond] = await wire.subscribe('onEvent', {}, encodeCursor(a.log.epoch, { seq: 25 })).until(isSignal);
    expect(beyond).toMatchObject({ type: 'stream.gap', reason: 'ahead' });
  });

  test.skipIf(!hasRedis)(
    '[M49] a node that is cut off from Redis alone is ready, and its clients and those of the others miss nothing',
    async () => {
      const redis = await startRedis();
      onTestFinished(() => redis.remove());
      const proxy = await startProxy(redis.port);
      const { urls, nodes, add } = await open({ redisUrl: redis.url }, { count: 2 });
      const cut = await add({ redisUrl: `redis://127.0.0.1:${proxy.port}` });
      const all = [...urls, (await cut.listen()).url];
      const metrics = async () => (await fetch(`${all[2]}/metrics`)).text();
      await expect.poll(metrics).toContain('runwire_unhealthy{condition="backplane"} 0');
      const wires = await Promise.all(all.map((url) => wireTo(url)));
      const streams = wires.map((wire) => wire.subscribe('onEvent', { from: 'start' }));
      await proxy[Symbol.asyncDispose]();
      for (let round = 0; round < 15; round++) {
        await (nodes[round % 3] as Node).bus.publish([progress('r1', round)], publisher);
      }
      for (const stream of streams) {
        await stream.until((item) => !isSignal(item) && item.seq === 15);
        expect(seqsOf(stream.items)).toEqual(upwards(1, 15));
        expect(stream.items.filter((item) => item.type === 'stream.gap')).toEqual([]);
      }
      await expect.poll(metrics).toContain('runwire_unhealthy{condition="backplane"} 1');
      expect((await fetch(`${all[2]}/readyz`)).status).toBe(200);
    },
  );
});
