import { expect, onTestFinished, test, vi } from 'vitest';
import { z } from 'zod';
import type { RunServer } from '../../server/run-server.ts';
import { type RunEvent, runwireEvents } from '../../shared/events.ts';
import { defineEvent } from '../../shared/registry.ts';
import { cliPath, runCli, startChild } from '../support/cli-harness.ts';
import { created, everyone, progress } from '../support/harness.ts';
import { eventsOf, setUp } from './setup.ts';

const publishTo = (server: RunServer, ...drafts: Parameters<RunServer['bus']['publish']>[0]) =>
  server.bus.publish(drafts, { actor: everyone.sub });

test('[X2] tail prints a line for each event on stdout, and signals on stderr', async () => {
  const { server, cwd, env } = await setUp();
  const at = { timestamp: '2026-01-31T14:25:01.500Z' };
  await publishTo(
    server,
    created('r1', at),
    progress('r1', 40.6, { ...at, message: 'line\u001b[2J one\u202e', done: 4, total: 10 }),
    created('other', at),
  );
  const child = startChild(cliPath, ['tail', '--run', 'r1', '--from', 'start'], { cwd, env });
  await child.until(({ stderr }) => stderr().includes('live'));
  await publishTo(server, { type: 'run.failed', projectId: 'demo', runId: 'r1', error: { message: 'oops' }, ...at });
  await child.until(({ stdout }) => stdout().endsWith('oops\n'));
  expect(child.stdout()).toBe(
    [
      '2026-01-31T14:25:01.500Z  run.created                          Run r1',
      '2026-01-31T14:25:01.500Z  stage.progress       s1               40 %  4/10  line [2J one',
      '2026-01-31T14:25:01.500Z  run.failed                           oops',
      '',
    ].join('\n'),
  );
  expect(child.stderr()).toBe('runwire: live at 3\n');
  // tail ends by a signal, like tail -f.
  child.process.kill('SIGINT');
  expect(await child.ended).toEqual({ code: null, signal: 'SIGINT' });

  const json = startChild(cliPath, ['tail', '--project', 'demo', '--from', 'start', '--json'], { cwd, env });
  await json.until(({ stdout, stderr }) => stdout().split('\n').length === 5 && stderr() !== '');
  expect(
    json
      .stdout()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
  ).toEqual(await eventsOf(server));
  expect(JSON.parse(json.stderr())).toEqual({ type: 'stream.live', seq: 4 });
});

test('[X2] tail prints an unknown event type with its fields', async () => {
  const events = {
    ...runwireEvents,
    'metric.sampled': defineEvent({
      type: 'metric.sampled',
      category: 'metric',
      topic: 'jobs',
      fields: { unit: z.string(), values: z.array(z.number()) },
    }),
  };
  const { server, cwd, env } = await setUp({ events } as never);
  const timestamp = '2026-01-31T14:25:01.500Z';
  const draft = {
    type: 'metric.sampled',
    projectId: 'demo',
    runId: 'r1',
    timestamp,
    unit: 'ms\u001b[2J',
    values: [1, 2],
  };
  await publishTo(server, draft as never);
  const child = startChild(cliPath, ['tail', '--run', 'r1', '--from', 'start'], { cwd, env });
  await child.until(({ stderr }) => stderr().includes('live'));
  await child.until(({ stdout }) => stdout().endsWith('\n'));
  expect(child.stdout()).toBe(
    '2026-01-31T14:25:01.500Z  metric.sampled                       unit=ms [2J  values=[1,2]\n',
  );
});

test('[X2] with --until-end tail exits when the run ends, also when it ended before', async () => {
  const { server, cwd, env } = await setUp();
  await publishTo(server, created('good'), created('bad'));
  const tails = ['good', 'bad'].map((run) => startChild(cliPath, ['tail', '--run', run, '--until-end'], { cwd, env }));
  await Promise.all(tails.map((child) => child.until(({ stderr }) => stderr().includes('live'))));
  await publishTo(server, { type: 'run.completed', projectId: 'demo', runId: 'good' });
  await publishTo(server, { type: 'run.failed', projectId: 'demo', runId: 'bad', error: { message: 'oops' } });
  expect(await Promise.all(tails.map((child) => child.ended))).toMatchObject([{ code: 0 }, { code: 1 }]);
  expect(tails.map((child) => child.stdout().split('\n').length)).toEqual([2, 2]);

  await publishTo(server, progress('good', 100));
  for (const [from, lines] of [
    ['now', 0],
    ['start', 3],
  ] as const) {
    const again = await runCli(['tail', '--run', 'good', '--until-end', '--from', from], { cwd, env });
    expect([again.code, again.stdout.split('\n').length - 1]).toEqual([0, lines]);
  }
});

test('[X2] tail waits for the reader of its pipe: unread events stay on the server and arrive later', async () => {
  const { server, cwd, env } = await setUp();
  const count = 20_000;
  const message = 'x'.repeat(1_900);
  for (let index = 0; index < count; index += 1_000) {
    await publishTo(server, ...Array.from({ length: 1_000 }, () => progress('r1', 1, { message })));
  }
  const args = ['tail', '--run', 'r1', '--from', 'start', '--json'];
  const slow = startChild(cliPath, args, { cwd, env });
  slow.process.stdout?.pause();
  await vi.waitFor(() => expect(server.getStats().connections).toBe(1), 30_000);
  const fast = startChild(cliPath, args, { cwd, env });
  await fast.until(({ stderr }) => stderr().includes('stream.live'));
  const lags = server.getStats().clients.map((client) => client.lag);
  expect(lags.filter((lag) => lag === 0)).toHaveLength(1);
  expect(Math.max(...lags)).toBeGreaterThan(count / 4);

  slow.process.stdout?.resume();
  await slow.until(({ stderr }) => stderr().includes('stream.live'));
  // The two pipes have no common order.
  await slow.until(({ stdout }) => /"runSeq":20000,.*\n$/.test(stdout().slice(-4_000)));
  slow.process.kill('SIGKILL');
  await slow.ended;
  const seqs = slow
    .stdout()
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as RunEvent).runSeq);
  expect(seqs).toEqual(Array.from({ length: count }, (_, index) => index + 1));
});

test('[X2] tail exits 1 when the token is refused twice, and 0 when the reader of its pipe closes it', async () => {
  const { server, cwd, env } = await setUp();
  const refused = await runCli(['tail', '--token', 'forged'], { cwd, env });
  expect([refused.code, refused.stdout]).toEqual([1, '']);
  expect(refused.stderr.trim().split('\n').at(-1)).toMatch(/^runwire: UNAUTHENTICATED: the token is missing/);

  const child = startChild(cliPath, ['tail', '--from', 'start'], { cwd, env });
  await child.until(({ stderr }) => stderr().includes('live'));
  child.process.stdout?.destroy();
  const more = setInterval(() => void publishTo(server, progress('r1', 1)), 10);
  onTestFinished(() => clearInterval(more));
  expect(await child.ended).toEqual({ code: 0, signal: null });
  clearInterval(more);
  expect(child.stderr()).toBe('runwire: live at 0\n');
});
