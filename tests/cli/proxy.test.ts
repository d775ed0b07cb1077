import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { cliPath, runCli, startChild } from '../support/cli-harness.ts';
import { created } from '../support/harness.ts';
import { eventsOf, exec, setUp } from './setup.ts';

/** A proxy that reaches every host at 127.0.0.1. Returns the targets of its requests. */
async function startProxy() {
  const targets: string[] = [];
  const proxy = createServer((_, response) => response.writeHead(405).end());
  proxy.on('connect', ({ url = '' }, socket) => {
    targets.push(url);
    const upstream = connect(Number(url.split(':')[1]), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      upstream.pipe(socket).pipe(upstream);
    });
    upstream.on('error', () => socket.destroy());
    socket.on('error', () => upstream.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    proxy.closeAllConnections();
    proxy.close();
  });
  return { url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, targets };
}

test('[X11] publish, exec and tail go through the proxy of the environment, except to hosts in NO_PROXY', async () => {
  const { server, cwd, env } = await setUp({ host: '127.0.0.1' });
  const proxy = await startProxy();
  const named = { ...env, RUNWIRE_URL: `http://runwire.invalid:${server.port}`, HTTP_PROXY: proxy.url };
  const input = JSON.stringify(created('r1'));
  expect(await runCli(['publish', '-'], { cwd, env: named, input })).toMatchObject({ code: 0 });
  expect(await runCli([...exec, '--run', 'r1', '--', 'true'], { cwd, env: named })).toMatchObject({ code: 0 });
  const tail = startChild(cliPath, ['tail', '--run', 'r1', '--from', 'start', '--until-end'], { cwd, env: named });
  expect(await tail.ended).toEqual({ code: 0, signal: null });
  expect(tail.stdout()).toContain('run.completed');
  expect(new Set(proxy.targets)).toEqual(new Set([`runwire.invalid:${server.port}`]));
  expect((await eventsOf(server)).map(({ type }) => type)).toContain('run.completed');

  const asked = proxy.targets.length;
  const direct = { ...named, NO_PROXY: 'runwire.invalid' };
  expect(await runCli(['erase', '--seq', '1', '--reason', 'r', '--yes'], { cwd, env: direct })).toMatchObject({
    code: 1,
    stderr: `runwire: UNAVAILABLE: the server at http://runwire.invalid:${server.port} cannot be reached\n`,
  });
  // A server on this machine is not reached through a proxy.
  const local = { ...env, HTTP_PROXY: proxy.url };
  expect(await runCli(['publish', '-'], { cwd, env: local, input })).toMatchObject({ code: 0 });
  expect(proxy.targets).toHaveLength(asked);
});
