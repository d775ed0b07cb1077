import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { z } from 'zod';
import { signToken } from '../../server/auth/tokens.ts';
import type { Guard } from '../../server/phi/policy.ts';
import type { RunServer } from '../../server/run-server.ts';
import { type RunEvent, runwireEvents } from '../../shared/events.ts';
import { defineEvent } from '../../shared/registry.ts';
import type { RunView } from '../../shared/run.ts';
import { cliPath, runCli, serverPath, startChild, startServing } from '../support/cli-harness.ts';
import { created, everyone, progress, secret, startServer, temporaryFolder, tokenFor } from '../support/harness.ts';

/** The built command line, run as child processes. */

vi.setConfig({ testTimeout: 60_000 }); // Many processes, also on slow machines.

type Event = RunEvent & { stageId?: string; message?: string; error?: { message: string; code?: string } };

async function eventsOf({ log }: Pick<RunServer, 'log'>): Promise<Event[]> {
  const events: Event[] = [];
  let after = 0;
  while (after < log.head) {
    const page = await log.read({ scope: { kind: 'all' }, after, limit: 1_000 });
    for (const record of page.records) events.push(record.event as unknown as Event);
    after = page.scannedTo;
  }
  return events;
}

/** Creates a folder and a server, and the environment that points to it. */
async function setUp(options: Parameters<typeof startServer>[0] = {}) {
  const folder = temporaryFolder();
  const server = await startServer(options);
  onTestFinished(async () => {
    await server.close();
    folder[Symbol.dispose]();
  });
  const env = { RUNWIRE_URL: server.url, RUNWIRE_TOKEN: await tokenFor() };
  return { server, cwd: folder.path, env };
}

const exec = ['exec', '--project', 'demo', '--name', 'Nightly build'];
const brief = ({ type, stageId, error }: Event) => [
  type,
  ...(stageId ? [stageId] : []),
  ...(error ? [error.code] : []),
];

test('[X1] exec runs stages one after another, stops at the first that fails, and exits as it did', async () => {
  const { server, cwd, env } = await setUp();
  const args = [...exec, '--run', 'r1', '--label', 'branch=main', '--label', 'a=b=c'];
  const stages = [
    ['--stage', 'compile', 'echo compiling; printf "\\033[32mgreen\\033[0m\\n"'],
    ['--stage', 'unit tests', 'echo testing; echo "1 test failed" >&2; exit 3'],
    ['--stage', 'deploy', 'touch deployed'],
  ];
  const result = await runCli([...args, ...stages.flat()], { cwd, env });
  expect(result).toEqual({
    code: 3,
    signal: null,
    stdout: 'compiling\n\u001b[32mgreen\u001b[0m\ntesting\n',
    stderr: '1 test failed\n',
  });
  expect(existsSync(join(cwd, 'deployed'))).toBe(false);

  const events = await eventsOf(server);
  expect(events.filter((event) => event.type !== 'stage.progress').map(brief)).toEqual([
    ['run.created'],
    ['run.started'],
    ['stage.started', 'compile'],
    ['stage.completed', 'compile'],
    ['stage.started', 'unit tests'],
    ['stage.failed', 'unit tests', 'EXIT_3'],
    ['run.failed', 'unit tests', 'EXIT_3'],
  ]);
  expect(events[0]).toMatchObject({
    projectId: 'demo',
    runId: 'r1',
    name: 'Nightly build',
    labels: { branch: 'main', a: 'b=c' },
    stages: ['compile', 'unit tests', 'deploy'].map((name) => ({ stageId: name, name })),
  });
  expect(events.at(-1)).toMatchObject({ error: { message: 'exit code 3: 1 test failed' } });
  expect((await server.log.runs.get('demo', 'r1'))?.run).toMatchObject({
    status: 'failed',
    counts: { stagesFailed: 1 },
  });
});

