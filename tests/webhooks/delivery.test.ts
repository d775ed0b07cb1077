import { expect, test } from 'vitest';
import { created, progress } from '../support/harness.ts';
import { eventually, openWithWebhooks, quick, Receiver, takenByRun, verify, webhookTo } from './kit.ts';

test('[O1] an event is sent as JSON of Standard Webhooks, with a signature that the library accepts', async () => {
  await using server = await openWithWebhooks();
  await using receiver = await Receiver.open();
  const { webhook, secret } = await webhookTo(server.api, receiver);
  const { seq } = await server.bus.publish([created('r1')], { actor: 'ci' });
  await receiver.untilTaken(1);
  const [message] = receiver.received as [(typeof receiver.received)[0]];
  expect(verify(message, secret)).toEqual(message.body);
  expect(() => verify({ ...message, text: `${message.text} ` }, secret)).toThrow();
  expect(message.headers['content-type']).toBe('application/json');
  const { records } = await server.log.read({ scope: { kind: 'all' }, after: seq - 1, limit: 1 });
  const { timestamp } = message.body.data;
  expect(message.body).toEqual({ type: 'run.created', timestamp, data: JSON.parse(records[0]?.json ?? '') });
  const read = async () => (await server.api.get({ id: webhook.id })).webhook;
  await eventually(read, ({ position }) => position === seq);
  expect(await read()).toMatchObject({ state: 'delivering', behind: 0, retries: 0, lastSuccessAt: expect.any(String) });
});

test('[O1] the id of a message is the same at each try, in a replay, and differs between webhooks', async () => {
  await using server = await openWithWebhooks();
  await using receiver = await Receiver.open((_message, _response, earlier) => (earlier === 0 ? 503 : 204));
  await using other = await Receiver.open();
  const { webhook } = await webhookTo(server.api, receiver);
  await webhookTo(server.api, other);
  await server.bus.publish([created('r1'), created('r2')], { actor: 'ci' });
  await receiver.untilTaken(2);
  await other.untilTaken(2);
  expect(receiver.received).toHaveLength(4);
  const ids = new Set(receiver.takenIds);
  expect(new Set(receiver.received.map(({ id }) => id))).toEqual(ids);
  expect(other.takenIds.filter((id) => ids.has(id))).toEqual([]);
  await server.api.replay({ id: webhook.id, fromSeq: 1 });
  await receiver.until(() => receiver.taken.length === 4);
  expect(new Set(receiver.takenIds)).toEqual(ids);
});

test('[O3] the events of a run arrive in order while a receiver fails 30 % of the tries', async () => {
  await using server = await openWithWebhooks();
  let count = 0;
  await using receiver = await Receiver.open(() => (count++ % 10 < 3 ? 500 : 200));
  await webhookTo(server.api, receiver);
  for (let step = 0; step < 10; step++) {
    const runs = Array.from({ length: 10 }, (_, run) => (step === 0 ? created(`r${run}`) : progress(`r${run}`, step)));
    await server.bus.publish(runs, { actor: 'ci' });
  }
  await receiver.untilTaken(100);
  const byRun = takenByRun(receiver);
  expect(byRun.size).toBe(10);
  for (const order of byRun.values()) expect(order).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  expect(receiver.received.length).toBeGreaterThan(100);
});

test('[O3] a delivery that is tried again holds back its run, and no other run of the webhook', async () => {
  await using server = await openWithWebhooks({ webhookRetries: { ...quick, maxRefusals: 1_000_000 } });
  let isStuck = true;
  await using receiver = await Receiver.open(({ body }) => (isStuck && body.data.runId === 'stuck' ? 422 : 200));
  await webhookTo(server.api, receiver);
  await server.bus.publish([created('stuck'), progress('stuck', 1), created('free')], { actor: 'ci' });
  for (let step = 1; step < 20; step++) await server.bus.publish([progress('free', step)], { actor: 'ci' });
  await receiver.untilTaken(20);
  expect(receiver.received.filter(({ body }) => body.data.runId === 'stuck' && body.data.runSeq > 1)).toEqual([]);
  isStuck = false;
  await receiver.untilTaken(22);
  expect(takenByRun(receiver).get('stuck')).toEqual([1, 2]);
});

