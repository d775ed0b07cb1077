import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { cliPath, runCli } from '../support/cli-harness.ts';
import { created, progress, tokenFor } from '../support/harness.ts';
import { eventsOf, setUp } from './setup.ts';

test('[X10] erase shows the event, and erases it by seq or by id; without a terminal it needs --yes', async () => {
  const { server, cwd, env } = await setUp();
  await server.bus.publish([created('r1', { eventId: 'e1' }), progress('r1', 5, { message: 'a name' })], {
    actor: 'ci',
  });
  const reason = ['--reason', 'asked for'];
  const unconfirmed = await runCli(['erase', '--seq', '2', ...reason], { cwd, env });
  expect([unconfirmed.code, unconfirmed.stdout]).toEqual([2, '']);
  expect(unconfirmed.stderr).toMatch(/ stage\.progress +demo\/r1 .*a name\nrunwire: erase needs --yes/);
  expect((await eventsOf(server)).some((event) => 'erased' in event)).toBe(false);

  const bySeq = await runCli(['erase', '--seq', '2', ...reason, '--yes'], { cwd, env });
  expect(JSON.parse(bySeq.stdout)).toMatchObject({ seq: 2, runId: 'r1', reason: 'asked for' });
  const byId = await runCli(['erase', '--event-id', 'e1', '--project', 'demo', ...reason, '--yes'], { cwd, env });
  expect(byId.stderr).toContain('run.created');
  expect(JSON.parse(byId.stdout)).toMatchObject({ seq: 1 });
  expect((await eventsOf(server)).every((event) => 'erased' in event)).toBe(true);

  const missing = await runCli(['erase', '--event-id', 'e1', '--project', 'other', ...reason, '--yes'], { cwd, env });
  expect(missing).toMatchObject({ code: 1, stderr: 'runwire: EVENT_NOT_FOUND: no such event, or not readable\n' });
});

test('[X10] in a terminal, erase asks, and erases nothing without a yes', async () => {
  const { server, cwd, env } = await setUp();
  await server.bus.publish([created('r1')], { actor: 'ci' });
  const inTerminal = async (answer: string) => {
    const command = `${process.execPath} ${cliPath} erase --seq 1 --reason r`;
    const options = { cwd, env: { PATH: process.env.PATH, ...env, RUNWIRE_TOKEN: await tokenFor() } };
    // `script` gives the command a terminal.
    const child = spawn('script', ['-qec', command, '/dev/null'], options);
    child.stdin.write(`${answer}\n`);
    const output = await text(child.stdout);
    return output;
  };
  expect(await inTerminal('n')).toContain('nothing was erased');
  expect((await eventsOf(server)).some((event) => 'erased' in event)).toBe(false);
  expect(await inTerminal('y')).toContain('"reason":"r"');
  expect((await eventsOf(server)).every((event) => 'erased' in event)).toBe(true);
});
