import { skipToken } from '@tanstack/react-query';
import { expect, onTestFinished, test, vi } from 'vitest';
import { createRunwireClient } from '../../client/index.ts';
import { type UseApprovalsOptions, type UseApprovalsReturn, useApprovals } from '../../client/react/index.ts';
import { mount, until, watchRequests, watchSubscriptions } from './mount.tsx';
import { draft, openServer, type TestServer } from './servers.ts';

const use = (options: UseApprovalsOptions | typeof skipToken) => useApprovals(options);
type Hook = { result: { current: UseApprovalsReturn } };
const isLive = (hook: Hook) =>
  until(() => expect(hook.result.current).toMatchObject({ status: 'success', isConnected: true, phase: 'live' }));
const run = { projectId: 'demo', runId: 'r1' };
const idsOf = (hook: Hook) => hook.result.current.approvals.map(({ approvalId }) => approvalId);
const ask = (approvalId: string, more: object = {}) =>
  draft('governance.required', 'r1', { approvalId, title: 'Release', ...more });

/** Requests approvals as another user: the requester may not decide. */
async function otherUser(server: TestServer, sub = 'bob') {
  const { client, connection } = createRunwireClient({ url: server.url, token: await server.tokenOf(sub) });
  onTestFinished(() => connection.close());
  return {
    publish: (...events: Parameters<TestServer['publish']>) => client.event.publish.mutate({ events }),
    grant: (approvalId: string) => client.approval.grant.mutate({ ...run, approvalId }),
    deny: (approvalId: string, reason: string) => client.approval.deny.mutate({ ...run, approvalId, reason }),
  };
}

/** The server's list, in the shape of the hook's. */
const listOf = async (server: TestServer, input: object = {}) =>
  (await server.client.approval.list.query({ status: 'pending', limit: 500, ...input })).approvals;
const shown = (hook: Hook) =>
  hook.result.current.approvals.map(({ grantsGiven: _, deciding: __, ...approval }) => approval);
const agrees = async (hook: Hook, server: TestServer, input: object = {}) =>
  until(async () => expect(shown(hook)).toEqual(await listOf(server, input)));

test('[H25] the inbox follows requests, decisions, expiries and the end of runs of all projects', async () => {
  const server = await openServer();
  const bob = await otherUser(server);
  await bob.publish(ask('a1', { requiredApprovals: 2 }), ask('a2', { projectId: 'another' }));
  const hook = await mount(server, { props: {}, use });
  expect(hook.result.current).toMatchObject({ status: 'pending', approvals: [] });
  await isLive(hook);
  expect(idsOf(hook)).toEqual(['a2', 'a1']);
  expect(hook.result.current.approvals[1]).toMatchObject({ canDecide: true, grantsGiven: 0, requiredApprovals: 2 });
  const [untouched] = hook.result.current.approvals;

  await bob.publish(ask('a3', { expiresAt: new Date(Date.now() + 500).toISOString() }));
  await until(() => expect(idsOf(hook)).toEqual(['a3', 'a2', 'a1']));
  await until(() => expect(idsOf(hook)).toEqual(['a2', 'a1'])); // a3 has expired.
  expect(hook.result.current.approvals[0]).toBe(untouched);
  await (await otherUser(server, 'cy')).grant('a1');
  await until(() => expect(hook.result.current.approvals[1]).toMatchObject({ grantsGiven: 1, canDecide: true }));
  await agrees(hook, server);
  await bob.publish(draft('run.completed', 'r1', {}));
  await until(() => expect(idsOf(hook)).toEqual(['a2']));
  await agrees(hook, server);
});

test('[H25] [H40] in the box mine an approval leaves when the user has granted, and a project or a status narrows the list', async () => {
  const server = await openServer();
  const bob = await otherUser(server);
  await bob.publish(
    ask('a1', { requiredApprovals: 2 }),
    ask('a2', { approvers: ['cy'] }),
    ask('a3', { projectId: 'p2' }),
  );
  const mine = await mount(server, { props: { box: 'mine' as const, projectId: 'demo' }, use });
  const decided = await mount(server, { props: { status: ['granted', 'denied'] as const }, use });
  await isLive(mine);
  await isLive(decided);
  expect(idsOf(mine)).toEqual(['a1']);
  await mine.result.current.decide({ projectId: 'demo', runId: 'r1', approvalId: 'a1' }, { decision: 'granted' });
  await until(() => expect(idsOf(mine)).toEqual([]));
  expect(idsOf(decided)).toEqual([]);
  await (await otherUser(server, 'cy')).grant('a1');
  await until(() => expect(idsOf(decided)).toEqual(['a1']));
  expect(decided.result.current.approvals[0]).toMatchObject({ status: 'granted', grantsGiven: 2, canDecide: false });
});

