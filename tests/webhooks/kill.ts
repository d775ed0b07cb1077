import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'vitest';
import { Dice } from '../chaos/random.ts';
import { bundleServer, ServerProcess } from '../chaos/server.ts';
import { created, openServer, progress, secret, temporaryFolder, tokenFor } from '../support/harness.ts';
import { quick, Receiver, takenByRun, verify } from './kit.ts';

/** Kills a server while a receiver fails 30 % of the tries, hangs, and is away. */

const RUNS = 6;
/** Deliveries of a webhook in flight. */
const IN_FLIGHT = 8;
const retries = { ...quick, maxMs: 200, maxProbeMs: 200, timeoutMs: 300, maxTries: 1_000_000 };

export async function killWhileSending({ kills, seed }: { kills: number; seed: number }): Promise<void> {
  using folder = temporaryFolder();
  using bundle = await bundleServer();
  const dice = new Dice(seed);
  const path = join(folder.path, 'log.db');
  const times = { clockMs: 0, heartbeatMs: 30_000, quietMs: 30_000 };
  const options = { delivery: 'direct', webhookAllow: ['127.0.0.1'], webhookRetries: retries, ...times } as const;
  const server = new ServerProcess(bundle.path, { path, port: 0, secret, ...options });
  const url = `http://127.0.0.1:${(await server.start()).port}`;
  await using flaky = await Receiver.open(() => (dice.chance(0.3) ? 500 : dice.chance(0.02) ? undefined : 204));
  await using dead = await Receiver.open();
  await dead.stop();
  await using healthy = await Receiver.open();
  const headers = { authorization: `Bearer ${await tokenFor()}`, 'content-type': 'application/json' };
  const post = async (route: string, body: unknown) => {
    for (;;) {
      const response = await fetch(`${url}${route}`, { method: 'POST', headers, body: JSON.stringify(body) }).catch(
        () => undefined,
      );
      if (response?.ok) return response.json();
      if (response && response.status < 500) throw new Error(await response.text());
      await delay(20); // The server has been killed.
    }
  };
  const secrets = new Map<Receiver, string>();
  for (const receiver of [flaky, dead, healthy]) {
    const settings = { name: 'One', url: receiver.url, filter: {} };
    secrets.set(receiver, (await post('/trpc/webhook.create', settings)).result.data.secret);
  }

  let isOver = false;
  let published = 0;
  const publish = async (): Promise<void> => {
    for (; !isOver; published += RUNS) {
      const drafts = Array.from({ length: RUNS }, (_, index) => {
        const draft = published === 0 ? created(`r${index}`) : progress(`r${index}`, published % 100);
        return { ...draft, eventId: `event-${published + index}` };
      });
      await post('/api/v1/events', drafts);
    }
  };
  const publishing = publish();
  for (let kill = 0; kill < kills; kill++) {
    await delay(dice.between(50, 400));
    if (dice.chance(0.2)) await flaky.stop();
    await server.stop('SIGKILL');
    await server.start();
    await flaky.start();
  }
  isOver = true;
  await publishing;
  for (const receiver of [healthy, flaky]) await receiver.untilTaken(published);
  await server.stop('SIGTERM');
  expect(server.complaints).toEqual([]);

  await using log = await openServer({ databaseUrl: `file:${path}` });
  expect(log.log.head).toBe(published);
  const { webhook } = log.router.createCaller({ principal: { sub: 'ada', projects: ['*'], roles: ['admin'] } });
  const states = (await webhook.list()).webhooks.map(({ behind, deadLetters }) => ({ behind, deadLetters }));
  expect(states[1]).toEqual({ behind: published, deadLetters: 0 }); // Nothing of the dead receiver is lost.
  for (const receiver of [flaky, healthy]) {
    const { taken, takenIds, received } = receiver;
    for (const message of received) verify(message, secrets.get(receiver) as string);
    const idOf = new Map(taken.map(({ id, body }) => [body.data.eventId, id]));
    expect(idOf.size).toBe(published);
    expect(taken.filter(({ id, body }) => idOf.get(body.data.eventId) !== id)).toEqual([]);
    for (const order of takenByRun(receiver).values()) expect(order).toEqual(order.toSorted((a, b) => a - b));
    const repeated = takenIds.length - published;
    expect(repeated).toBeLessThanOrEqual(kills * IN_FLIGHT);
    process.stderr.write(`${kills} kills: ${published} events, ${received.length} tries, ${repeated} repeated\n`);
  }
}