test('[X8] a run whose output is a medical record is published without it, and ends', async () => {
  const { server, cwd, env } = await setUp();
  const record = 'PID|1||77188312^^^HOSP^MR||DOE^JANE';
  const result = await runCli([...exec, '--run', 'r1', '--stage', 'load', `echo '${record}'; sleep 0.5; exit 7`], {
    cwd,
    env,
  });
  expect(result).toMatchObject({ code: 7, stdout: `${record}\n` });
  expect(result.stderr).toMatch(/^runwire: output of run r1 was withheld from its progress: PHI_REJECTED: .*\n$/);
  const events = await eventsOf(server);
  const error = {
    message: 'exit code 7 (its output was withheld: it looks like a medical record)',
    code: 'EXIT_7',
  };
  expect(events.map(brief)).toEqual([
    ['run.created'],
    ['run.started'],
    ['stage.started', 'load'],
    ['stage.failed', 'load', 'EXIT_7'],
    ['run.failed', 'load', 'EXIT_7'],
  ]);
  expect(events.slice(-2)).toMatchObject([{ error }, { error }]);
  expect((await server.log.runs.get('demo', 'r1'))?.run).toMatchObject({ status: 'failed', error });
});

test('[X8] names that identify a person are redacted, and no id is made of them', async () => {
  const { server, cwd, env } = await setUp();
  const work = 'touch jane.doe@example.org.csv "MRN 77188312.txt"; false';
  const result = await runCli(
    [
      ...['exec', '--project', 'demo', '--name', 'Export MRN', '--label', '219-09-9999=x'],
      ...['--stage', 'jane.doe@example.org', 'true', '--stage', 'SSN 219-09-9999', work],
      ...['--artifact', 'jane.doe@example.org.csv', '--artifact', 'MRN 77188312.txt'],
    ],
    { cwd, env },
  );
  expect(result).toEqual({ code: 1, signal: null, stdout: '', stderr: '' });
  const events = await eventsOf(server);
  const [created] = events;
  expect(created?.runId).toMatch(/^run-\d{8}-\d{6}-[0-9a-f]{4}$/);
  const { run } = (await server.log.runs.get('demo', created?.runId as string)) as { run: RunView };
  expect(run).toMatchObject({
    name: 'Export MRN',
    status: 'failed',
    labels: {},
    stages: [
      { stageId: 'stage-1', name: '[EMAIL]', status: 'completed' },
      { stageId: 'stage-2', name: 'SSN [SSN]', status: 'failed' },
    ],
    artifacts: [
      { artifactId: 'artifact-1', name: '[EMAIL]' },
      { artifactId: 'artifact-2', name: 'MRN [MRN]' },
    ],
  });
  expect(JSON.stringify(events)).not.toMatch(/jane|219-09|77188312/);
});

test('[X8] a stage that only this server refuses is lost, and the run still ends', async () => {
  const { server, cwd, env } = await setUp({ phi: { patterns: [{ kind: 'subject', shape: 'ST-####' }] } });
  const args = [...exec, '--run', 'r1', '--stage', 'prepare', 'true', '--stage', 'ST-1234', 'exit 4'];
  const { code, stderr } = await runCli(args, { cwd, env });
  expect(code).toBe(4);
  expect(stderr).toMatch(/^runwire: 2 events of run r1 could not be delivered: PHI_REJECTED: .*stageId.*\n$/);
  const { run } = (await server.log.runs.get('demo', 'r1')) as { run: RunView };
  expect(run).toMatchObject({ status: 'failed', error: { code: 'EXIT_4' }, stages: [{ stageId: 'prepare' }] });
});

test('[X1] a command after -- gets its arguments as they are, and the run its duration', async () => {
  const { server, cwd, env } = await setUp();
  const script = 'process.stdout.write(JSON.stringify(process.argv.slice(1)))';
  const given = ['$HOME', '*', 'a b', '--stage', '--', '-x', ''];
  const { code, stdout } = await runCli([...exec, '--', process.execPath, '-e', script, '--', ...given], { cwd, env });
  expect([code, JSON.parse(stdout)]).toEqual([0, given]);
  const events = await eventsOf(server);
  expect(events.map(brief)).toEqual([
    ['run.created'],
    ['run.started'],
    ['stage.started', 'node'],
    ['stage.progress', 'node'],
    ['stage.completed', 'node'],
    ['run.completed'],
  ]);
  expect(events[0]?.runId).toMatch(/^nightly-build-\d{8}-\d{6}-[0-9a-f]{4}$/);
  expect(events.at(-1)).toMatchObject({ durationMs: expect.any(Number), summary: '1 stage completed, exit code 0' });
});