test('[H26] a decision is shown before the answer, and stays', async () => {
  const server = await openServer();
  await (await otherUser(server)).publish(ask('a1'));
  const hook = await mount(server, { props: { status: ['pending', 'granted'] as const }, use });
  await isLive(hook);
  const requests = watchRequests('approval.grant');
  const release = requests.hold();
  const [approval] = hook.result.current.approvals;
  if (!approval) throw new Error('no approval');
  const decided = hook.result.current.decide(approval, { decision: 'granted', comment: 'checked' });
  await until(() => expect(hook.result.current.approvals[0]?.deciding).toBe('granted'));
  release();
  await decided;
  await until(() =>
    expect(hook.result.current.approvals[0]).toMatchObject({
      deciding: undefined,
      status: 'granted',
      canDecide: false,
      decisions: [{ comment: 'checked' }],
    }),
  );
  await agrees(hook, server, { status: ['pending', 'granted'] });
});

test('[H26] a decision that comes second is refused with the outcome, and the list shows the first one', async () => {
  const server = await openServer();
  const bob = await otherUser(server, 'cy');
  await (await otherUser(server)).publish(ask('a1'));
  const hook = await mount(server, { props: { status: ['pending', 'denied'] as const }, use });
  await isLive(hook);
  const [approval] = hook.result.current.approvals;
  if (!approval) throw new Error('no approval');
  await bob.deny('a1', 'not ready');
  await expect(hook.result.current.decide(approval, { decision: 'granted' })).rejects.toMatchObject({
    name: 'RunwireError',
    code: 'APPROVAL_ALREADY_DECIDED',
    outcome: { status: 'denied', decidedBy: ['cy'] },
  });
  await until(() => expect(hook.result.current.approvals[0]).toMatchObject({ status: 'denied', deciding: undefined }));
});

test('[H25] the inbox is complete after a cut, a gap, and many changes at once', async () => {
  const server = await openServer();
  const bob = await otherUser(server);
  await bob.publish(ask('a0'));
  const hook = await mount(server, { props: {}, use });
  await isLive(hook);
  const requests = watchRequests('approval');
  await server.cut();
  await bob.publish(...Array.from({ length: 60 }, (_, index) => ask(`b${index}`)));
  await until(() => expect(idsOf(hook)).toContain('b59'));
  await agrees(hook, server, { limit: 50 });
  expect(requests.count).toBeLessThan(40); // One request per approval would be 60.

  await server.away();
  await server.publishInside(ask('c1'), ask('c2'));
  await server.trim();
  await server.back();
  await until(() => expect(hook.result.current.gap).toMatchObject({ reason: 'expired' }));
  await isLive(hook);
  await agrees(hook, server, { limit: 50 });

  await server.replace();
  await until(() => expect(hook.result.current.gap).toMatchObject({ reason: 'epoch_changed' }));
  await until(() => expect(hook.result.current).toMatchObject({ approvals: [], phase: 'live' }));
});

test('[H25] pages follow each other, and skipToken and enabled: false send nothing', async () => {
  const server = await openServer();
  const bob = await otherUser(server);
  await bob.publish(...Array.from({ length: 5 }, (_, index) => ask(`a${index}`)));
  const paths = watchSubscriptions();
  const requests = watchRequests('approval.list');
  for (const props of [skipToken, { enabled: false }] as const) {
    const idle = await mount(server, { props, use: use as (options: typeof props) => UseApprovalsReturn });
    expect(idle.result.current).toMatchObject({ status: 'pending', connectionState: 'idle', approvals: [] });
  }
  expect([paths.length, requests.count]).toEqual([0, 0]);
  const hook = await mount(server, { props: { limit: 2 } as UseApprovalsOptions, use });
  await isLive(hook);
  expect(hook.result.current.hasNextPage).toBe(true);
  await hook.result.current.fetchNextPage();
  await until(() => expect(idsOf(hook)).toEqual(['a4', 'a3', 'a2', 'a1']));
  await (await otherUser(server, 'cy')).deny('a3', 'no');
  await until(() => expect(idsOf(hook)).toEqual(['a4', 'a2', 'a1']));
  await hook.result.current.fetchNextPage();
  await until(() => expect(idsOf(hook)).toEqual(['a4', 'a2', 'a1', 'a0']));
  const idle = { connectionState: 'idle', isConnected: false, phase: 'replaying', error: null };
  await hook.rerender({ limit: 2, enabled: false });
  expect(hook.result.current).toMatchObject({ ...idle, status: 'success' });
  await until(async () => expect(await server.stats()).toMatchObject({ subscriptions: 0 }));
  expect(hook.result.current).toMatchObject(idle);
});

