import { skipToken } from '@tanstack/react-query';
import { expect, onTestFinished, test, vi } from 'vitest';
import { createRunwireClient } from '../../client/index.ts';
import {
  type ApprovalKey,
  type UseApprovalReturn,
  type UseApprovalsOptions,
  type UseApprovalsReturn,
  useApproval,
  useApprovals,
  useConnection,
} from '../../client/react/index.ts';
import { mount, until, watchRequests, watchSubscriptions } from './mount.tsx';
import { draft, openServer, type TestServer } from './servers.ts';

type Hook = { result: { current: UseApprovalReturn } };
type ListHook = { result: { current: UseApprovalsReturn } };
const key: ApprovalKey = { projectId: 'demo', runId: 'r1', approvalId: 'a1' };
const use = (of: ApprovalKey | typeof skipToken) => useApproval(of);
const useList = (options: UseApprovalsOptions) => useApprovals(options);
const isLive = (hook: Hook | ListHook) =>
  until(() => expect(hook.result.current).toMatchObject({ status: 'success', isConnected: true, phase: 'live' }));
const ask = (approvalId: string, more: object = {}) =>
  draft('governance.required', 'r1', { approvalId, title: 'Release', ...more });
const report = (more: object = {}) =>
  draft('artifact.created', 'r1', { artifactId: 'report', name: 'report.html', ...more });
const sha = (digit: string) => digit.repeat(64);

async function otherUser(server: TestServer, sub = 'bob') {
  const { client, connection } = createRunwireClient({ url: server.url, token: await server.tokenOf(sub) });
  onTestFinished(() => connection.close());
  return {
    publish: (...events: Parameters<TestServer['publish']>) => client.event.publish.mutate({ events }),
    grant: (approvalId: string) => client.approval.grant.mutate({ ...key, approvalId }),
    deny: (approvalId: string, reason: string) => client.approval.deny.mutate({ ...key, approvalId, reason }),
  };
}

const agrees = (hook: Hook, server: TestServer) =>
  until(async () => {
    const { grantsGiven: _, deciding: __, ...approval } = hook.result.current.approval ?? {};
    expect(approval).toEqual(await server.client.approval.get.query(key));
    expect(hook.result.current.phase).toBe('live');
  });

test('[H42] one approval follows its evidence, its decisions and its expiry, and keeps its outcome', async () => {
  const server = await openServer();
  const [bob, cy] = [await otherUser(server), await otherUser(server, 'cy')];
  await bob.publish(report({ sha256: sha('a') }), ask('a1', { requiredApprovals: 3, evidence: ['report', 'missing'] }));
  const hook = await mount(server, { props: key, use });
  expect(hook.result.current).toMatchObject({ status: 'pending', approval: undefined, seq: null });
  await isLive(hook);
  expect(hook.result.current).toMatchObject({
    approval: { canDecide: true, grantsGiven: 0, artifacts: [{ sha256: sha('a') }] },
    seq: 2,
  });
  const before = hook.result.current.approval;
  await bob.publish(report({ artifactId: 'other' }), ask('a2'));
  await bob.publish(report({ sha256: sha('b') }), report({ artifactId: 'missing' }));
  await until(() => expect(hook.result.current.approval?.artifacts).toHaveLength(2));
  expect(hook.result.current.approval).toMatchObject({ artifacts: [{ sha256: sha('b') }, {}], seq: 6 });
  expect(hook.result.current.approval).not.toBe(before);
  await cy.grant('a1');
  await agrees(hook, server);
  await hook.result.current.decide({ decision: 'granted', seenSeq: hook.result.current.seq ?? 0 });
  await agrees(hook, server);
  expect(hook.result.current.approval).toMatchObject({
    grantsGiven: 2,
    cannotDecide: 'already_approved',
    decisions: [{ decidedBy: 'cy' }, { seenSeq: 7, seenRunSeq: 7 }],
  });
  await bob.publish(draft('run.completed', 'r1', {}));
  await until(() =>
    expect(hook.result.current.approval).toMatchObject({ status: 'expired', cannotDecide: 'run_over' }),
  );
  await agrees(hook, server);
});