test('[X1] output goes through byte for byte, and the commands have real pipes', async () => {
  const { cwd, env } = await setUp();
  const command = 'head -c 3000000 /dev/zero; seq 1 200000; echo on stdout >/dev/stdout; echo on stderr >/dev/stderr';
  const child = startChild(cliPath, [...exec, '--stage', 's', command], { cwd, env });
  const hash = createHash('sha256');
  child.process.stdout?.on('data', (chunk: Buffer) => hash.update(chunk));
  expect(await child.ended).toEqual({ code: 0, signal: null });
  const lines = Array.from({ length: 200_000 }, (_, index) => `${index + 1}\n`).join('');
  const expected = createHash('sha256').update(Buffer.alloc(3_000_000)).update(`${lines}on stdout\n`);
  expect(hash.digest('hex')).toBe(expected.digest('hex'));
  expect(child.stderr()).toBe('on stderr\n');

  const cut = startChild(cliPath, [...exec, '--', 'seq', '1', '10000000'], { cwd, env });
  await cut.until(({ stdout }) => stdout() !== '');
  cut.process.stdout?.destroy();
  expect((await cut.ended).code).toBe(128 + 13); // SIGPIPE, as in a pipeline.
});

test('[X1] progress is the last line with text: plain, bounded, throttled, and the final line always', async () => {
  const { server, cwd, env } = await setUp();
  const script = `
    for (let i = 0; i < 5000; i++) console.log('line ' + i);
    process.stdout.write('10%\\r50%\\r\\x1b[1mtab\\there\\x1b[0m\\x07 \\u{1f600}\\n\\n   \\n');`;
  const long = `console.error('\\u{1f600}'.repeat(3000)); process.exit(1)`;
  writeFileSync(join(cwd, 'a.cjs'), script);
  writeFileSync(join(cwd, 'b.cjs'), long);
  const stages = ['--stage', 'a', 'node a.cjs', '--stage', 'b', 'node b.cjs'];
  expect((await runCli([...exec, ...stages], { cwd, env })).code).toBe(1);
  const events = await eventsOf(server);
  const messages = events.flatMap((event) => (event.type === 'stage.progress' ? [event] : []));
  const ofFirst = messages.filter((event) => event.stageId === 'a').map((event) => event.message);
  expect(ofFirst.length).toBeGreaterThanOrEqual(2);
  expect(ofFirst.length).toBeLessThan(50);
  expect(ofFirst.at(-1)).toBe('tab here 😀');
  const last = messages.at(-1)?.message ?? '';
  expect(last).toBe(`${'😀'.repeat(999)}…`);
  expect(events.at(-1)?.error?.message).toBe(`exit code 1: ${'😀'.repeat(993)}…`);
});

test('[X1] a signal reaches every process of the command, and the run is cancelled', async () => {
  const { server, cwd, env } = await setUp();
  const grandchild = '(trap "touch reached; exit" TERM; echo ready; while :; do sleep 0.05; done)';
  const stages = ['--stage', 'wait', `${grandchild} & wait`, '--stage', 'next', 'touch next'];
  const child = startChild(cliPath, [...exec, '--run', 'r1', ...stages], { cwd, env });
  await child.until(({ stdout }) => stdout() === 'ready\n');
  child.process.kill('SIGTERM');
  expect(await child.ended).toEqual({ code: 143, signal: null });
  await vi.waitFor(() => expect(existsSync(join(cwd, 'reached'))).toBe(true), 5_000);
  expect(existsSync(join(cwd, 'next'))).toBe(false);
  expect((await eventsOf(server)).slice(-2).map(brief)).toEqual([
    ['stage.failed', 'wait', 'CANCELLED'],
    ['run.failed', 'wait', 'CANCELLED'],
  ]);

  const trap = 'trap "echo tidied; exit 7" INT; echo ready; while :; do sleep 0.05; done';
  const tidy = startChild(cliPath, [...exec, '--run', 'r2', '--stage', 'serve', trap], { cwd, env });
  await tidy.until(({ stdout }) => stdout() === 'ready\n');
  tidy.process.kill('SIGINT');
  expect((await tidy.ended).code).toBe(7);
  expect(tidy.stdout()).toBe('ready\ntidied\n');
  expect((await server.log.runs.get('demo', 'r2'))?.run).toMatchObject({
    status: 'failed',
    error: { code: 'CANCELLED', message: 'cancelled by SIGINT' },
  });
});

