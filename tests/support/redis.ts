import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { freePort } from './ports.ts';

/** A real Redis server in a temporary folder, on a free port of 127.0.0.1. */

const program = '/usr/bin/redis-server';
export const hasRedis = existsSync(program);

export type RedisServer = {
  url: string;
  port: number;
  /** Stops the server at once, as a crash does. */
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Stops the server and removes its folder. */
  remove(): Promise<void>;
};

/** `settings`: further settings, such as `['--requirepass', 'secret']`. */
export async function startRedis(settings: readonly string[] = []): Promise<RedisServer> {
  const folder = mkdtempSync(join(tmpdir(), 'runwire-redis-'));
  const port = await freePort();
  let child: ChildProcess | undefined;
  const isListening = () =>
    new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true)).once('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });
  const start = async () => {
    const place = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'no'];
    const server = spawn(program, [...place, ...settings], { stdio: 'ignore' });
    child = server;
    for (let tries = 0; !(await isListening()); tries++) {
      if (server.exitCode !== null || tries > 600) throw new Error('Redis does not start');
      await setTimeout(50);
    }
  };
  const stop = async () => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    await exit;
  };
  // At the exit of a process that did not remove the server, as after SIGTERM.
  const removeAtExit = () => {
    child?.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  };
  process.once('exit', removeAtExit);
  const remove = async () => {
    process.off('exit', removeAtExit);
    await stop();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await start();
  } catch (error) {
    await remove();
    throw error;
  }
  return { url: `redis://127.0.0.1:${port}`, port, start, stop, remove };
}
