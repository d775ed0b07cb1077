import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { expect, onTestFinished, test } from 'vitest';
import type { ConnectionStatus } from '../../client/index.ts';
import { startCuttableServer } from '../browser/server.ts';
import { progress, tokenFor } from '../support/harness.ts';

/**
 * The built client in a process of its own, with the WebSocket of Node.js. Node.js 22 has no `CloseEvent`. In the second
 * test, the process has as few globals as React Native.
 */

const client = new URL('../../dist/client/index.js', import.meta.url);
/** `--experimental-websocket` turns on the class that Node.js 22 has. Later versions ignore it. */
const flags = ['--experimental-websocket', '--no-warnings', '--input-type=module'];

const follower = `
  const { createRunwireClient } = await import(${JSON.stringify(client.href)});
  const [url, token] = process.argv.slice(1);
  const { client, connection } = createRunwireClient({ url, token, reconnectDelayMs: 10, heartbeatMs: 1_000 });
  const print = (line) => console.log(JSON.stringify(line));
  connection.subscribe(() => {
    const { error, ...status } = connection.getStatus();
    print({ status: { ...status, error: error?.message } });
  });
  client.onRunEvent.subscribe({ runId: 'r1', from: 'start' }, { onData: ({ data }) => print({ seq: data.runSeq }) });
  process.stdin.on('data', (data) => {
    if (String(data) === 'reconnect') connection.reconnect();
    else connection.close().then(() => process.exit(0));
  });
`;

/** Starts the client. `received` are the positions of its events, `statuses` its states. */
function startFollower(prelude: string, args: string[]) {
  const child = spawn(process.execPath, [...flags, '--eval', prelude + follower, ...args], { stdio: 'pipe' });
  onTestFinished(() => void child.kill('SIGKILL'));
  const received: number[] = [];
  const statuses: (Pick<ConnectionStatus, 'state' | 'attempts'> & { error?: string })[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    const { seq, status } = JSON.parse(line);
    if (seq !== undefined) received.push(seq);
    if (status !== undefined) statuses.push(status);
  });
  let failure = '';
  child.stderr.on('data', (data) => {
    failure += data;
  });
  const exited = once(child, 'exit');
  return { child, received, statuses, exited, failure: () => failure };
}

/** The class of Node.js needs these globals itself. */
const withoutGlobals = `
  globalThis.WebSocket = (await import(${JSON.stringify(import.meta.resolve('ws'))})).WebSocket;
  for (const name of ['CloseEvent', 'Event', 'EventTarget', 'MessageEvent', 'ErrorEvent', 'reportError', 'location']) {
    delete globalThis[name];
  }
  globalThis.window = globalThis;
`;

for (const [platform, prelude] of [
  ["Node.js' own WebSocket", 'delete globalThis.CloseEvent;'],
  ['a platform without events, page and reportError', withoutGlobals],
] as const) {
  test(`[C14] on ${platform}, the client outlives a dead network, a restart and reconnect(), and misses nothing`, async () => {
    await using server = await startCuttableServer();
    const { child, received, statuses, exited, failure } = startFollower(prelude, [server.url, await tokenFor()]);
    let count = 0;
    const publish = () => server.bus.publish([progress('r1', ++count)], { actor: 'ada' });
    const hasAll = async () => {
      const all = Array.from({ length: count }, (_, index) => index + 1);
      await expect.poll(() => failure() || received).toEqual(all);
    };
    await publish();
    await hasAll();

    server.freeze(); // The network is dead: the heartbeat finds it.
    await publish();
    await hasAll();
    const lost = { state: 'reconnecting', attempts: 1, error: 'the connection stopped responding' };
    expect(statuses).toContainEqual(expect.objectContaining(lost));

    await server.away(); // Nothing listens.
    await publish();
    await expect.poll(() => statuses.at(-1)?.attempts).toBeGreaterThan(1);
    await server.back();
    await hasAll();

    child.stdin.write('reconnect');
    await expect.poll(() => statuses.slice(-2).map(({ state }) => state)).toEqual(['connecting', 'connected']);
    await publish();
    await hasAll();
    child.stdin.write('close');
    expect(await exited).toEqual([0, null]);
    expect(failure()).toBe('');
  });
}