test('[X1] a command that is killed, or does not exist, fails as in a shell', async () => {
  const { server, cwd, env } = await setUp();
  expect((await runCli([...exec, '--stage', 's', 'echo so far; kill -9 $$'], { cwd, env })).code).toBe(137);
  const missing = await runCli([...exec, '--', './nowhere'], { cwd, env });
  expect([missing.code, missing.stderr]).toEqual([127, 'runwire: ./nowhere: command not found\n']);
  const failures = (await eventsOf(server)).filter((event) => event.type === 'run.failed').map((event) => event.error);
  expect(failures).toEqual([
    { code: 'SIGKILL', message: 'killed by SIGKILL: so far' },
    { code: 'EXIT_127', message: 'command not found' },
  ]);
});

test('[X1] artifacts are the named files, with size and hash and without their folder', async () => {
  const { server, cwd, env } = await setUp();
  const artifacts = ['--artifact', 'out.bin', '--artifact', join(cwd, 'missing.txt'), '--artifact', '.'];
  const made = await runCli([...exec, ...artifacts, '--stage', 's', 'head -c 100000 /dev/zero > out.bin'], {
    cwd,
    env,
  });
  expect(made.code).toBe(0);
  expect(made.stderr).toBe(`runwire: artifact ${join(cwd, 'missing.txt')}: ENOENT\nrunwire: artifact .: not a file\n`);
  const sha256 = createHash('sha256')
    .update(readFileSync(join(cwd, 'out.bin')))
    .digest('hex');
  const found = (await eventsOf(server)).filter((event) => event.type === 'artifact.created');
  expect(found).toMatchObject([{ artifactId: 'out.bin', name: 'out.bin', sizeBytes: 100_000, sha256 }]);
  expect(JSON.stringify(found)).not.toContain(cwd);

  // Files of an earlier run are not artifacts of a failed one.
  utimesSync(join(cwd, 'out.bin'), new Date(0), new Date(0));
  const failing = [
    ...exec,
    '--run',
    'failed',
    ...artifacts,
    '--artifact',
    'core.log',
    '--stage',
    's',
    'echo x > core.log; false',
  ];
  expect(await runCli(failing, { cwd, env })).toMatchObject({ code: 1, stderr: '' });
  const { run } = (await server.log.runs.get('demo', 'failed')) as { run: { artifacts: { name: string }[] } };
  expect(run.artifacts.map((artifact) => artifact.name)).toEqual(['core.log']);
});

test('[X1] without a server the commands still run, and one line counts the events that were not delivered', async () => {
  const gone = await startServer();
  await gone.close();
  const env = { RUNWIRE_URL: gone.url, RUNWIRE_TOKEN: 'any' };
  const { cwd, env: live } = await setUp();
  const [result, bare, refused] = await Promise.all([
    runCli([...exec, '--run', 'r1', '--stage', 's', 'echo done; exit 4'], { cwd, env }),
    // A folder without a server, and a refused token, stop no command either.
    runCli([...exec, '--', 'true'], { cwd }),
    runCli([...exec, '--', 'false'], { cwd, env: { ...live, RUNWIRE_TOKEN: 'forged' } }),
  ]);
  expect(result).toMatchObject({ code: 4, stdout: 'done\n' });
  expect(result.stderr).toBe(
    'runwire: 6 events of run r1 could not be delivered: UNAVAILABLE: the server cannot be reached (ECONNREFUSED)\n',
  );
  expect(bare.code).toBe(0);
  expect(bare.stderr).toMatch(/^runwire: 5 events of run \S+ could not be delivered: .*auth-secret.*\n$/);
  expect(refused.code).toBe(1);
  expect(refused.stderr).toMatch(/^runwire: 5 events of run \S+ could not be delivered: UNAUTHENTICATED: .*\n$/);
});

