import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import type { EventPublisher } from '../../client/publisher/index.ts';
import { passGate, type Request } from '../../server/cli/approval-gate.ts';
import type { RunServer } from '../../server/run-server.ts';
import { cliPath, runCli, startChild, startServing } from '../support/cli-harness.ts';
import { everyone, secret, temporaryFolder, tokenFor } from '../support/harness.ts';
import { freePort } from '../support/ports.ts';
import { eventsOf, exec, setUp } from './setup.ts';

/** Two stages; the second waits for an approval. */
const gated = ['--stage', 'build', 'echo built', '--approve', 'Release 1.2!', '--stage', 'deploy', 'touch deployed'];

const isWaiting = ({ stderr }: { stderr(): string }) => stderr().includes('waiting for approval');

const ann = { principal: { sub: 'ann', projects: ['*'], roles: ['approver' as const] } };

/** Resolves with the pending approval of a run, once it is requested. */
async function pendingOf({ log }: Pick<RunServer, 'log'>, runId: string) {
  for (;;) {
    const asked = new Promise<void>((resolve) => {
      const stop = log.subscribe((records) => {
        if (!records.some(({ type }) => type === 'governance.required')) return;
        stop();
        resolve();
      });
    });
    const page = await log.approvals.list({ projects: 'all', status: ['pending'], limit: 100 });
    const kept = page.approvals.find((stored) => stored.runId === runId);
    if (kept) return { projectId: 'demo', runId, approvalId: kept.approval.approvalId };
    await asked;
  }
}

test('[X7] exec --approve holds the next stage until the approval is granted, and reports it on stderr', async () => {
  const { server, cwd, env } = await setUp();
  const child = startChild(cliPath, [...exec, '--run', 'r1', ...gated], { cwd, env });
  await child.until(isWaiting);
  const approval = await pendingOf(server, 'r1');
  const { run } = (await server.log.runs.get('demo', 'r1')) ?? {};
  expect(run).toMatchObject({ status: 'waiting', stages: [{ status: 'completed' }, { status: 'pending' }] });
  expect(run?.approvals).toMatchObject([{ title: 'Release 1.2!', stageId: 'deploy', requestActor: 'ada' }]);
  expect(child.stderr()).toContain(`"Release 1.2!" (${approval.approvalId}) of run r1 in demo before stage deploy`);
  const self = server.router.createCaller({ principal: everyone });
  await expect(self.approval.grant(approval)).rejects.toMatchObject({ cause: { code: 'NOT_ALLOWED_TO_DECIDE' } });
  expect(existsSync(join(cwd, 'deployed'))).toBe(false);
  await server.router.createCaller(ann).approval.grant(approval);
  expect(await child.ended).toEqual({ code: 0, signal: null });
  expect(existsSync(join(cwd, 'deployed'))).toBe(true);
  expect(child.stderr()).toMatch(/\nrunwire: granted by ann\n$/);
  expect((await eventsOf(server)).map(({ type }) => type).filter((type) => type !== 'stage.progress')).toEqual([
    'run.created',
    'run.started',
    'stage.started',
    'stage.completed',
    'governance.required',
    'approval.granted',
    'stage.started',
    'stage.completed',
    'run.completed',
  ]);

  // A second time the same run: the old grant does not count.
  const again = startChild(cliPath, [...exec, '--run', 'r1', '--approve', 'Release 1.2!', '--', 'true'], { cwd, env });
  await again.until(isWaiting);
  again.process.kill('SIGTERM');
  expect((await again.ended).code).toBe(128 + 15);
});

test('[X7] exec --approve fails the run when the approval is denied or expires, and runs nothing more', async () => {
  const { server, cwd, env } = await setUp();
  const denied = startChild(cliPath, [...exec, '--run', 'r1', ...gated], { cwd, env });
  const approval = await pendingOf(server, 'r1');
  await server.router.createCaller(ann).approval.deny({ ...approval, reason: 'not \u001b[31mtoday' });
  expect((await denied.ended).code).toBe(1);
  expect(denied.stderr()).toMatch(/\nrunwire: the approval was denied by ann: not today\n$/);
  const events = await eventsOf(server);
  expect(events.at(-1)).toMatchObject({ type: 'run.failed', error: { code: 'APPROVAL_DENIED' } });
  expect(events.at(-1)).not.toHaveProperty('stageId');

  const expired = startChild(cliPath, [...exec, '--run', 'r2', ...gated], { cwd, env });
  await pendingOf(server, 'r2');
  await server.broadcaster.broadcastRunFailed({ projectId: 'demo', runId: 'r2', error: { message: 'given up' } });
  expect((await expired.ended).code).toBe(1);
  expect(expired.stderr()).toMatch(/\nrunwire: the approval has expired\n$/);
  expect(existsSync(join(cwd, 'deployed'))).toBe(false);
});

