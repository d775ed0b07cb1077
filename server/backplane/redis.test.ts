import { createClient } from 'redis';
import { describe, expect, onTestFinished, test } from 'vitest';
import { hasRedis, startRedis } from '../../tests/support/redis.ts';
import type { Problem } from '../health.ts';
import { RedisBackplane } from './redis.ts';

type Received = RedisBackplane & { received: string[]; reports: (Problem | undefined)[] };

function open(url: string, channel = 'a'): Received {
  const reports: (Problem | undefined)[] = [];
  const report = (condition: string, problem: Problem | undefined) => {
    expect(condition).toBe('backplane');
    reports.push(problem);
  };
  const backplane = new RedisBackplane(url, channel, { report });
  onTestFinished(() => backplane.close());
  const received: string[] = [];
  backplane.receive((message) => void received.push(message));
  return Object.assign(backplane, { received, reports });
}

const untilConnected = async (...backplanes: RedisBackplane[]) => {
  for (const backplane of backplanes) {
    await expect.poll(() => backplane.isConnected).toBe(true);
  }
};

async function start(settings?: string[]) {
  const redis = await startRedis(settings);
  onTestFinished(() => redis.remove());
  return redis;
}

describe.skipIf(!hasRedis)('messages by Redis', () => {
  test('[M18] a message reaches every node of the log and no node of another log on the same Redis', async () => {
    const { url } = await start();
    const [a, b, other] = [open(url), open(url), open(url, 'b')];
    await untilConnected(a, b, other);
    const messages = ['one', `"quotes"\n東京 🚀`, 'x'.repeat(1_000_000), 'last'];
    for (const message of messages) a.send(message);
    await expect.poll(() => b.received.length).toBe(messages.length);
    expect(b.received).toEqual(messages);
    await expect.poll(() => a.received.length).toBe(messages.length);
    expect(other.received).toEqual([]);
  });

  test('[M19] while Redis is away, send drops messages and the condition backplane has a problem; it connects again', async () => {
    const redis = await start();
    const [a, b] = [open(redis.url), open(redis.url)];
    await untilConnected(a, b);
    for (const _ of [1, 2]) {
      await redis.stop();
      await expect.poll(() => a.isConnected || b.isConnected).toBe(false);
      for (let count = 0; count < 100; count++) a.send('lost');
      await expect.poll(() => a.reports.at(-1)?.message).toContain('Redis carries no messages');
      await redis.start();
      await untilConnected(a, b);
      expect(a.reports.at(-1)).toBeUndefined();
      b.received.length = 0;
      a.send('again');
      await expect.poll(() => b.received).toEqual(['again']);
    }
  });

  test('[M19] a node that starts while Redis is away connects once Redis is there', async () => {
    const redis = await start();
    await redis.stop();
    const a = open(redis.url);
    await expect.poll(() => a.reports.length).toBeGreaterThan(2);
    a.send('lost');
    await redis.start();
    await untilConnected(a);
    a.send('again');
    await expect.poll(() => a.received).toEqual(['again']);
  });

  test('[M19] connections that Redis ends are replaced', async () => {
    const redis = await start();
    const a = open(redis.url);
    await untilConnected(a);
    const admin = createClient({ url: redis.url });
    admin.on('error', () => undefined);
    onTestFinished(() => admin.destroy());
    await admin.connect();
    for (const type of ['pubsub', 'normal']) await admin.sendCommand(['CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes']);
    await expect.poll(() => a.reports.some((problem) => problem)).toBe(true);
    await untilConnected(a);
    a.send('again');
    await expect.poll(() => a.received).toEqual(['again']);
  });

  test('[M18] the password of the URL is used, and no report has it', async () => {
    const redis = await start(['--requirepass', 'geheim']);
    const withPassword = (password: string) => redis.url.replace('redis://', `redis://:${password}@`);
    const [right, wrong] = [open(withPassword('geheim')), open(withPassword('falsch'))];
    await untilConnected(right);
    await expect.poll(() => wrong.reports.filter((problem) => problem).length).toBeGreaterThan(2);
    expect(wrong.isConnected).toBe(false);
    const words = wrong.reports.map((problem) => `${problem?.message} ${(problem?.err as Error | undefined)?.stack}`);
    expect(words.join()).not.toContain('falsch');
    const refusal = (() => {
      try {
        return open('http://:geheim@x');
      } catch (error) {
        return error as Error;
      }
    })();
    expect(refusal).toMatchObject({ code: 'INVALID_INPUT' });
    expect((refusal as Error).cause).toBeUndefined();
  });
});