test('[X1] events from before a restart of the server are delivered after it, and ask to be redacted', async () => {
  using folder = temporaryFolder();
  const databaseUrl = `file:${folder.path}/log.db`;
  const policies = new Set<string>();
  const guard: Guard = (draft, policy) => {
    policies.add(policy);
    return draft;
  };
  const first = await startServer({ databaseUrl, guard });
  const env = { RUNWIRE_URL: first.url, RUNWIRE_TOKEN: await tokenFor() };
  const command =
    'echo ready; while [ ! -e go ]; do sleep 0.02; done; echo steady; while [ ! -e on ]; do sleep 0.02; done';
  const child = startChild(cliPath, [...exec, '--run', 'r1', '--stage', 's', command], { cwd: folder.path, env });
  await vi.waitFor(() => expect(first.log.head).toBeGreaterThanOrEqual(4), 5_000);
  await first.close();
  writeFileSync(join(folder.path, 'go'), '');
  await child.until(({ stdout }) => stdout() === 'ready\nsteady\n');
  await using second = await startServer({ databaseUrl, guard, port: first.port });
  writeFileSync(join(folder.path, 'on'), '');
  expect(await child.ended).toEqual({ code: 0, signal: null });
  expect(child.stderr()).toBe('');
  expect((await eventsOf(second)).map((event) => [...brief(event), event.message].filter(Boolean))).toEqual([
    ['run.created'],
    ['run.started'],
    ['stage.started', 's'],
    ['stage.progress', 's', 'ready'],
    ['stage.progress', 's', 'steady'],
    ['stage.completed', 's'],
    ['run.completed'],
  ]);
  expect([...policies]).toEqual(['redact']);
});

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
  await child.until(({ stdout }) => stdout().includes('run.failed'));
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
  await vi.waitFor(() => expect(server.getStats().connections).toBe(1), 10_000);
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

test('[X3] publish sends an object, an array and lines, from a file and from standard input', async () => {
  const { server, cwd, env } = await setUp();
  const many = Array.from({ length: 2_500 }, (_, index) => progress('r1', index % 100, { eventId: `e${index}` }));
  writeFileSync(join(cwd, 'one.json'), JSON.stringify(created('r1'), null, 2));
  writeFileSync(join(cwd, 'many.json'), JSON.stringify(many));
  const sent = async (file: string, input?: string) => {
    const { code, stdout, stderr } = await runCli(['publish', file], { cwd, env, ...(input ? { input } : {}) });
    expect([code, stderr]).toEqual([0, '']);
    return JSON.parse(stdout) as object;
  };
  expect(await sent('one.json')).toEqual({ accepted: 1, duplicates: 0, seq: 1 });
  expect(await sent('many.json')).toEqual({ accepted: 2_500, duplicates: 0, seq: 2_501 });
  const lines = [...many.slice(2_000), progress('r1', 1)].map((draft) => `${JSON.stringify(draft)}\n`);
  expect(await sent('-', lines.join('\n'))).toEqual({ accepted: 1, duplicates: 500, seq: 2_502 });
  expect((await eventsOf(server)).map((event) => event.seq)).toEqual(
    Array.from({ length: 2_502 }, (_, index) => index + 1),
  );
});

test('[X3] publish exits 1 when it is refused, and prints the paths without the values', async () => {
  const { server, cwd, env } = await setUp();
  const drafts: object[] = Array.from({ length: 1_500 }, () => progress('r1', 1));
  drafts[1_200] = { ...progress('r1', 1), Hausarzt: 'Dr. Müller' };
  drafts[1_300] = { ...progress('r1', 1), progress: 4711 };
  drafts[1_400] = [];
  const refused = await runCli(['publish', '-'], { cwd, env, input: JSON.stringify(drafts) });
  expect(refused).toMatchObject({ code: 1, stdout: '' });
  expect(refused.stderr.split('\n')).toEqual([
    'runwire: INVALID_EVENT: events.1200.Hausarzt: unknown or server-set key',
    'runwire: INVALID_EVENT: events.1300.progress: must be at most 100',
    'runwire: INVALID_EVENT: events.1400: expected object',
    'runwire: the events before index 1000 were stored, the others were not',
    '',
  ]);
  expect(server.log.head).toBe(1_000);

  const wrongs = [
    ['{"type":\nMüller', 'runwire: INVALID_INPUT: line 1 is not JSON; nothing was sent\n'],
    ['null', 'runwire: INVALID_EVENT: events.0: expected object\n'],
    ['', 'runwire: INVALID_INPUT: the input contains no events\n'],
    [' \n\n', 'runwire: INVALID_INPUT: the input contains no events\n'],
    ['[]', 'runwire: INVALID_INPUT: the input contains no events\n'],
  ] as const;
  for (const [input, stderr] of wrongs) {
    expect(await runCli(['publish', '-'], { cwd, env, input })).toMatchObject({ code: 1, stdout: '', stderr });
  }
  const missing = await runCli(['publish', 'nowhere.json'], { cwd, env });
  expect(missing).toMatchObject({ code: 1, stderr: 'runwire: cannot read nowhere.json (ENOENT)\n' });
  const token = await tokenFor({ roles: ['viewer'] });
  const forbidden = await runCli(['publish', '-', '--token', token], { cwd, env, input: '[{}]' });
  expect(forbidden).toMatchObject({ code: 1, stderr: 'runwire: FORBIDDEN: not allowed: publish\n' });
});