test('[H42] a decision about evidence that has changed is refused with the changes, and the shown approval has them', async () => {
  const server = await openServer();
  const bob = await otherUser(server);
  await bob.publish(report({ sha256: sha('a'), sizeBytes: 5 }), ask('a1', { evidence: ['report'] }));
  const hook = await mount(server, { props: key, use });
  await isLive(hook);
  const seenSeq = hook.result.current.seq ?? 0;
  await bob.publish(report({ sha256: sha('b'), sizeBytes: 6 }));
  const refusal = hook.result.current.decide({ decision: 'granted', comment: 'fine', seenSeq });
  await expect(refusal).rejects.toMatchObject({
    name: 'RunwireError',
    code: 'EVIDENCE_CHANGED',
    changes: [
      {
        type: 'artifact',
        artifactId: 'report',
        before: { sha256: sha('a'), sizeBytes: 5 },
        after: { sha256: sha('b'), sizeBytes: 6 },
      },
    ],
  });
  await agrees(hook, server);
  await until(() =>
    expect(hook.result.current).toMatchObject({
      approval: { deciding: undefined, artifacts: [{ sha256: sha('b') }] },
      seq: 3,
    }),
  );
  await hook.result.current.decide({ decision: 'granted', seenSeq: hook.result.current.seq ?? 0 });
  await until(() => expect(hook.result.current.approval?.status).toBe('granted'));
});

test('[H42] while the approval is requested again, seq is not past what is shown', async () => {
  const server = await openServer();
  const bob = await otherUser(server);
  await bob.publish(report({ sha256: sha('a') }), ask('a1', { evidence: ['report'] }));
  const hook = await mount(server, { props: key, use });
  await isLive(hook);
  const requests = watchRequests('approval.get');
  const release = requests.hold();
  await bob.publish(report({ sha256: sha('b') }));
  await until(() => expect(requests.count).toBe(1));
  await until(() => expect(hook.result.current.phase).toBe('replaying'));
  expect(hook.result.current).toMatchObject({ seq: 2, approval: { artifacts: [{ sha256: sha('a') }] } });
  release();
  await isLive(hook);
  expect(hook.result.current).toMatchObject({ seq: 3, approval: { artifacts: [{ sha256: sha('b') }] } });
});

test('[H42] one approval is complete after a cut, a gap and another log, and before it is requested', async () => {
  const server = await openServer();
  const bob = await otherUser(server);
  const hook = await mount(server, { props: key, use });
  await until(() => expect(hook.result.current).toMatchObject({ status: 'error', approval: undefined, phase: 'live' }));
  expect(hook.result.current.error?.code).toBe('RUN_NOT_FOUND');
  await bob.publish(ask('a1', { requiredApprovals: 9, evidence: ['report'] }));
  await isLive(hook);
  expect(hook.result.current).toMatchObject({ error: null, approval: { title: 'Release' } });
  await server.cut();
  await bob.publish(report({ sizeBytes: 1 }));
  await until(() => expect(hook.result.current.approval?.artifacts).toHaveLength(1));
  await server.away();
  await server.publishInside(report({ sizeBytes: 2 }), draft('run.started', 'r2', {}));
  await server.trim();
  await server.back();
  await until(() => expect(hook.result.current.gap).toMatchObject({ reason: 'expired' }));
  await agrees(hook, server);
  expect(hook.result.current.approval?.artifacts).toMatchObject([{ sizeBytes: 2 }]);
  await server.replace();
  await until(() => expect(hook.result.current.gap).toMatchObject({ reason: 'epoch_changed' }));
  await until(() => expect(hook.result.current).toMatchObject({ status: 'error', approval: undefined }));
});

test('[H42] skipToken sends nothing, and an unmounted hook leaves no subscription', async () => {
  const server = await openServer();
  await (await otherUser(server)).publish(ask('a1'));
  const paths = watchSubscriptions();
  const requests = watchRequests('approval');
  const idle = await mount(server, { props: skipToken, use: use as (of: typeof skipToken) => UseApprovalReturn });
  expect(idle.result.current).toMatchObject({ status: 'pending', connectionState: 'idle', approval: undefined });
  expect([paths.length, requests.count]).toEqual([0, 0]);
  const hook = await mount(server, { props: key, use });
  await isLive(hook);
  await hook.unmount();
  await until(async () => expect(await server.stats()).toMatchObject({ subscriptions: 0 }));
});

