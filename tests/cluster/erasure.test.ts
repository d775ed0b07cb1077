import { describe, expect, inject, onTestFinished, test } from 'vitest';
import type { RunEventDraft } from '../../shared/events.ts';
import { hasHaproxy, startCluster } from '../support/cluster.ts';
import { created, isLive, progress, secret, take, tokenFor, Wire } from '../support/harness.ts';
import { createDatabase, dropDatabase } from '../support/postgres.ts';
import type { Node } from '../support/shared-log.ts';
import { callerOf, isAvailable, open, publisher } from './open.ts';

const TEXT = 'Mallory';
const run = { projectId: 'demo', runId: 'r1' };
const drafts: RunEventDraft[] = [
  created('r1', { name: TEXT, labels: { owner: TEXT } }),
  progress('r1', 5, { message: TEXT }),
  { type: 'governance.required', ...run, approvalId: 'a', title: TEXT },
  progress('r1', 6, { message: 'last' }),
];
const seqs = [1, 2, 3];

/** Every kind of answer of a server that can have the text of an event. */
function answersOf(node: Node, url: string, token: string): Record<string, () => Promise<unknown>> {
  const caller = callerOf(node);
  const get = async (path: string) => {
    const answer = await fetch(`${url}/api/v1/export${path}`, { headers: { authorization: `Bearer ${token}` } });
    expect(answer.status).toBe(200);
    return answer.text();
  };
  return {
    runEvents: async () => take<object>(await caller.onRunEvent({ runId: 'r1', from: 'start' }), isLive),
    projectEvents: async () => take<object>(await caller.onProjectEvent({ projectId: 'demo', from: 'start' }), isLive),
    events: async () => take<object>(await caller.onEvent({ from: 'start' }), isLive),
    summaries: async () => take<object>(await caller.onRunSummary({ from: 'start' }), isLive),
    run: () => caller.run.get(run),
    past: () => caller.run.at({ ...run, runSeq: 4 }),
    runs: () => caller.run.list({}),
    history: () => caller.run.history(run),
    filtered: () => caller.run.history({ ...run, text: TEXT }),
    search: () => caller.event.search({ text: TEXT }),
    approvals: () => caller.approval.list({}),
    exported: () => get(''),
    found: () => get(`?text=${TEXT}`),
    audit: () => caller.audit.run(run),
    record: () => caller.audit.access({}),
    ...Object.fromEntries(seqs.map((seq) => [`event ${seq}`, () => caller.event.get({ seq })])),
  };
}
const hasText = (answer: unknown) => JSON.stringify(answer).includes(TEXT);

describe.skipIf(!isAvailable)('an erasure with three servers (needs PostgreSQL)', () => {
  test.each(['notify', 'redis', 'none'] as const)(
    '[M51] no server answers with an erased text once erase has resolved, also to calls that began before: %s',
    async (backplane) => {
      if (backplane === 'redis' && inject('redis') === undefined) return;
      const { nodes, urls, settled, b, c } = await open({}, { backplane });
      await b.bus.publish(drafts, publisher);
      await settled();
      const token = await tokenFor();
      const servers = nodes.map((node, index) => answersOf(node, urls[index] as string, token));
      const before = ['runEvents', 'summaries', 'run', 'past', 'runs', 'history', 'search', 'approvals', 'exported'];
      for (const answers of servers) {
        for (const name of before) await expect.poll(async () => hasText(await answers[name]?.())).toBe(true);
      }
      let isErased = false;
      const late: string[] = [];
      const calling = servers.map(async (answers, index) => {
        for (let isLast = false; !isLast; ) {
          isLast = isErased;
          const calls = Object.entries(answers).map(async ([name, ask]) => {
            const answer = await ask();
            if (isErased && hasText(answer)) late.push(`${name} of server ${index}`);
          });
          await Promise.all(calls);
        }
      });
      for (const seq of seqs) await callerOf(c).audit.erase({ seq, reason: 'asked for' });
      isErased = true;
      await Promise.all(calling);
      expect(late).toEqual([]);
    },
  );

  test.skipIf(!hasHaproxy)(
    '[M51] a server that was stopped during the erasure does not answer with the text after it wakes (needs HAProxy)',
    async () => {
      const postgres = inject('postgres') as string;
      const databaseUrl = await createDatabase(postgres);
      onTestFinished(() => dropDatabase(postgres, databaseUrl));
      await using cluster = await startCluster({ databaseUrl, secret, nodes: 2 });
      const { nodes } = cluster;
      const [eraser, sleeper] = nodes as [(typeof nodes)[0], (typeof nodes)[0]];
      const connect = async (url: string) => {
        const wire = await Wire.open(url);
        onTestFinished(() => wire[Symbol.asyncDispose]());
        return wire;
      };
      const wire = await connect(eraser.url);
      await wire.call('mutation', 'event.publish', { events: drafts });
      const sleeping = await connect(sleeper.url);
      await sleeping.subscribe('onEvent', { from: 'start' }).until(isLive);
      // The events may arrive after the reader was live: another server has published them.
      await expect.poll(() => sleeping.texts.some(hasText)).toBe(true);

      // Calls of which some are in progress when the process stops, and some arrive while it is stopped.
      const calls: Promise<unknown>[] = [];
      const ask = () => {
        for (const path of ['run.get', 'run.history']) calls.push(sleeping.call('query', path, run));
        calls.push(
          sleeping.call('query', 'event.search', { text: TEXT }),
          sleeping.call('query', 'event.get', { seq: 2 }),
        );
      };
      for (let round = 0; round < 10; round++) ask();
      process.kill(sleeper.pid as number, 'SIGSTOP');
      for (let round = 0; round < 5; round++) ask();
      const replay = sleeping.subscribe('onEvent', { from: 'start' });
      for (const seq of seqs) {
        const { error } = await wire.call('mutation', 'audit.erase', { seq, reason: 'asked for' });
        expect(error).toBeUndefined();
      }
      const known = sleeping.texts.length;
      process.kill(sleeper.pid as number, 'SIGCONT');
      await Promise.all(calls);
      await replay.until(isLive);
      expect(replay.items.length).toBeGreaterThan(drafts.length);
      expect(sleeping.texts.slice(known).filter(hasText)).toEqual([]);
    },
  );
});