test('[X4] token prints a token that the local server accepts; without one, commands use the secret of its folder', async () => {
  using folder = temporaryFolder();
  const cwd = folder.path;
  const none = await runCli(['token', '--sub', 'bo', '--projects', 'demo', '--roles', 'viewer'], { cwd });
  expect([none.code, none.stdout]).toEqual([1, '']);
  expect(none.stderr).toMatch(/^runwire: UNAUTHENTICATED: no secret at .*auth-secret: start the server there/);
  expect(existsSync(join(cwd, 'data'))).toBe(false);

  const { url } = await startServing(cliPath, ['serve'], { cwd, env: { PORT: '0' } });
  expect(statSync(join(cwd, 'data/auth-secret')).mode & 0o777).toBe(0o600);
  const args = ['token', '--sub', 'bo', '--projects', 'demo,p2', '--roles', 'viewer,producer', '--ttl', '90s'];
  const { code, stdout, stderr } = await runCli(args, { cwd });
  expect(code).toBe(0);
  expect(stderr).toMatch(/^runwire: the id of this token \(jti\) is [-0-9a-f]{36}\n$/);
  const answer = await fetch(`${url}/trpc/auth.me`, { headers: { authorization: `Bearer ${stdout.trim()}` } });
  const { result } = (await answer.json()) as { result: { data: { expiresAt: string } } };
  expect(result.data).toMatchObject({ sub: 'bo', projects: ['demo', 'p2'], roles: ['viewer', 'producer'] });
  const claims = JSON.parse(Buffer.from(stdout.split('.')[1] ?? '', 'base64url').toString()) as Record<string, number>;
  expect((claims.exp as number) - (claims.iat as number)).toBe(90);

  const local = { cwd, env: { PORT: new URL(url).port } };
  expect((await runCli([...exec, '--run', 'r1', '--', 'true'], local)).stderr).toBe('');
  const tail = await runCli(['tail', '--run', 'r1', '--from', 'start', '--until-end', '--json'], local);
  expect([tail.code, tail.stdout.trim().split('\n').length]).toEqual([0, 5]);
});

test('[A11] token revoke makes the server refuse a token by its id, or all of a subject; also after a restart', async () => {
  using folder = temporaryFolder();
  const cwd = folder.path;
  let { child, url } = await startServing(cliPath, ['serve'], { cwd, env: { PORT: '0' } });
  const local = { cwd, env: { PORT: new URL(url).port } };
  const make = async (sub: string) => {
    const { stdout, stderr } = await runCli(['token', '--sub', sub, '--projects', '*', '--roles', 'admin'], { cwd });
    return { token: stdout.trim(), jti: /is (\S+)\n$/.exec(stderr)?.[1] ?? '' };
  };
  const statusOf = async ({ token }: { token: string }) =>
    (await fetch(`${url}/trpc/auth.me`, { headers: { authorization: `Bearer ${token}` } })).status;
  const [lost, kept, eves] = [await make('ada'), await make('ada'), await make('eve')];
  expect(await runCli(['token', 'revoke', lost.jti], local)).toMatchObject({
    code: 0,
    stdout: 'revoked\n',
    stderr: '',
  });
  expect(await runCli(['token', 'revoke', '--sub', 'eve'], local)).toMatchObject({ code: 0, stdout: 'revoked\n' });
  expect([await statusOf(lost), await statusOf(kept), await statusOf(eves)]).toEqual([401, 200, 401]);
  const byViewer = await signToken(
    { secret: readFileSync(join(cwd, 'data/auth-secret'), 'utf8').trim() },
    { sub: 'bo', projects: ['*'], roles: ['viewer'], ttlSeconds: 60 },
  );
  const refused = await runCli(['token', 'revoke', kept.jti, '--token', byViewer], local);
  expect(refused).toMatchObject({ code: 1, stderr: 'runwire: FORBIDDEN: not allowed: revoke\n' });

  child.process.kill('SIGKILL');
  await child.ended;
  ({ child, url } = await startServing(cliPath, ['serve'], { cwd, env: { PORT: '0' } }));
  expect([await statusOf(lost), await statusOf(kept), await statusOf(eves)]).toEqual([401, 200, 401]);
});

