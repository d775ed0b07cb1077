import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, inject, onTestFinished, test, vi } from 'vitest';
import type { Principal } from '../../server/auth/principal.ts';
import { Sealer } from '../../server/auth/sealer.ts';
import { Sessions } from '../../server/auth/sessions.ts';
import { isSignal } from '../../shared/protocol.ts';
import { created, everyone, isLive, progress, tokenFor, Wire } from '../support/harness.ts';
import type { Node } from '../support/shared-log.ts';
import { callerOf, codeOf, isAvailable, open, publisher, seqsOf, upwards, wireTo } from './open.ts';

/** Three servers in this process, on one log in PostgreSQL. */

describe.skipIf(!isAvailable)('three servers on one log (needs PostgreSQL)', () => {
  test.each(['notify', 'redis', 'none'] as const)(
    '[M41] a client that moves between servers in mid-stream gets every event once, in order: %s',
    async (backplane) => {
      if (backplane === 'redis' && inject('redis') === undefined) return;
      const { urls, nodes } = await open({}, { backplane });
      const publishing = (async () => {
        for (let round = 0; round < 60; round++) {
          const node = nodes[round % 3] as Node;
          await node.bus.publish([progress('r1', round), progress('r2', round)], publisher);
        }
      })();
      const seen: number[] = [];
      let cursor: string | undefined;
      for (let move = 0; seen.length < 120; move++) {
        const wire = await wireTo(urls[move % 3]);
        const stream = wire.subscribe('onEvent', { from: 'start' }, cursor);
        const goal = Math.min(120, seen.length + 25);
        await stream.until((item) => !isSignal(item) && item.seq >= goal);
        expect(stream.items.filter((item) => item.type === 'stream.gap')).toEqual([]);
        seen.push(...seqsOf(stream.items));
        cursor = stream.tracked.at(-1)?.id;
        await wire[Symbol.asyncDispose]();
      }
      await publishing;
      expect(seen.slice(0, 120)).toEqual(upwards(1, 120));
    },
  );

  test('[M42] a revocation on one server closes the sockets of all within a second, and no server takes the token', async () => {
    const { urls, a } = await open();
    const wires = await Promise.all(urls.map((url) => wireTo(url, 'eve')));
    for (const wire of wires) await wire.subscribe('onEvent', {}).until(isLive);
    const bystander = await wireTo(urls[1], 'bob');
    const begun = performance.now();
    await callerOf(a).auth.revoke({ sub: 'eve' });
    const closed = await Promise.all(wires.map(({ closed }) => closed));
    expect(closed.map(({ code }) => code)).toEqual([4403, 4403, 4403]);
    expect(performance.now() - begun).toBeLessThan(20_000); // About a second, on a machine without other work.
    const token = await tokenFor({ sub: 'eve' });
    for (const url of urls) {
      const answer = await fetch(`${url}/trpc/auth.me`, { headers: { authorization: `Bearer ${token}` } });
      expect(answer.status).toBe(401);
    }
    expect(bystander.ws.readyState).toBe(bystander.ws.OPEN);
  });

  test('[M42] a session that begins on one server is known on the next at once, and its end within a second', async () => {
    const { a, b } = await open({}, { count: 2 });
    const openSessions = (node: Node) =>
      Sessions.open(node.log.sessions, new Sealer('a secret of the client', 'sessions'));
    const [here, there] = [await openSessions(a), await openSessions(b)];
    const grant = { user: { sub: 'eve', projects: ['demo'], roles: [] }, lifeMs: 60_000 };
    const credentials = { revoke: async () => undefined, invalidReasonOf: () => undefined } as never;
    const { secret: cookie, session } = await here.begin(grant, credentials);
    expect((await there.find(cookie))?.user.sub).toBe('eve');
    await here.end(session, credentials);
    await expect.poll(() => there.find(cookie)).toBeUndefined();
    expect(await here.find(cookie)).toBeUndefined();
  });

  test('[M43] connections of a user on all servers count for the limit of the user', async () => {
    const { urls } = await open({ limits: { connectionsPerUser: 3 } });
    const first = await wireTo(urls[0], 'eve');
    const second = await wireTo(urls[1], 'eve');
    for (const wire of [first, second, await wireTo(urls[1], 'eve')]) await wire.call('query', 'auth.me');
    const refused = async () => {
      const wire = await Wire.open(urls[2] as string, { token: await tokenFor({ sub: 'eve' }) });
      const outcome = await Promise.race([
        wire.closed.then(({ code }) => code),
        wire.call('query', 'auth.me').then(
          () => 0,
          () => wire.closed.then(({ code }) => code),
        ),
      ]);
      await wire[Symbol.asyncDispose]();
      return outcome;
    };
    await expect.poll(refused).toBe(4429);
    await first[Symbol.asyncDispose]();
    await expect.poll(refused).toBe(0);
    expect((await (await wireTo(urls[2], 'bob')).call('query', 'auth.me')).result).toBeDefined();
  });

  test('[M43] events that a user publishes on one server count on the others', async () => {
    const { a, b } = await open({ limits: { publishedPerSecond: 10 } });
    const drafts = (count: number) => upwards(1, count).map((value) => progress('r1', value));
    await callerOf(a).event.publish({ events: drafts(100) });
    await expect.poll(() => codeOf(callerOf(b).event.publish({ events: drafts(20) }))).toBe('RATE_LIMITED');
    const eve = { ...everyone, sub: 'eve' };
    expect(await codeOf(callerOf(b, eve).event.publish({ events: drafts(20) }))).toBe('ok');
  });

  test('[M44] statistics are of all servers; a client is drained and disconnected at any of them, by an id of its own', async () => {
    const { urls, a, b } = await open();
    const wires = [await wireTo(urls[0], 'eve'), await wireTo(urls[1], 'bob'), await wireTo(urls[2], 'cid')];
    for (const wire of wires) await wire.call('query', 'auth.me');
    await a.bus.publish([created('r1')], publisher);
    const stats = () => callerOf(a).server.stats();
    await expect.poll(async () => (await stats()).clients.map(({ sub }) => sub).sort()).toEqual(['bob', 'cid', 'eve']);
    const { connections, clients, nodes, published } = await stats();
    expect({ connections, nodes: nodes.length, published }).toEqual({ connections: 3, nodes: 3, published: 1 });
    expect(new Set(clients.map(({ id }) => id)).size).toBe(3);
    expect(new Set(clients.map(({ node }) => node)).size).toBe(3);
    const idOf = (sub: string) => clients.find((client) => client.sub === sub)?.id as number;
    expect(await callerOf(b).server.drain({ id: idOf('cid') })).toEqual({ drained: true });
    await wires[2]?.until(() => wires[2]?.texts.some((text) => text.includes('reconnect')) ?? false);
    const mine = { ...everyone, projects: ['mine'] };
    expect(await codeOf(callerOf(b, mine).server.disconnect({ id: idOf('eve') }))).toBe('NOT_FOUND');
    await callerOf(b).server.disconnect({ id: idOf('eve') });
    expect((await wires[0]?.closed)?.code).toBe(4429);
    expect(await codeOf(callerOf(b).server.drain({ id: 7 }))).toBe('NOT_FOUND');
  });

  test('[M45] an approval expires once, and its waiters on every server learn it, also after the server that did it has left', async () => {
    const { a, b, c, nodes } = await open();
    const ask = (approvalId: string, ms: number) => ({
      type: 'governance.required' as const,
      ...{ projectId: 'demo', runId: approvalId, approvalId, title: 'Release' },
      expiresAt: new Date(Date.now() + ms).toISOString(),
    });
    const wait = (node: Node, approvalId: string) =>
      node.approvals.wait({ projectId: 'demo', runId: approvalId, approvalId, requestActor: 'ci' });
    await b.bus.publish([ask('one', 300)], publisher);
    const outcomes = await Promise.all(nodes.map((node) => wait(node, 'one')));
    expect(outcomes.map(({ status }) => status)).toEqual(['expired', 'expired', 'expired']);
    await b.bus.publish([ask('two', 2_000)], publisher);
    await a.close();
    expect((await wait(c, 'two')).status).toBe('expired');
    const { events } = await callerOf(c).event.search({ types: ['approval.denied'], limit: 10 });
    expect(events).toHaveLength(2);
  });

  test('[M50] an approval is open until its `expiresAt` by the clock of the database, whatever the clocks of the nodes', async () => {
    const expiresAt = new Date(Date.now() + 300_000).toISOString();
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 600_000 });
    onTestFinished(() => void vi.useRealTimers());
    const { a, b } = await open({}, { count: 2 });
    const key = { projectId: 'demo', runId: 'r1', approvalId: 'a1' };
    await a.bus.publish([{ type: 'governance.required', ...key, title: 'Release', expiresAt }], publisher);
    const approver: Principal = { sub: 'eve', projects: ['demo'], roles: ['approver'] };
    const { approvals } = await callerOf(b, approver).approval.list({ box: 'mine' });
    expect(approvals).toMatchObject([{ approvalId: 'a1', canDecide: true }]);
    expect(await codeOf(callerOf(b, approver).approval.grant(key))).toBe('ok');
  });

  // More races: RUNWIRE_REPETITIONS=10000 npx vitest run --project cluster tests/cluster/nodes.test.ts -t M46
  const races = Number(process.env.RUNWIRE_REPETITIONS ?? 100);
  const timeout = 60_000 + 200 * races;
  test('[M46] of racing grants and denials over three servers one outcome each', { timeout }, async () => {
    const { nodes, a } = await open();
    // A run has at most 1,000 approvals.
    const keyOf = (at: number) => ({ projectId: 'demo', runId: `r${Math.ceil(at / 100)}`, approvalId: `a${at}` });
    const keys = upwards(1, races).map(keyOf);
    for (let at = 0; at < races; at += 100) {
      const drafts = keys
        .slice(at, at + 100)
        .map((key) => ({ type: 'governance.required' as const, ...key, title: 'Release' }));
      await a.bus.publish(drafts, publisher);
    }
    const approver = (sub: string): Principal => ({ sub, projects: ['demo'], roles: ['approver'] });
    for (const [index, key] of keys.entries()) {
      const on = (shift: number) => callerOf(nodes[(index + shift) % 3] as Node, approver(`user${shift}`)).approval;
      const outcomes = await Promise.all([
        codeOf(on(0).grant(key)),
        codeOf(on(1).deny({ ...key, reason: 'no' })),
        codeOf(on(2).grant(key)),
      ]);
      expect(outcomes.sort()).toEqual(['APPROVAL_ALREADY_DECIDED', 'APPROVAL_ALREADY_DECIDED', 'ok']);
    }
    let decided = 0;
    for (const runId of new Set(keys.map((key) => key.runId))) {
      const { run } = await callerOf(nodes[1] as Node).run.get({ projectId: 'demo', runId });
      for (const { status, decisions } of run.approvals) {
        expect(status).not.toBe('pending');
        expect(decisions).toHaveLength(1);
        decided++;
      }
    }
    expect(decided).toBe(races);
  });

  test('[M47] a checkpoint of the same head is taken once', async () => {
    const { a, b, c } = await open();
    await a.bus.publish([created('r1')], publisher);
    const take = (node: Node) => callerOf(node).audit.checkpoint();
    const taken = await Promise.all([take(a), take(b), take(c)]);
    expect(new Set(taken.map(({ checkpoint }) => JSON.stringify(checkpoint))).size).toBe(1);
    const { seq, hash } = taken[0].checkpoint;
    expect(await callerOf(b).audit.verify({ checkpoints: [{ seq, hash }] })).toMatchObject({ ok: true });
  });

  test('[M49] a server without its Redis is ready, and reports the lost backplane as a warning', async () => {
    const { urls } = await open({ redisUrl: 'redis://:CANARY@127.0.0.1:1' }, { count: 2 });
    const metrics = async () => (await fetch(`${urls[0]}/metrics`)).text();
    await expect.poll(metrics).toContain('runwire_unhealthy{condition="backplane"} 1');
    expect((await fetch(`${urls[0]}/readyz`)).status).toBe(200);
    expect(await metrics()).not.toContain('CANARY');
  });

  test('[M48] a node that loads the webhooks slowly still follows its log', async () => {
    const { a, b, urls } = await open({}, { count: 2 });
    const { load } = b.log.webhooks;
    const loading = new Promise<void>((resolve) => {
      b.log.webhooks.load = () => {
        resolve();
        return new Promise(() => undefined);
      };
    });
    onTestFinished(() => void Object.assign(b.log.webhooks, { load }));
    const filter = { projects: ['demo'] };
    await callerOf(a).webhook.create({ name: 'one', url: 'https://hooks.example.org/', filter } as never);
    await loading;
    await callerOf(a).auth.revoke({ sub: 'eve' });
    const headers = { authorization: `Bearer ${await tokenFor({ sub: 'eve' })}` };
    await expect.poll(async () => (await fetch(`${urls[1]}/trpc/auth.me`, { headers })).status).toBe(401);
    expect(b.log.isCurrent).toBe(true);
  });

  test('[M48] a webhook is managed at any server, and each event is sent once, also when the sending server has left', async () => {
    const received: number[] = [];
    const receiver = createServer((request, response) => {
      let body = '';
      request.on('data', (chunk) => {
        body += chunk;
      });
      request.on('end', () => {
        received.push((JSON.parse(body) as { data: { seq: number } }).data.seq);
        response.writeHead(204).end();
      });
    });
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void receiver.close());
    const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`;
    const { nodes, a, b, c } = await open({ webhookAllow: ['127.0.0.1'] });
    const filter = { projects: ['demo'] };
    const { webhook, secret: key } = await callerOf(b).webhook.create({ name: 'one', url, filter } as never);
    expect(key).toMatch(/^whsec_/);
    for (let round = 0; round < 10; round++)
      await (nodes[round % 3] as Node).bus.publish([progress('r1', round)], publisher);
    await expect.poll(() => [...received].sort((x, y) => x - y)).toEqual(upwards(1, 10));
    for (const node of [a, b, c]) {
      const { webhooks } = await callerOf(node).webhook.list();
      expect(webhooks.map(({ id, name }) => ({ id, name }))).toEqual([{ id: webhook.id, name: 'one' }]);
    }
    const rotated = await callerOf(c).webhook.rotateSecret({ id: webhook.id });
    expect(rotated.secret).toMatch(/^whsec_/);
    expect(rotated.secret).not.toBe(key);
    expect((await callerOf(a).webhook.get({ id: webhook.id })).webhook.secrets).toHaveLength(2);
    await callerOf(c).webhook.pause({ id: webhook.id });
    expect((await callerOf(b).webhook.get({ id: webhook.id })).webhook.state).toBe('paused');
    await callerOf(b).webhook.resume({ id: webhook.id });
    await expect
      .poll(async () => (await callerOf(b).webhook.deliveries({ id: webhook.id, limit: 50 })).deliveries.length)
      .toBe(10);
    await a.close();
    for (let round = 0; round < 10; round++) await b.bus.publish([progress('r1', round)], publisher);
    await expect.poll(() => received.length).toBe(20);
    expect([...received].sort((x, y) => x - y)).toEqual(upwards(1, 20));
    await callerOf(c).webhook.delete({ id: webhook.id });
    expect((await callerOf(b).webhook.list()).webhooks).toEqual([]);
  });
});
