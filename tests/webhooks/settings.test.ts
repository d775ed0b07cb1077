import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { WebhookAddresses } from '../../server/webhooks/addresses.ts';
import { WebhookSender } from '../../server/webhooks/sender.ts';
import { created, openServer, progress } from '../support/harness.ts';
import { eventually, openWithWebhooks, Receiver, verify, webhookTo } from './kit.ts';

const https = { name: 'One', url: 'https://hooks.example.org/in', filter: {} };

test('[O7] types or categories, labels and projects must match, and a webhook sends events of its projects alone', async () => {
  await using server = await openWithWebhooks();
  await using all = await Receiver.open();
  await using some = await Receiver.open();
  await webhookTo(server.api, all);
  const filter = { projects: ['demo'], types: ['run.failed'], categories: ['artifact'], labels: { team: 'ml' } };
  await webhookTo(server.api, some, { filter });
  const failed = (runId: string, projectId = 'demo') => ({
    ...{ type: 'run.failed' as const, projectId, runId, error: { message: 'no' } },
  });
  const artifact = { type: 'artifact.created' as const, projectId: 'demo', runId: 'r1', artifactId: 'a', name: 'A' };
  await server.bus.publish(
    [
      ...[created('r1', { labels: { team: 'ml', x: 'y' } }), progress('r1', 1), artifact, failed('r1')],
      ...[created('r2', { labels: { team: 'web' } }), failed('r2'), created('r3'), failed('r3')],
      { ...created('r4', { labels: { team: 'ml' } }), projectId: 'other' },
      failed('r4', 'other'),
    ],
    { actor: 'ci' },
  );
  await all.untilTaken(10);
  await some.untilTaken(2);
  const { webhooks } = await eventually(
    () => server.api.list(),
    (list) => list.webhooks.every(({ behind }) => behind === 0),
  );
  expect(webhooks.map(({ position }) => position)).toEqual([10, 10]);
  expect(some.taken.map(({ body }) => [body.data.runId, body.type])).toEqual([
    ['r1', 'artifact.created'],
    ['r1', 'run.failed'],
  ]);
});

test('[O7] a delivery that waits is not sent once its project or its label has left the filter', async () => {
  await using server = await openWithWebhooks();
  await using receiver = await Receiver.open();
  const { webhook } = await webhookTo(server.api, receiver);
  const { id } = webhook;
  await receiver.stop();
  const labels = { team: 'ml' };
  const other = (runId: string, more: object) => ({ ...created(runId, more), projectId: 'other' });
  const drafts = [created('r1', { labels }), other('r2', { labels: { team: 'web' } }), other('r3', { labels })];
  await server.bus.publish(drafts, { actor: 'ci' });
  await eventually(
    async () => (await server.api.get({ id })).webhook,
    ({ state }) => state !== 'delivering',
  );
  await server.api.update({ id, filter: { projects: ['other'], labels } });
  await receiver.start();
  await receiver.untilTaken(1);
  await eventually(
    async () => (await server.api.get({ id })).webhook,
    ({ behind }) => behind === 0,
  );
  expect(receiver.taken.map(({ body }) => body.data.runId)).toEqual(['r3']);
});