test('[X4] a locally signed token is never sent to another machine', async () => {
  using folder = temporaryFolder();
  const needed =
    'runwire: --token or RUNWIRE_TOKEN is required for a server on another machine: a locally signed token is for the local server only\n';
  const environments: Record<string, string>[] = [
    {},
    { AUTH_SECRET: secret },
    { AUTH_SECRET: secret, RUNWIRE_URL: 'http://10.0.0.1:3001' },
    { AUTH_SECRET: secret, HOST: 'runwire.example' },
  ];
  const results = await inTurns(4, environments, (env) => {
    const isNamed = env.RUNWIRE_URL !== undefined || env.HOST !== undefined;
    const url = isNamed ? [] : ['--url', 'https://runwire.example'];
    return runCli([...exec, ...url, '--', 'touch', 'ran'], { cwd: folder.path, env });
  });
  expect(results).toEqual(environments.map(() => ({ code: 2, signal: null, stdout: '', stderr: needed })));
  expect(existsSync(join(folder.path, 'ran'))).toBe(false);
});

test('[X1] with --url and --token, commands ignore the server settings of the environment', async () => {
  const { server, cwd, env } = await setUp();
  const unrelated = {
    REDIS_URL: 'redis://cache',
    PORT: 'tcp://10.0.0.1:80',
    AUTH_SECRET: 'short',
    NODE_ENV: 'production',
  };
  const named = ['--url', server.url, '--token', env.RUNWIRE_TOKEN];
  const { code, stderr } = await runCli([...exec, ...named, '--', 'true'], { cwd, env: unrelated });
  expect([code, stderr]).toEqual([0, '']);
  expect((await runCli([...exec, '--', 'true'], { cwd, env: { ...unrelated, ...env } })).code).toBe(0);
  expect((await eventsOf(server)).filter(({ type }) => type === 'run.completed')).toHaveLength(2);
});

test('[X5] wrong usage exits 2 and names the cause; nothing is run', async () => {
  using folder = temporaryFolder();
  const cwd = folder.path;
  const touch = ['--', 'touch', 'ran'];
  const wrongs = [
    [],
    ['bogus'],
    ['exec', ...touch],
    ['exec', '--project', 'p', ...touch],
    ['exec', '--project', 'not an id', '--name', 'n', ...touch],
    [...exec],
    [...exec, '--'],
    [...exec, '--stage', 'a', '--stage', 'b', 'touch ran'],
    [...exec, '--stage', 'a', 'touch ran', '--stage', 'b'],
    [...exec, '--stage', 'a', '--stage'],
    [...exec, '--stage=a', 'touch ran'],
    [...exec, '--stage', 'a\u0007', 'touch ran'],
    [...exec, '--stage', 'a', 'touch ran', ...touch],
    [...exec, 'touch', 'ran'],
    [...exec, '--label', 'novalue', ...touch],
    [...exec, '--run', 'é', ...touch],
    [...exec, '--url', 'localhost', ...touch],
    ['tail', '--until-end'],
    ['tail', '--from', 'yesterday'],
    ['tail', '--bogus'],
    ['publish'],
    ['publish', 'a', 'b'],
    ['token', '--sub', 'a', '--projects', 'p'],
    ['token', '--sub', 'a', '--projects', 'p', '--roles', 'king'],
    ['token', '--sub', 'a', '--projects', 'p', '--roles', 'viewer', '--ttl', '1w'],
    ['token', '--sub', 'a', '--projects', 'p,', '--roles', 'viewer'],
    ['token', 'revoke'],
    ['token', 'revoke', ''],
    ['token', 'revoke', 'id', '--sub', 'a'],
  ];
  const results = await inTurns(4, wrongs, (args) => runCli(args, { cwd }));
  for (const [index, { code, stdout, stderr }] of results.entries()) {
    expect([wrongs[index], code, stdout]).toEqual([wrongs[index], 2, '']);
    expect(stderr).toMatch(/^(runwire|error|Usage): /);
    expect(stderr).not.toMatch(/^ {4}at /m);
  }
  expect(existsSync(join(cwd, 'ran'))).toBe(false);
});

