import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { secret, tokenFor } from '../support/harness.ts';
import { Example } from './example.ts';

const example = new Example('agent', inject('tarball'));
beforeAll(() => example.install());
afterAll(() => example[Symbol.asyncDispose]());

test('[K30] examples/agent has no type errors', async () => {
  expect(await example.script('typecheck')).toBe('');
});

/** Starts the agent, and resolves once it waits for its approval, with a function that calls its server. */
async function startAgent() {
  const agent = example.start(['--import=tsx', 'main.ts'], { PORT: '0', AUTH_SECRET: secret });
  const [, url, token] = await agent.until(/(http:\S+)\/login\?token=([^&]+)&return=%2Fruns%2Fsupport%2Frefund-1/);
  await agent.until(/waits for the approval/);
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const query = async (path: string, input: object) => {
    const answer = await fetch(`${url}/trpc/${path}?input=${encodeURIComponent(JSON.stringify(input))}`, { headers });
    return (await answer.json()).result.data;
  };
  const mutate = (path: string, input: object) =>
    fetch(`${url}/trpc/${path}`, { method: 'POST', headers, body: JSON.stringify(input) });
  const publish = (token: string, event: object) =>
    fetch(`${url}/trpc/event.publish`, {
      method: 'POST',
      headers: { ...headers, authorization: `Bearer ${token}` },
      body: JSON.stringify({ events: [event] }),
    });
  return { agent, query, mutate, publish };
}

const run = { projectId: 'support', runId: 'refund-1' };

test('[K32] an agent that is killed while it waits for an approval goes on after a restart, and repeats no step', async () => {
  const first = await startAgent();
  const forged = { ...run, type: 'tool.returned', stageId: 'step-3', output: 'paid nothing' };
  const token = await tokenFor({ sub: 'mallory', projects: ['support'], roles: ['producer'] });
  expect((await first.publish(token, forged)).status).toBe(200);
  const { events } = await first.query('run.history', run);
  first.agent.process.kill('SIGKILL');
  expect(await first.agent.ended).toBeNull();
  expect(first.agent.output()).toMatch(/^find_order .*\nread_policy .*\nwaits/m);

  const second = await startAgent();
  expect(second.agent.output()).not.toMatch(/find_order|read_policy/);
  expect((await second.query('run.history', run)).events).toEqual(events);
  const { approvals } = await second.query('approval.list', { box: 'mine' });
  expect(approvals).toHaveLength(1);
  const { approvalId } = approvals[0];
  expect((await second.mutate('approval.grant', { ...run, approvalId })).status).toBe(200);
  await second.agent.until(/the task is done/);
  const history = await second.query('run.history', run);
  expect(history.events.map(({ type, stageId }: { type: string; stageId?: string }) => [stageId, type])).toEqual([
    [undefined, 'run.created'],
    ['step-1', 'stage.started'],
    ['step-1', 'tool.called'],
    ['step-1', 'tool.returned'],
    ['step-1', 'stage.completed'],
    ['step-2', 'stage.started'],
    ['step-2', 'tool.called'],
    ['step-2', 'stage.progress'],
    ['step-2', 'stage.progress'],
    ['step-2', 'stage.progress'],
    ['step-2', 'tool.returned'],
    ['step-2', 'stage.completed'],
    ['step-3', 'stage.started'],
    ['step-3', 'tool.called'],
    ['step-3', 'governance.required'],
    ['step-3', 'tool.returned'], // Not the agent's own: it is no memory.
    [undefined, 'approval.granted'],
    ['step-3', 'tool.returned'],
    ['step-3', 'stage.completed'],
    [undefined, 'run.completed'],
  ]);
  expect(readFileSync(join(example.folder, 'data/refunds.txt'), 'utf8')).toBe('A-17 49.90 EUR\n');
});