test('[H40] the boxes have the order of the server, and their counts follow every change', async () => {
  const server = await openServer();
  const bob = await otherUser(server);
  const { sub: requestedBy } = await server.client.auth.me.query();
  const soon = (ms: number) => new Date(Date.now() + ms).toISOString();
  await bob.publish(ask('never'), ask('late', { expiresAt: soon(600_000) }), ask('own', { requestedBy }));
  const boxes = ['mine', 'asked', 'decided', 'expired'] as const;
  const hooks: ListHook[] = [];
  for (const box of boxes) hooks.push(await mount(server, { props: { box }, use: useList }));
  for (const hook of hooks) await isLive(hook);
  const agree = () =>
    until(async () => {
      for (const [index, box] of boxes.entries()) {
        const { approvals, counts } = await server.client.approval.list.query({ box });
        const shown = hooks[index]?.result.current;
        expect(shown?.approvals.map(({ approvalId }) => approvalId)).toEqual(
          approvals.map(({ approvalId }) => approvalId),
        );
        expect(shown?.counts).toEqual(counts);
      }
    });
  await agree();
  expect(hooks[0]?.result.current).toMatchObject({ counts: { mine: 2, asked: 1, decided: 0, expired: 0 } });
  await bob.publish(
    ask('soon', { expiresAt: soon(300_000) }),
    ask('own too', { requestedBy }),
    ask('gone', { expiresAt: soon(-1) }),
  );
  await agree();
  await (await otherUser(server, 'cy')).grant('own');
  await hooks[0]?.result.current.decide({ ...key, approvalId: 'late' }, { decision: 'denied', reason: 'no' });
  await agree();
  await server.away();
  await server.publishInside(ask('missed')); // By the user, so it is asked by the user.
  await server.trim();
  await server.back();
  await agree();
  expect(hooks[0]?.result.current.approvals.map(({ approvalId }) => approvalId)).toEqual(['soon', 'never']);
  expect(hooks[0]?.result.current.counts).toEqual({ mine: 2, asked: 3, decided: 2, expired: 1 });
});

test('[H41] checks state that the server answers, and end with the last component that asks for them', async () => {
  const server = await openServer();
  await server.publishInside(ask('a1'));
  const hook = await mount(server, {
    props: { checkEveryMs: 50 as number | undefined },
    use: (options) => ({ approval: useApproval(key), connection: useConnection(options) }),
  });
  await until(() => expect(hook.result.current.connection).toMatchObject({ isConnected: true, isChecked: true }));
  const first = hook.result.current.connection.checkedAt ?? 0;
  expect(Math.abs(Date.now() - first)).toBeLessThan(60_000);
  await until(() => expect(hook.result.current.connection.checkedAt).toBeGreaterThan(first));
  await server.away();
  await until(() => expect(hook.result.current.connection).toMatchObject({ isConnected: false, isChecked: false }));
  expect(await hook.result.current.connection.check()).toBe(false);
  await server.back();
  await until(() => expect(hook.result.current.connection).toMatchObject({ isConnected: true, isChecked: true }));
  await hook.rerender({ checkEveryMs: undefined });
  expect(await hook.result.current.connection.check()).toBe(true);
});

test('[H41] a hidden page makes no checks, and one that is shown makes one at once', async () => {
  const server = await openServer();
  await server.publishInside(ask('a1'));
  const hook = await mount(server, {
    props: { checkEveryMs: 3_600_000 },
    use: (options) => ({ approval: useApproval(key), connection: useConnection(options) }),
  });
  await until(() => expect(hook.result.current.connection.isChecked).toBe(true));
  const { checkedAt } = hook.result.current.connection;
  const visibility = vi.spyOn(document, 'visibilityState', 'get').mockReturnValue('hidden');
  onTestFinished(() => visibility.mockRestore());
  document.dispatchEvent(new Event('visibilitychange'));
  await until(() => expect(hook.result.current.connection).toMatchObject({ isChecked: false, checkedAt }));
  visibility.mockReturnValue('visible');
  document.dispatchEvent(new Event('visibilitychange'));
  await until(() => expect(hook.result.current.connection.isChecked).toBe(true));
  expect(hook.result.current.connection.checkedAt).toBeGreaterThan(checkedAt ?? 0);
});