test('[X5] help and version exit 0', async () => {
  using folder = temporaryFolder();
  const asked = [
    ['--help'],
    ['help'],
    ['--version'],
    ...['serve', 'exec', 'tail', 'publish', 'token'].map((name) => [name, '--help']),
    ['token', 'revoke', '--help'],
  ];
  const results = await inTurns(4, asked, (args) => runCli(args, { cwd: folder.path }));
  expect(results.map(({ code, stderr }) => [code, stderr])).toEqual(asked.map(() => [0, '']));
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  expect(results[2]?.stdout).toBe(`${version}\n`);
  for (const name of ['serve', 'exec', 'tail', 'publish', 'token'])
    expect(results[0]?.stdout).toMatch(new RegExp(`^  ${name} `, 'm'));
});

test('serve exits 1 with one line when it cannot start', async () => {
  using folder = temporaryFolder();
  await using other = await startServer();
  const taken = { PORT: String(other.port) };
  const failures = [taken, { PORT: 'x' }, { HOST: '0.0.0.0' }];
  for (const path of [cliPath, serverPath]) {
    for (const env of failures) {
      const child = startChild(path, path === cliPath ? ['serve'] : [], { cwd: folder.path, env });
      expect((await child.ended).code).toBe(1);
      expect(child.stderr()).toMatch(/^runwire: [^\n]+\n$/);
    }
  }
});

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
    const [kept] = await log.approvals.pending({ projectId: 'demo', runId }, 1);
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
  expect((await server.approvals.wait(approval)).status).toBe('expired');
  const { run } = (await server.log.runs.get('demo', 'r1')) ?? {};
  expect(run).toMatchObject({ status: 'failed', error: { code: 'CANCELLED', message: 'cancelled by SIGINT' } });

  // Also without a server.
  const alone = startChild(cliPath, [...exec, ...gated], { cwd, env: { ...env, RUNWIRE_URL: 'http://127.0.0.1:9' } });
  await alone.until(isWaiting);
  alone.process.kill('SIGINT');
  expect((await alone.ended).code).toBe(128 + 2);
  expect(existsSync(join(cwd, 'deployed'))).toBe(false);
});

test('[X7] exec --approve receives a decision after the server was killed and restarted', async () => {
  using folder = temporaryFolder();
  const serverEnv = { AUTH_SECRET: secret, DATABASE_URL: `file:${folder.path}/runwire.db` };
  const first = await startServing(cliPath, ['serve'], { cwd: folder.path, env: { ...serverEnv, PORT: '0' } });
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
  const { port } = new URL(first.url);
  await startServing(cliPath, ['serve'], { cwd: folder.path, env: { ...serverEnv, PORT: port } });
  expect((await call('approval.grant', { runId: 'r1', approvalId })).result).toBeDefined();
  expect((await child.ended).code).toBe(0);
  expect(existsSync(join(folder.path, 'deployed'))).toBe(true);
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

test(
  '[X6] SIGTERM ends serve with a thousand clients: exit code 0, and each socket closes with 1001',
  async () => {
    using folder = temporaryFolder();
    const env = { PORT: '0', AUTH_SECRET: secret };
    const { child, url } = await startServing(cliPath, ['serve'], { cwd: folder.path, env });
    const token = await tokenFor();
    const clients = await Promise.all(Array.from({ length: 1_000 }, () => subscribeToAll(url, token)));
    const closed = clients.map((socket) => once(socket, 'close') as Promise<[number, Buffer]>);
    child.process.kill('SIGTERM');
    expect(await child.ended).toEqual({ code: 0, signal: null });
    expect(new Set((await Promise.all(closed)).map(([code]) => code))).toEqual(new Set([1001]));
  },
  10_000 + 20_000,
);

/** Resolves once the subscription is live. */
async function subscribeToAll(url: string, token: string): Promise<WebSocket> {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/ws?connectionParams=1`);
  onTestFinished(() => socket.terminate());
  await once(socket, 'open');
  const live = new Promise<void>((resolve) => {
    socket.on('message', (data) => {
      if (String(data).includes('stream.live')) resolve();
    });
  });
  socket.send(JSON.stringify({ method: 'connectionParams', data: { token } }));
  socket.send(JSON.stringify({ id: 1, method: 'subscription', params: { path: 'onEvent', input: {} } }));
  await live;
  return socket;
}

/** Maps with at most `width` calls at a time. */
async function inTurns<T, R>(width: number, items: readonly T[], map: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const work = async () => {
    while (next < items.length) {
      const index = next++;
      results[index] = await map(items[index] as T);
    }
  };
  await Promise.all(Array.from({ length: width }, work));
  return results;
}