test('[O6] a dead, a hanging and a slow receiver delay the others by nothing', async () => {
  await using server = await openWithWebhooks({ webhookRetries: { ...quick, timeoutMs: 2_000 } });
  await using dead = await Receiver.open();
  await dead.stop();
  await using hanging = await Receiver.open(() => undefined);
  await using refusing = await Receiver.open(() => 500);
  await using healthy = await Receiver.open();
  for (const receiver of [dead, hanging, refusing, healthy]) await webhookTo(server.api, receiver);
  for (let run = 0; run < 50; run++) await server.bus.publish([created(`r${run}`)], { actor: 'ci' });
  await healthy.untilTaken(50);
  expect(healthy.received).toHaveLength(50);
  // While every try fails, one delivery at a time is tried: far fewer than wait.
  expect(hanging.received.length).toBeLessThan(50);
  const { webhooks } = await server.api.list();
  await eventually(
    async () => (await server.api.list()).webhooks.map(({ state }) => state),
    (states) => states.join() === 'failing,failing,failing,delivering',
  );
  expect(webhooks).toHaveLength(4);
});

test('[O4] a receiver that was away gets everything once it is back, in order', async () => {
  await using server = await openWithWebhooks();
  await using receiver = await Receiver.open();
  const { webhook } = await webhookTo(server.api, receiver);
  await receiver.stop();
  for (let step = 0; step < 30; step++) {
    await server.bus.publish([step === 0 ? created('r1') : progress('r1', step), created(`s${step}`)], { actor: 'ci' });
  }
  const read = async () => (await server.api.get({ id: webhook.id })).webhook;
  const away = await eventually(read, ({ state }) => state === 'failing');
  expect(away).toMatchObject({ failure: { reason: 'connection' }, deadLetters: 0 });
  expect(away.behind).toBe(60);
  expect(away.oldestWaitingAt).toBeDefined();
  await receiver.start();
  await receiver.untilTaken(60);
  expect(takenByRun(receiver).get('r1')).toEqual(Array.from({ length: 30 }, (_, index) => index + 1));
  expect(await eventually(read, ({ behind }) => behind === 0)).toMatchObject({ state: 'delivering', retries: 0 });
});

test('[O4] a message that is taken after it was refused releases the others at once', async () => {
  await using server = await openWithWebhooks({ webhookRetries: { ...quick, maxRefusals: 1_000_000 } });
  let isBroken = true;
  await using receiver = await Receiver.open(({ body }, response) => {
    if (!isBroken) return 200;
    response.writeHead(404, body.data.runId === 'late' ? { 'retry-after': '3600' } : {}).end();
    return 'own';
  });
  const { webhook } = await webhookTo(server.api, receiver);
  await server.bus.publish([created('late'), created('soon')], { actor: 'ci' });
  const read = async () => (await server.api.get({ id: webhook.id })).webhook;
  await eventually(read, ({ retries }) => retries === 2);
  isBroken = false;
  await receiver.untilTaken(2);
  expect(await eventually(read, ({ behind }) => behind === 0)).toMatchObject({ state: 'delivering', retries: 0 });
});

test('[O15] [O16] a webhook states what waits and when it is tried next, and `resume` tries it now', async () => {
  const slow = { ...quick, firstMs: 3_600_000, maxMs: 3_600_000 };
  await using server = await openWithWebhooks({ webhookRetries: slow });
  let isBroken = true;
  await using receiver = await Receiver.open(() => (isBroken ? 404 : 200));
  const { webhook } = await webhookTo(server.api, receiver, { filter: { types: ['run.created'] } });
  await server.bus.publish([created('r1'), created('r2'), progress('r1', 1), progress('r1', 2)], { actor: 'ci' });
  const read = async () => (await server.api.get({ id: webhook.id })).webhook;
  const waits = await eventually(read, ({ retries }) => retries === 2);
  expect(waits).toMatchObject({ state: 'retrying', waiting: 2, behind: 4, failure: { status: 404 } });
  expect(Date.parse(waits.nextTryAt ?? '')).toBeGreaterThan(Date.now() + 1_000_000);
  isBroken = false;
  await server.api.resume({ id: webhook.id });
  await receiver.untilTaken(2);
  const done = await eventually(read, ({ behind }) => behind === 0);
  expect(done).toMatchObject({ state: 'delivering', waiting: 0 });
  expect(done.nextTryAt).toBeUndefined();
});

