import { createHash } from 'node:crypto';
import { existsSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import type { Guard } from '../../server/phi/policy.ts';
import type { RunView } from '../../shared/run.ts';
import { cliPath, runCli, startChild } from '../support/cli-harness.ts';
import { startServer, temporaryFolder, tokenFor } from '../support/harness.ts';
import { freePort } from '../support/ports.ts';
import { afterStart, brief, eventsOf, exec, setUp } from './setup.ts';

test('[X1] exec runs stages one after another, stops at the first that fails, and exits as it did', async () => {
  const { server, cwd, env } = await setUp();
  const args = [...exec, '--run', 'r1', '--label', 'branch=main', '--label', 'a=b=c'];
  const stages = [
    ['--stage', 'compile', 'echo compiling; printf "\\033[32mgreen\\033[0m\\n"'],
    ['--stage', 'unit tests', 'echo testing; echo "1 test failed" >&2; exit 3'],
    ['--stage', 'deploy', 'touch deployed'],
  ];
  const result = await runCli([...args, ...stages.flat()], { cwd, env });
  expect({ ...result, stderr: afterStart(result.stderr) }).toEqual({
    code: 3,
    signal: null,
    stdout: 'compiling\n\u001b[32mgreen\u001b[0m\ntesting\n',
    stderr: '1 test failed\n',
  });
  expect(result.stderr).toContain(`runwire: run r1: ${server.url}/runs/demo/r1\n`);
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

test('[X8] a run is published without its output, and ends, if the output is a medical record', async () => {
  const { server, cwd, env } = await setUp();
  const record = 'PID|1||77188312^^^HOSP^MR||DOE^JANE';
  const result = await runCli([...exec, '--run', 'r1', '--stage', 'load', `echo '${record}'; sleep 0.5; exit 7`], {
    cwd,
    env,
  });
  expect(result).toMatchObject({ code: 7, stdout: `${record}\n` });
  expect(afterStart(result.stderr)).toMatch(
    /^runwire: output of run r1 was withheld from its progress: PHI_REJECTED: .*\n$/,
  );
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
  expect({ ...result, stderr: afterStart(result.stderr) }).toEqual({ code: 1, signal: null, stdout: '', stderr: '' });
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
  expect(afterStart(stderr)).toMatch(
    /^runwire: 2 events of run r1 could not be delivered: PHI_REJECTED: .*stageId.*\n$/,
  );
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
  expect(afterStart(child.stderr())).toBe('on stderr\n');

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
  await vi.waitFor(() => expect(existsSync(join(cwd, 'reached'))).toBe(true), 30_000);
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
  expect([missing.code, afterStart(missing.stderr)]).toEqual([127, 'runwire: ./nowhere: command not found\n']);
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
  expect(afterStart(made.stderr)).toBe(
    `runwire: artifact ${join(cwd, 'missing.txt')}: ENOENT\nrunwire: artifact .: not a file\n`,
  );
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
  const failed = await runCli(failing, { cwd, env });
  expect([failed.code, afterStart(failed.stderr)]).toEqual([1, '']);
  const { run } = (await server.log.runs.get('demo', 'failed')) as { run: { artifacts: { name: string }[] } };
  expect(run.artifacts.map((artifact) => artifact.name)).toEqual(['core.log']);
});

test('[X1] without a server the commands still run, and one line counts the events that were not delivered', async () => {
  const gone = { url: `http://127.0.0.1:${await freePort()}` };
  const env = { RUNWIRE_URL: gone.url, RUNWIRE_TOKEN: 'any' };
  const { cwd, env: live } = await setUp();
  const untilReported = 'while [ ! -e reported ]; do sleep 0.05; done';
  const result = startChild(cliPath, [...exec, '--run', 'r1', '--stage', 's', `echo done; ${untilReported}; exit 4`], {
    cwd,
    env,
  });
  // A folder without a server, and a refused token, stop no command either.
  const refused = startChild(cliPath, [...exec, '--stage', 's', `${untilReported}; false`], {
    cwd,
    env: { ...live, RUNWIRE_TOKEN: 'forged' },
  });
  for (const child of [result, refused]) await child.until(({ stderr }) => stderr().includes('the commands run'));
  writeFileSync(join(cwd, 'reported'), '');
  const bare = await runCli([...exec, '--', 'true'], { cwd });
  expect((await result.ended).code).toBe(4);
  expect(result.stdout()).toBe('done\n');
  const unreached = `UNAVAILABLE: the server at ${gone.url} cannot be reached`;
  const meanwhile = 'the commands run, and their events are sent while they run';
  expect(afterStart(result.stderr())).toBe(
    `runwire: ${unreached}; ${meanwhile}\nrunwire: 6 events of run r1 could not be delivered: UNAVAILABLE: the server cannot be reached (ECONNREFUSED)\n`,
  );
  expect(bare.code).toBe(0);
  expect(afterStart(bare.stderr)).toMatch(/\nrunwire: 5 events of run \S+ could not be delivered: .*auth-secret.*\n$/);
  expect((await refused.ended).code).toBe(1);
  expect(afterStart(refused.stderr())).toMatch(
    /^runwire: UNAUTHENTICATED: .*; the commands run.*\nrunwire: 5 events of run \S+ could not be delivered: UNAUTHENTICATED: .*\n$/,
  );
});

test('[X9] with --require-server, exec runs nothing unless the server answers and the token may publish', async () => {
  const gone = { url: `http://127.0.0.1:${await freePort()}` };
  const { server, cwd, env } = await setUp();
  const touch = [...exec, '--require-server', '--', 'touch', 'ran'];
  const viewer = await tokenFor({ roles: ['viewer'] });
  const refused = await Promise.all([
    runCli(touch, { cwd, env: { ...env, RUNWIRE_URL: gone.url } }),
    runCli(touch, { cwd, env: { ...env, RUNWIRE_TOKEN: 'forged' } }),
    runCli(touch, { cwd, env: { ...env, RUNWIRE_TOKEN: viewer } }),
  ]);
  expect(refused.map(({ code }) => code)).toEqual([1, 1, 1]);
  expect(refused.map(({ stderr }) => stderr)).toEqual([
    `runwire: UNAVAILABLE: the server at ${gone.url} cannot be reached\n`,
    expect.stringMatching(/^runwire: UNAUTHENTICATED: [^\n]*\n$/),
    'runwire: FORBIDDEN: the token may not publish to the project demo\n',
  ]);
  expect([existsSync(join(cwd, 'ran')), server.log.head]).toEqual([false, 0]);
  expect((await runCli(touch, { cwd, env })).code).toBe(0);
  expect(existsSync(join(cwd, 'ran'))).toBe(true);
});

test('[X1] events from before a restart of the server are delivered after it, and ask to be redacted', async () => {
  using folder = temporaryFolder();
  const databaseUrl = `file:${folder.path}/log.db`;
  const policies = new Set<string>();
  const guard: Guard = (draft, policy) => {
    policies.add(policy);
    return draft;
  };
  const first = await startServer({ databaseUrl, guard, port: await freePort() });
  const env = { RUNWIRE_URL: first.url, RUNWIRE_TOKEN: await tokenFor() };
  const command =
    'echo ready; while [ ! -e go ]; do sleep 0.02; done; echo steady; while [ ! -e on ]; do sleep 0.02; done';
  const child = startChild(cliPath, [...exec, '--run', 'r1', '--stage', 's', command], { cwd: folder.path, env });
  await vi.waitFor(() => expect(first.log.head).toBeGreaterThanOrEqual(4), 30_000);
  await first.close();
  writeFileSync(join(folder.path, 'go'), '');
  await child.until(({ stdout }) => stdout() === 'ready\nsteady\n');
  await using second = await startServer({ databaseUrl, guard, port: first.port });
  writeFileSync(join(folder.path, 'on'), '');
  expect(await child.ended).toEqual({ code: 0, signal: null });
  // The check of the server at the start may have met the restart.
  expect(afterStart(child.stderr())).toMatch(/^(runwire: UNAVAILABLE: [^\n]*\n)?$/);
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
  expect([code, afterStart(stderr)]).toEqual([0, '']);
  expect((await runCli([...exec, '--', 'true'], { cwd, env: { ...unrelated, ...env } })).code).toBe(0);
  expect((await eventsOf(server)).filter(({ type }) => type === 'run.completed')).toHaveLength(2);
});