test('[O7] a label that no run can have is refused, and never left out of the filter', async () => {
  await using server = await openWithWebhooks();
  const filter = { labels: JSON.parse('{"__proto__":"ml"}') };
  await expect(server.api.create({ ...https, filter })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  await expect(server.api.preview({ filter })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
});

test('[O8] a webhook begins with the next event, or at a position; a preview counts what a filter matches', async () => {
  await using server = await openWithWebhooks();
  await using fresh = await Receiver.open();
  await using early = await Receiver.open();
  for (let run = 1; run <= 5; run++)
    await server.bus.publish([created(`r${run}`), progress(`r${run}`, 1)], { actor: 'ci' });
  const filter = { types: ['run.created' as const] };
  expect(await server.api.preview({ filter })).toMatchObject({ count: 5, isComplete: true, latest: { seq: 9 } });
  expect(await server.api.preview({ filter, fromSeq: 4 })).toMatchObject({ count: 3 });
  expect(await server.api.preview({ filter: { projects: ['none'] } })).toEqual({ count: 0, isComplete: true });
  await webhookTo(server.api, fresh, { filter });
  await webhookTo(server.api, early, { filter, fromSeq: 4 });
  await expect(webhookTo(server.api, early, { fromSeq: 99 })).rejects.toThrow('beyond the end');
  await early.untilTaken(3);
  expect(early.taken.map(({ body }) => body.data.runId)).toEqual(['r3', 'r4', 'r5']);
  await server.bus.publish([created('r6')], { actor: 'ci' });
  await fresh.untilTaken(1);
  expect(fresh.taken[0]?.body.data.runId).toBe('r6');
});

test('[O12] a secret is returned once, and no answer of the API or line of the log has it again', async () => {
  await using server = await openWithWebhooks();
  await using receiver = await Receiver.open();
  const { webhook, secret } = await webhookTo(server.api, receiver);
  const { id } = webhook;
  expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
  await server.bus.publish([created('r1')], { actor: 'ci' });
  await receiver.untilTaken(1);
  const { deliveries } = await eventually(
    () => server.api.deliveries({ id }),
    (page) => page.deliveries.length === 1,
  );
  const detail = await server.api.delivery({ id, deliveryId: (deliveries[0] as { id: number }).id });
  expect(detail.delivery).toMatchObject({ body: receiver.received[0]?.text, answer: '', status: 204 });
  expect(detail.delivery.headers['webhook-signature']).toBe('v1,…');
  const answers = [await server.api.list(), await server.api.get({ id }), deliveries, detail];
  const key = secret.slice('whsec_'.length);
  expect(JSON.stringify(answers)).not.toContain(key);
});

test('[O12] after a rotation the new secret and for 24 h the former one verify a message', async () => {
  await using server = await openWithWebhooks();
  await using receiver = await Receiver.open();
  const { webhook, secret } = await webhookTo(server.api, receiver);
  const { id } = webhook;
  const rotated = await server.api.rotateSecret({ id });
  expect(Date.parse(rotated.validUntil) - Date.now()).toBeGreaterThan(23 * 3_600_000);
  await server.bus.publish([created('r1')], { actor: 'ci' });
  await receiver.untilTaken(1);
  const [message] = receiver.received as [(typeof receiver.received)[0]];
  for (const each of [secret, rotated.secret]) expect(verify(message, each)).toEqual(message.body);
  const [loaded] = await server.log.webhooks.load();
  const record = loaded?.record as NonNullable<typeof loaded>['record'];
  expect(record.secrets.map(({ secret: kept }) => kept)).toEqual([rotated.secret, secret]);
  for (let n = 0; n < 3; n++) await server.api.rotateSecret({ id });
  await expect(server.api.rotateSecret({ id })).rejects.toThrow('at most 5 secrets');
});

test('[O12] a replaced secret signs no more after 24 h', async () => {
  const { secretsOf } = await import('../../server/webhooks/sender.ts');
  const at = '2026-01-01T00:00:00.000Z';
  const secrets = [
    { secret: 'new', createdAt: at },
    { secret: 'old', createdAt: at, validUntil: at },
  ];
  const record = { ...{ id: 'a', createdAt: at, createdBy: 'ada', updatedAt: at }, settings: {} as never, secrets };
  expect(secretsOf(record, Date.parse(at) - 1)).toEqual(['new', 'old']);
  expect(secretsOf(record, Date.parse(at))).toEqual(['new']);
});

test('[O14] an administrator of some projects has the webhooks of these projects, and no others', async () => {
  await using server = await openServer();
  const admin = (projects: string[]) =>
    server.router.createCaller({ principal: { sub: 'bo', projects, roles: ['admin'] } }).webhook;
  const viewer = server.router.createCaller({ principal: { sub: 'vi', projects: ['*'], roles: ['viewer'] } }).webhook;
  const { webhook } = await admin(['*']).create({ ...https, filter: { projects: ['a', 'b'] } });
  const { id } = webhook;
  await expect(admin(['a']).create(https)).rejects.toThrow('does not cover the projects');
  await expect(admin(['a']).create({ ...https, filter: { projects: ['b'] } })).rejects.toThrow('does not cover');
  await expect(admin(['a']).preview({ filter: {} })).rejects.toThrow('does not cover');
  for (const call of [admin(['a']).get({ id }), admin(['a']).delete({ id }), admin(['a']).rotateSecret({ id })]) {
    await expect(call).rejects.toThrow('no such webhook');
  }
  expect((await admin(['a']).list()).webhooks).toEqual([]);
  expect((await admin(['a', 'b']).list()).webhooks).toHaveLength(1);
  await expect(admin(['a', 'b']).update({ id, filter: {} })).rejects.toThrow('does not cover');
  for (const call of [
    viewer.list(),
    viewer.create(https),
    viewer.get({ id }),
    viewer.test({ url: https.url, shape: 'json' }),
  ]) {
    await expect(call).rejects.toThrow('not allowed: webhooks');
  }
  await admin(['b', 'a']).delete({ id });
  expect((await admin(['*']).list()).webhooks).toEqual([]);
});

test('[O14] after a filter has lost a project, administrators of the others do not see its deliveries', async () => {
  await using server = await openWithWebhooks();
  await using receiver = await Receiver.open(() => 404);
  const filter = { projects: ['demo', 'other'] };
  const { webhook } = await webhookTo(server.api, receiver, { filter });
  const { id } = webhook;
  await server.bus.publish([created('r1'), { ...created('r2'), projectId: 'other' }], { actor: 'ci' });
  await eventually(
    async () => (await server.api.get({ id })).webhook,
    ({ deadLetters }) => deadLetters === 2,
  );
  await server.api.update({ id, filter: { projects: ['demo'] } });
  const bo = server.router.createCaller({ principal: { sub: 'bo', projects: ['demo'], roles: ['admin'] } }).webhook;
  for (const [api, projects] of [
    [bo, ['demo']],
    [server.api, ['demo', 'other']],
  ] as const) {
    const { deliveries } = await api.deliveries({ id, limit: 100 });
    expect([...new Set(deliveries.map(({ projectId }) => projectId))].sort()).toEqual(projects);
    const { deadLetters } = await api.deadLetters({ id });
    expect(deadLetters.map(({ projectId }) => projectId).sort()).toEqual(projects);
  }
  const { deliveries } = await server.api.deliveries({ id, limit: 100 });
  const hidden = deliveries.find(({ projectId }) => projectId === 'other');
  await expect(bo.delivery({ id, deliveryId: hidden?.id as number })).rejects.toThrow('no such delivery');
});

test('[O14] changes at the same time keep each other, the limit of 50 and the rights of each caller', async () => {
  await using server = await openServer();
  const admin = (projects: string[]) =>
    server.router.createCaller({ principal: { sub: 'bo', projects, roles: ['admin'] } }).webhook;
  const all = admin(['*']);
  const creations = Array.from({ length: 55 }, () => all.create({ ...https, filter: { projects: ['a'] } }));
  const results = await Promise.allSettled(creations);
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(50);
  const { id } = (await all.list()).webhooks[0] as { id: string };
  const [, renamed] = await Promise.all([
    all.update({ id, filter: { projects: ['a', 'b'] } }),
    all.update({ id, name: 'Two' }),
  ]);
  expect(renamed.webhook).toMatchObject({ name: 'Two', filter: { projects: ['a', 'b'] } });
  await all.update({ id, filter: { projects: ['a'] } });
  const widened = all.update({ id, filter: { projects: ['a', 'b'] } });
  await expect(admin(['a']).update({ id, url: 'https://other.example.org/' })).rejects.toThrow('no such webhook');
  await widened;
  await Promise.all([all.rotateSecret({ id }), all.rotateSecret({ id })]);
  const { webhook } = await all.get({ id });
  expect(webhook).toMatchObject({ url: https.url, filter: { projects: ['a', 'b'] } });
  expect(webhook.secrets).toHaveLength(3);
});

test('[O14] a server has at most 50 webhooks; each change and each failed try is in the access record', async () => {
  await using server = await openWithWebhooks();
  await using receiver = await Receiver.open(() => 500);
  const { webhook } = await webhookTo(server.api, receiver);
  for (let n = 1; n < 50; n++) await server.api.create({ ...https, filter: { types: ['run.failed'] } });
  await expect(server.api.create(https)).rejects.toThrow('at most 50 webhooks');
  await server.bus.publish([created('r1')], { actor: 'ci' });
  await receiver.until(() => receiver.received.length >= 2);
  await server.api.update({ id: webhook.id, name: 'Another' });
  await server.api.pause({ id: webhook.id });
  const { audit } = server.router.createCaller({ principal: { sub: 'ada', projects: ['*'], roles: ['admin'] } });
  const { entries } = await audit.access({ limit: 500 });
  const failed = entries.filter(({ action }) => action === 'webhook.deliver');
  expect(failed[0]).toMatchObject({ sub: 'server', projectId: 'demo', runId: 'r1', outcome: 'UNAVAILABLE' });
  for (const action of ['webhook.create', 'webhook.update', 'webhook.pause']) {
    expect(entries.map((entry) => entry.action)).toContain(action);
  }
  const text = await server.metrics.metrics();
  expect(text).toMatch(/^runwire_webhooks 50$/m);
  expect(text).toMatch(/^runwire_webhook_pending 1$/m);
  expect(text).toMatch(/^runwire_webhook_failures_total [1-9]/m);
});

test('[O11] an address inside the network is refused when it is saved, tested and connected to', async () => {
  await using server = await openServer();
  await using receiver = await Receiver.open();
  const { api } = {
    api: server.router.createCaller({ principal: { sub: 'ada', projects: ['*'], roles: ['admin'] } }).webhook,
  };
  for (const url of [receiver.url, 'https://169.254.169.254/', 'https://[::1]/']) {
    await expect(api.create({ ...https, url })).rejects.toMatchObject({
      cause: { code: 'INVALID_INPUT', path: 'url' },
    });
    await expect(api.test({ url, shape: 'json' })).rejects.toMatchObject({ cause: { path: 'url' } });
  }
  // A name that resolves to the loopback address.
  const send = async (host: string) => {
    const resolver = (_: string, callback: (error: null, found: { address: string; family: number }[]) => void) =>
      callback(null, [{ address: '127.0.0.1', family: 4 }]);
    const sender = new WebhookSender({ addresses: new WebhookAddresses([], resolver), timeoutMs: 10_000 });
    const message = { messageId: 'msg_1', body: '{}', secrets: ['whsec_QQ=='] };
    const url = receiver.url.replace('127.0.0.1', host);
    const answer = await sender.send({ ...message, url }, new AbortController().signal);
    await sender.close();
    return answer.failure;
  };
  expect(await send('rebound.example')).toBe('address_refused');
  expect(await send('127.0.0.1')).toBe('address_refused');
  expect(receiver.received).toEqual([]);
});

test('[O11] behind a proxy, messages go through it, and a name of a refused address does not', async () => {
  const seen: string[] = [];
  const proxy = createServer();
  proxy.on('connect', (request, socket) => {
    seen.push(request.url ?? '');
    socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const { port } = proxy.address() as AddressInfo;
  const resolver = (
    host: string,
    callback: (error: Error | null, found: { address: string; family: number }[]) => void,
  ) =>
    host === 'inner.example'
      ? callback(null, [{ address: '10.0.0.1', family: 4 }])
      : callback(new Error('no such name'), []);
  const addresses = new WebhookAddresses([], resolver);
  const sender = new WebhookSender({ addresses, proxyOf: () => `http://127.0.0.1:${port}`, timeoutMs: 10_000 });
  const message = { messageId: 'msg_1', body: '{}', secrets: ['whsec_QQ=='] };
  const send = (host: string) => sender.send({ ...message, url: `https://${host}/` }, new AbortController().signal);
  expect((await send('inner.example')).failure).toBe('address_refused');
  expect((await send('outer.example')).failure).toBeDefined();
  expect(seen).toEqual(['outer.example:443']);
  await sender.close();
  proxy.close();
});

test('[O13] a request for an approval states the requester, the reason, the quorum and the expiry, with a link to review', async () => {
  await using server = await openWithWebhooks({ publicUrl: 'https://runs.example.org/' });
  await using slack = await Receiver.open();
  await using teams = await Receiver.open();
  const filter = { types: ['governance.required'] };
  await webhookTo(server.api, slack, { shape: 'slack', filter });
  await webhookTo(server.api, teams, { shape: 'teams', filter });
  const request = { title: 'Unblind arm B', reason: 'Safety board', requestedBy: 'rosa', requiredApprovals: 2 };
  await server.bus.publish(
    [
      created('r1'),
      {
        type: 'governance.required',
        projectId: 'demo',
        runId: 'r1',
        approvalId: 'a1',
        ...request,
        expiresAt: '2099-11-26T15:52:00.000Z',
      },
    ],
    { actor: 'ci' },
  );
  await slack.untilTaken(1);
  await teams.untilTaken(1);
  for (const { text } of [...slack.received, ...teams.received]) {
    expect(text).toContain('Approval needed: Unblind arm B');
    expect(text).toContain('Safety board');
    expect(text).toContain('Asked by rosa · needs 2 approvals · expires 2099-11-26 15:52 UTC');
    expect(text).toContain('Review');
    expect(text).not.toContain('Open in Runwire');
  }
});

test('[O13] Slack and Teams get a sentence with a link, and no text of an event is markup there', async () => {
  await using server = await openWithWebhooks({ publicUrl: 'https://runs.example.org/' });
  await using slack = await Receiver.open();
  await using teams = await Receiver.open();
  await webhookTo(server.api, slack, { shape: 'slack', filter: { types: ['run.failed'] } });
  await webhookTo(server.api, teams, { shape: 'teams', filter: { types: ['run.failed'] } });
  const message = '<!channel> *CUDA* <https://evil.example|out> & [memory](https://evil.example)';
  const runId = 'a/b?c#d';
  await server.bus.publish(
    [created(runId, { name: 'Train <b>' }), { type: 'run.failed', projectId: 'demo', runId, error: { message } }],
    { actor: 'ci' },
  );
  await slack.untilTaken(1);
  await teams.untilTaken(1);
  const link = 'https://runs.example.org/runs/demo/a%2Fb%3Fc%23d?event=2';
  const sent = slack.received[0]?.body as unknown as {
    text: string;
    blocks: { text?: { type: string; text: string } }[];
  };
  expect(sent.text).not.toMatch(/[<>]/);
  expect(sent.text).toContain('Run failed');
  const markup = sent.blocks.filter(({ text }) => text?.type === 'mrkdwn').map(({ text }) => text?.text);
  expect(markup).toEqual([`<${link}|Open in Runwire>`]);
  expect(sent.blocks.some(({ text }) => text?.type === 'plain_text' && text.text === message)).toBe(true);
  const card = JSON.stringify(teams.received[0]?.body);
  expect(card).toContain(`"url":"${link}"`);
  expect(card).toContain('"type":"AdaptiveCard"');
  expect(card).not.toContain('"TextBlock"');
  expect(card).toContain(JSON.stringify(message));
});