test('[X7] a signal interrupts the wait of exec, cancels the run, and expires its approval', async () => {
  const { server, cwd, env } = await setUp();
  const child = startChild(cliPath, [...exec, '--run', 'r1', ...gated], { cwd, env });
  const approval = await pendingOf(server, 'r1');
  child.process.kill('SIGINT');
  expect(await child.ended).toEqual({ code: 128 + 2, signal: null });
  expect((await server.approvals.wait({ ...approval, requestActor: 'ada' })).status).toBe('expired');
  const { run } = (await server.log.runs.get('demo', 'r1')) ?? {};
  expect(run).toMatchObject({ status: 'failed', error: { code: 'CANCELLED', message: 'cancelled by SIGINT' } });

  // Also without a server.
  const alone = startChild(cliPath, [...exec, ...gated], { cwd, env: { ...env, RUNWIRE_URL: 'http://127.0.0.1:9' } });
  await alone.until(({ stderr }) => stderr().includes('cannot be reached'));
  alone.process.kill('SIGINT');
  expect((await alone.ended).code).toBe(128 + 2);
  expect(existsSync(join(cwd, 'deployed'))).toBe(false);
});

test('[X7] exec --approve receives a decision after the server was killed and restarted', async () => {
  using folder = temporaryFolder();
  const serverEnv = { AUTH_SECRET: secret, DATABASE_URL: `file:${folder.path}/runwire.db` };
  const serve = { cwd: folder.path, env: { ...serverEnv, PORT: String(await freePort()) } };
  const first = await startServing(cliPath, ['serve'], serve);
  const env = { RUNWIRE_URL: first.url, RUNWIRE_TOKEN: await tokenFor() };
  const child = startChild(cliPath, [...exec, '--run', 'r1', ...gated], { cwd: folder.path, env });
  await child.until(isWaiting);
  const token = await tokenFor({ sub: 'ann', roles: ['approver'] });
  const call = async (path: string, body: object) => {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const response = await fetch(`${first.url}/trpc/${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
    return (await response.json()) as { result?: { data: { run: { approvals: { approvalId: string }[] } } } };
  };
  const approvalId = await vi.waitFor(async () => {
    const { result } = await call('run.get', { runId: 'r1' });
    const [approval] = result?.data.run.approvals ?? [];
    if (!approval) throw new Error('not asked for yet');
    return approval.approvalId;
  }, 30_000);
  first.child.process.kill('SIGKILL');
  await first.child.ended;
  await startServing(cliPath, ['serve'], serve);
  expect((await call('approval.grant', { runId: 'r1', approvalId })).result).toBeDefined();
  expect((await child.ended).code).toBe(0);
  expect(existsSync(join(folder.path, 'deployed'))).toBe(true);
});

test.each([
  ['another actor', { actor: 'mallory' }, {}],
  ['another authority', { actor: 'ada' }, { authority: 'producer' as const }],
])('[X7] a grant of a request with %s does not open the gate', async (_, publisher, terms) => {
  const { server } = await setUp();
  const publish = async (request: Request) => {
    const asked = { ...request, ...terms, projectId: 'demo' };
    const granted = { ...asked, type: 'approval.granted' as const, decidedBy: 'ann' };
    const { approvalId, decidedBy, projectId, runId, type } = granted;
    await server.bus.publish([asked, { type, projectId, runId, approvalId, decidedBy }], {
      ...publisher,
      isTrusted: true,
    });
  };
  const passed = passGate({
    target: { agent: undefined, url: server.url, token: await tokenFor() },
    publisher: { publish } as unknown as EventPublisher,
    projectId: 'demo',
    runId: 'r1',
    stage: { stageId: 'deploy', name: 'deploy' },
    title: 'Release',
    signal: new AbortController().signal,
  });
  await expect(passed).rejects.toMatchObject({ code: 'APPROVAL_ID_TAKEN' });
  expect((await server.log.runs.get('demo', 'r1'))?.run.approvals).toMatchObject([{ status: 'granted' }]);
});

test('[X7] a token that cannot read the grant is refused before anything is run', async () => {
  const { server, cwd, env } = await setUp();
  const producer = { ...env, RUNWIRE_TOKEN: await tokenFor({ roles: ['producer'] }) };
  const result = await runCli([...exec, ...gated], { cwd, env: producer });
  expect([result.code, result.stdout]).toEqual([1, '']);
  expect(result.stderr).toBe(
    'runwire: FORBIDDEN: --approve needs a token that can read the project: add the role viewer\n',
  );
  const wrong = { ...env, RUNWIRE_TOKEN: 'wrong' };
  expect(await runCli([...exec, ...gated], { cwd, env: wrong })).toMatchObject({ code: 1, stdout: '' });
  expect(server.log.head).toBe(0);
});

test.each([
  [
    'nothing after --approve',
    [...gated, '--approve', 'last'],
    '--approve must come before the stage that waits for it',
  ],
  ['no title', ['--approve', '--stage', 'a', 'true'], '--approve takes a title'],
  ['a title behind =', ['--approve=title', '--stage', 'a', 'true'], '--approve takes a title'],
  ['a title too long', ['--approve', 'x'.repeat(201), '--', 'true'], '--approve: must be at most 200'],
])('[X7] [X5] exec with %s is wrong usage', async (_, args, message) => {
  const { server, cwd, env } = await setUp();
  const result = await runCli([...exec, ...args], { cwd, env });
  expect(result).toMatchObject({ code: 2, stdout: '' });
  expect(result.stderr).toContain(message);
  expect(server.log.head).toBe(0);
});