test('[H25] a change is not lost if its answer arrives while the next page is loading', async () => {
  const server = await openServer();
  const [bob, cy] = [await otherUser(server), await otherUser(server, 'cy')];
  await bob.publish(...Array.from({ length: 3 }, (_, index) => ask(`a${index}`, { requiredApprovals: 2 })));
  const hook = await mount(server, { props: { limit: 2 }, use });
  await isLive(hook);
  const single = watchRequests('approval.get');
  const answer = single.hold();
  await cy.grant('a2');
  await until(() => expect(single.answered).toBe(1));
  const list = watchRequests('approval.list');
  const page = list.hold();
  const next = hook.result.current.fetchNextPage();
  await until(() => expect(list.answered).toBe(1));
  answer();
  await until(() => expect(single.answered).toBeGreaterThanOrEqual(1));
  await new Promise((resolve) => requestAnimationFrame(resolve)); // The answer is handled before the page.
  page();
  await next;
  await isLive(hook);
  expect(hook.result.current.approvals[0]).toMatchObject({ approvalId: 'a2', grantsGiven: 1 });
  await agrees(hook, server);
});

test('[H25] a request that follows the last decision of a page at once is listed', async () => {
  const server = await openServer();
  const authority = 'producer';
  await server.publishInside(ask('a1', { authority }), ask('a2', { authority }));
  const hook = await mount(server, { props: { limit: 1 }, use });
  await isLive(hook);
  await server.away();
  await server.publishInside(
    draft('approval.denied', 'r1', { approvalId: 'a2', decidedBy: 'cy', reason: 'not ready' }),
    ask('a3'),
  );
  await server.back();
  await until(() => expect(idsOf(hook)).toContain('a3'));
});

test('[H15] [H26] a component that only decides does not render for changes of the list', async () => {
  const server = await openServer();
  const bob = await otherUser(server);
  await bob.publish(ask('a1'));
  const renders = { decide: 0, granted: 0 };
  const hook = await mount(server, { props: {}, use, isStrict: false });
  const decider = await mount(server, {
    props: {},
    isStrict: false,
    use: () => {
      renders.decide++;
      return useApprovals().decide;
    },
  });
  const granted = await mount(server, {
    props: { status: 'granted' as const, projectId: 'demo' },
    isStrict: false,
    use: (options) => {
      renders.granted++;
      return useApprovals(options).approvals;
    },
  });
  await isLive(hook);
  await bob.publish(ask('a2'), ask('a3'));
  await until(() => expect(idsOf(hook)).toEqual(['a3', 'a2', 'a1']));
  expect(renders.decide).toBe(1);
  const rendersBefore = renders.granted;
  await bob.publish(ask('a4'));
  await until(() => expect(idsOf(hook)).toHaveLength(4));
  expect(renders.granted).toBe(rendersBefore); // Its list has no pending approvals.
  await decider.result.current({ ...run, approvalId: 'a1' }, { decision: 'granted' });
  await until(() => expect(granted.result.current).toHaveLength(1));
  expect(renders.decide).toBe(1);
});

test('[H26] a decision without a network fails at once, and can be repeated', async () => {
  const server = await openServer();
  await (await otherUser(server)).publish(ask('a1'));
  const hook = await mount(server, { props: {}, use });
  await isLive(hook);
  await server.away();
  const decision = hook.result.current.decide({ ...run, approvalId: 'a1' }, { decision: 'granted' });
  await expect(decision).rejects.toMatchObject({ name: 'RunwireError', code: 'UNAVAILABLE' });
  await until(() => expect(hook.result.current.approvals[0]).toMatchObject({ approvalId: 'a1', deciding: undefined }));
  await server.back();
  await isLive(hook);
  await hook.result.current.decide({ ...run, approvalId: 'a1' }, { decision: 'granted' });
  await until(() => expect(idsOf(hook)).toEqual([]));
});

test('[H25] if the request of one approval is refused, the list is fetched again', async () => {
  const server = await openServer();
  const bob = await otherUser(server);
  await bob.publish(ask('a1'));
  const [hook, same] = [await mount(server, { props: {}, use }), await mount(server, { props: {}, use })];
  await isLive(hook);
  await isLive(same);
  const realFetch = window.fetch;
  let refused = 0;
  vi.stubGlobal('fetch', (input: RequestInfo | URL, init?: RequestInit) => {
    if (!String(input).includes('approval.get')) return realFetch(input, init);
    refused++;
    return realFetch(String(input).replace(/input=.*/, 'input=%7B%7D'), init);
  });
  onTestFinished(() => void vi.unstubAllGlobals());
  await bob.publish(ask('a2'));
  for (const each of [hook, same]) await until(() => expect(idsOf(each)).toEqual(['a2', 'a1']));
  await isLive(hook);
  expect(refused).toBeGreaterThan(0);
});