test('[O4] a Retry-After is followed by all deliveries of the webhook', async () => {
  await using server = await openWithWebhooks();
  const at: number[] = [];
  await using receiver = await Receiver.open((_message, response) => {
    at.push(performance.now());
    if (at.length > 1) return 200;
    response.writeHead(429, { 'retry-after': '1' }).end();
    return 'own';
  });
  const { webhook } = await webhookTo(server.api, receiver);
  await server.bus.publish([created('r1')], { actor: 'ci' });
  await eventually(
    async () => (await server.api.get({ id: webhook.id })).webhook,
    ({ state }) => state === 'retrying',
  );
  await server.bus.publish([created('r2')], { actor: 'ci' });
  await receiver.untilTaken(2);
  expect((at[1] as number) - (at[0] as number)).toBeGreaterThan(900);
});

test('[O4] a receiver that does not answer in time, and one that redirects, have not taken the message', async () => {
  await using server = await openWithWebhooks({ webhookRetries: { ...quick, timeoutMs: 2_000 } });
  await using target = await Receiver.open();
  await using receiver = await Receiver.open((_message, response, earlier) => {
    if (earlier === 0) return undefined;
    if (earlier > 1) return 200;
    response.writeHead(302, { location: target.url }).end();
    return 'own';
  });
  const { webhook } = await webhookTo(server.api, receiver);
  await server.bus.publish([created('r1')], { actor: 'ci' });
  await receiver.untilTaken(1);
  const read = async () => (await server.api.deliveries({ id: webhook.id })).deliveries;
  const tries = await eventually(read, ({ length }) => length === 3);
  expect(tries.map(({ attempt, status, failure }) => [attempt, status, failure])).toEqual([
    [3, 200, undefined],
    [2, 302, 'redirect'],
    [1, undefined, 'timeout'],
  ]);
  expect(target.received).toEqual([]);
});

test('[O15] an answer of 410 pauses the webhook, and `resume` continues with the same message', async () => {
  await using server = await openWithWebhooks();
  let isGone = true;
  await using receiver = await Receiver.open(() => (isGone ? 410 : 200));
  const { webhook } = await webhookTo(server.api, receiver);
  const read = async () => (await server.api.get({ id: webhook.id })).webhook;
  await server.bus.publish([created('r1'), created('r2')], { actor: 'ci' });
  expect(await eventually(read, ({ state }) => state === 'paused')).toMatchObject({ pausedFor: 'gone' });
  isGone = false;
  await server.api.resume({ id: webhook.id });
  await eventually(read, ({ behind }) => behind === 0);
  expect(receiver.takenIds).toHaveLength(2);
  await server.api.pause({ id: webhook.id });
  await server.bus.publish([created('r3')], { actor: 'ci' });
  expect(await read()).toMatchObject({ state: 'paused', pausedFor: 'asked', behind: 1 });
  await server.api.resume({ id: webhook.id });
  await receiver.untilTaken(3);
});

test('[O17] of an answer the first 500 characters are kept, and no more than its beginning is read', async () => {
  await using server = await openWithWebhooks();
  let written = 0;
  await using receiver = await Receiver.open((_message, response) => {
    response.writeHead(200);
    const write = (): void => {
      if (response.destroyed || written > 64 * 1024 * 1024) return;
      written += 16_384;
      response.write('é\u0000'.repeat(5_461));
      setImmediate(write);
    };
    write();
    return 'own';
  });
  const { webhook } = await webhookTo(server.api, receiver);
  const result = await server.api.test({ id: webhook.id });
  expect(result).toMatchObject({ status: 200, answer: 'é'.repeat(500) });
  expect(written).toBeLessThan(32 * 1024 * 1024);
});
