import { expect, test } from 'vitest';
import { backupSqliteFile, restoreSqliteFile } from '../../server/event-log/sqlite/backup.ts';
import { created, progress, temporaryFolder } from '../support/harness.ts';
import { eventually, openWithWebhooks, Receiver, webhookTo } from './kit.ts';

const typesOf = (receiver: Receiver) => receiver.taken.map(({ body }) => body.type as string);
const gapsOf = (receiver: Receiver) =>
  receiver.taken.filter(({ body }) => (body.type as string) === 'stream.gap').map(({ body }) => body.data as object);

test('[O9] events that retention removes before they are sent are a gap, in the list and for the receiver', async () => {
  await using server = await openWithWebhooks();
  await using receiver = await Receiver.open();
  const { webhook } = await webhookTo(server.api, receiver);
  const { id } = webhook;
  await receiver.stop();
  await server.bus.publish([created('r1'), progress('r1', 1)], { actor: 'ci' });
  await server.api.pause({ id });
  await server.bus.publish([progress('r1', 2)], { actor: 'ci' });
  await new Promise((resolve) => setTimeout(resolve, 5));
  const before = Date.now();
  await server.bus.publish([created('r2')], { actor: 'ci' });
  await server.log.trim(before);
  expect(server.log.oldest).toBe(4);
  await receiver.start();
  await server.api.resume({ id });
  await receiver.untilTaken(2);
  expect(typesOf(receiver).toSorted()).toEqual(['run.created', 'stream.gap']);
  expect(gapsOf(receiver)).toEqual([{ reason: 'expired', fromSeq: 1, toSeq: 3 }]);
  expect((await server.api.get({ id })).webhook.gap).toMatchObject({ reason: 'expired', fromSeq: 1, toSeq: 3 });
});

test('[O9] a restored log is a gap, and its webhook goes on where the backup has it, under the same ids', async () => {
  using folder = temporaryFolder();
  const databaseUrl = `file:${folder.path}/a/runwire.db`;
  await using receiver = await Receiver.open();
  let kept: string[];
  {
    await using server = await openWithWebhooks({ databaseUrl });
    const { webhook } = await webhookTo(server.api, receiver);
    await server.api.pause({ id: webhook.id });
    await server.bus.publish([created('r1'), created('r2')], { actor: 'ci' });
    backupSqliteFile(`${folder.path}/a/runwire.db`, `${folder.path}/backup.db`);
    await server.api.resume({ id: webhook.id });
    await receiver.untilTaken(2);
    kept = receiver.takenIds;
  }
  restoreSqliteFile(`${folder.path}/backup.db`, `${folder.path}/b/runwire.db`);
  await using server = await openWithWebhooks({ databaseUrl: `file:${folder.path}/b/runwire.db` });
  const [webhook] = (await server.api.list()).webhooks;
  await server.api.resume({ id: (webhook as { id: string }).id });
  await receiver.until(() => receiver.taken.length === 5);
  expect(gapsOf(receiver)).toEqual([{ reason: 'epoch_changed', fromSeq: 1, toSeq: 2 }]);
  expect(new Set(receiver.takenIds.filter((id) => kept.includes(id))).size).toBe(2);
  expect(new Set(receiver.takenIds).size).toBe(3);
});

test('[O10] an event that is erased while it waits, and in a replay, is sent as its tombstone', async () => {
  await using server = await openWithWebhooks();
  await using receiver = await Receiver.open();
  const { webhook } = await webhookTo(server.api, receiver);
  const { id } = webhook;
  await server.bus.publish([created('r1', { name: 'first name' })], { actor: 'ci' });
  await receiver.untilTaken(1);
  await receiver.stop();
  await server.bus.publish([created('r2', { name: 'second name' })], { actor: 'ci' });
  await eventually(
    async () => (await server.api.get({ id })).webhook,
    ({ retries }) => retries === 1,
  );
  const { audit } = server.router.createCaller({ principal: { sub: 'ada', projects: ['*'], roles: ['admin'] } });
  for (const seq of [1, 2]) await audit.erase({ seq, reason: 'asked for' });
  const before = receiver.received.length;
  await receiver.start();
  await receiver.untilTaken(2);
  await server.api.replay({ id, fromSeq: 1 });
  await receiver.until(() => receiver.taken.length === 4);
  const after = receiver.received.slice(before);
  expect(after.every(({ body }) => (body.data as { erased?: boolean }).erased)).toBe(true);
  expect(after.map(({ text }) => text).join()).not.toMatch(/first name|second name/);
  expect(new Set(receiver.takenIds).size).toBe(2);
});

test('[O10] the answer of a receiver is kept redacted', async () => {
  await using server = await openWithWebhooks();
  await using receiver = await Receiver.open((_message, response) => {
    response.writeHead(200).end('patient SSN 123-45-6789 and token ghp_abcdefghijklmnopqrstuvwxyz0123456789');
    return 'own';
  });
  const { webhook } = await webhookTo(server.api, receiver);
  const { id } = webhook;
  expect((await server.api.test({ id })).answer).not.toMatch(/6789/);
  await server.bus.publish([created('r1')], { actor: 'ci' });
  const { deliveries } = await eventually(
    () => server.api.deliveries({ id }),
    (page) => page.deliveries.length > 0,
  );
  const { delivery } = await server.api.delivery({ id, deliveryId: (deliveries[0] as { id: number }).id });
  expect(delivery.answer).toContain('patient SSN');
  expect(delivery.answer).not.toMatch(/6789/);
});
