import { expect, test } from 'vitest';
import { created, progress } from '../support/harness.ts';
import { eventually, openWithWebhooks, quick, Receiver, takenByRun, webhookTo } from './kit.ts';

const retries = { ...quick, maxAgeMs: 0 };

test('[O5] a refused message is a dead letter with its reason, and later events of its run still go', async () => {
  await using server = await openWithWebhooks();
  let isPicky = true;
  await using receiver = await Receiver.open(({ body }) => (isPicky && body.type === 'run.created' ? 400 : 200));
  const { webhook } = await webhookTo(server.api, receiver);
  await server.bus.publish([created('r1'), progress('r1', 1), progress('r1', 2)], { actor: 'ci' });
  await receiver.untilTaken(2);
  expect(takenByRun(receiver).get('r1')).toEqual([2, 3]);
  const { deadLetters } = await server.api.deadLetters({ id: webhook.id });
  expect(deadLetters).toMatchObject([
    {
      kind: 'event',
      seq: 1,
      type: 'run.created',
      runId: 'r1',
      reason: 'status',
      status: 400,
      tries: quick.maxRefusals,
      answer: 'answer',
    },
  ]);
  expect(receiver.received.filter(({ body }) => body.type === 'run.created')).toHaveLength(quick.maxRefusals);
  isPicky = false;
  expect(await server.api.redeliver({ id: webhook.id, seq: 1 })).toEqual({ messages: 1 });
  await receiver.untilTaken(3);
  expect(receiver.takenIds.at(-1)).toBe(deadLetters[0]?.messageId);
  // The receiver has answered before the server knows the answer.
  await expect.poll(async () => (await server.api.deadLetters({ id: webhook.id })).deadLetters).toEqual([]);
  await expect.poll(async () => (await server.api.get({ id: webhook.id })).webhook.deadLetters).toBe(0);
});

test('[O5] an outage makes dead letters only after both the number of tries and the age', async () => {
  await using server = await openWithWebhooks({ webhookRetries: { ...retries, maxAgeMs: 3_600_000 } });
  await using receiver = await Receiver.open(() => 503);
  const { webhook } = await webhookTo(server.api, receiver);
  await server.bus.publish([created('r1')], { actor: 'ci' });
  await receiver.until(() => receiver.received.length > 3 * quick.maxTries);
  expect((await server.api.get({ id: webhook.id })).webhook).toMatchObject({ deadLetters: 0, state: 'failing' });
});

test('[O5] all dead letters are sent again or dropped at once', async () => {
  await using server = await openWithWebhooks({ webhookRetries: retries });
  let isAway = true;
  await using receiver = await Receiver.open(() => (isAway ? 503 : 200));
  const { webhook } = await webhookTo(server.api, receiver);
  const { id } = webhook;
  const read = async () => (await server.api.get({ id })).webhook;
  await server.bus.publish([created('r1'), created('r2'), created('r3')], { actor: 'ci' });
  await eventually(read, ({ deadLetters }) => deadLetters === 3);
  expect(await server.api.drop({ id, seq: 2 })).toEqual({ dropped: 1 });
  await expect(server.api.drop({ id, seq: 2 })).rejects.toThrow('no such dead letter');
  isAway = false;
  expect(await server.api.redeliver({ id, all: true })).toEqual({ messages: 2 });
  await receiver.untilTaken(2);
  isAway = true;
  await server.bus.publish([created('r4')], { actor: 'ci' });
  await eventually(read, ({ deadLetters }) => deadLetters === 1);
  expect(await server.api.drop({ id, all: true })).toEqual({ dropped: 1 });
  expect(await read()).toMatchObject({ deadLetters: 0 });
});

test('[O5] a webhook with 1,000 dead letters pauses, and loses nothing', async () => {
  await using server = await openWithWebhooks({ webhookRetries: { ...retries, maxRefusals: 1 } });
  await using receiver = await Receiver.open(() => 400);
  const { webhook } = await webhookTo(server.api, receiver);
  for (let part = 0; part < 3; part++) {
    const runs = Array.from({ length: 400 }, (_, run) => created(`r${part}-${run}`));
    await server.bus.publish(runs, { actor: 'ci' });
  }
  const read = async () => (await server.api.get({ id: webhook.id })).webhook;
  const full = await eventually(read, ({ state }) => state === 'paused');
  expect(full.pausedFor).toBe('dead_letters');
  expect(full.deadLetters).toBeGreaterThanOrEqual(1_000);
  expect(full.deadLetters).toBeLessThan(1_020);
  receiver.behaviour = () => 200;
  await server.api.redeliver({ id: webhook.id, all: true });
  await server.api.resume({ id: webhook.id });
  await receiver.untilTaken(1_200);
});

test('[O8] a delivered event is sent again under its id, and one that the filter excludes is not', async () => {
  await using server = await openWithWebhooks();
  await using receiver = await Receiver.open();
  const { webhook } = await webhookTo(server.api, receiver, { filter: { types: ['run.created'] } });
  await server.bus.publish([created('r1'), progress('r1', 1)], { actor: 'ci' });
  await receiver.untilTaken(1);
  await server.api.redeliver({ id: webhook.id, seq: 1 });
  await receiver.until(() => receiver.taken.length === 2);
  expect(new Set(receiver.takenIds).size).toBe(1);
  await expect(server.api.redeliver({ id: webhook.id, seq: 2 })).rejects.toThrow('the webhook does not send it');
  await expect(server.api.redeliver({ id: webhook.id, seq: 9 })).rejects.toThrow('no such event');
});
