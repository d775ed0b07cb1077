import { writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { runCli } from '../support/cli-harness.ts';
import { created, progress, tokenFor } from '../support/harness.ts';
import { eventsOf, setUp } from './setup.ts';

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
  expect(await sent('-', `\ufeff${lines[0]}`)).toEqual({ accepted: 0, duplicates: 1, seq: 2_002 });
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

test('[P12] publish reports once what answers in place of the server, and goes on trying', async () => {
  const { server, cwd, env } = await setUp();
  let requests = 0;
  const ingress = createServer((incoming, outgoing) => {
    if (++requests < 3) {
      return void incoming.resume().on('end', () => outgoing.writeHead(404).end('<html>no route</html>'));
    }
    const { method, url: path, headers } = incoming;
    const onward = request({ port: server.port, host: '127.0.0.1', method, path, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(outgoing);
    });
    incoming.pipe(onward);
  });
  await new Promise<void>((resolve) => ingress.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    ingress.close();
    ingress.closeAllConnections();
  });
  const url = `http://127.0.0.1:${(ingress.address() as AddressInfo).port}`;
  const input = JSON.stringify(created('r1'));
  expect(await runCli(['publish', '-', '--url', url], { cwd, env, input })).toMatchObject({
    code: 0,
    stdout: '{"accepted":1,"duplicates":0,"seq":1}\n',
    stderr: 'runwire: the address does not answer as a Runwire server (status 404); trying again\n',
  });
});
