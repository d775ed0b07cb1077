import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { Client } from 'pg';
import { freePort } from './ports.ts';

/** A real PostgreSQL server in a temporary folder, on a free port of 127.0.0.1. */

const versions = '/usr/lib/postgresql';
/** Folder of the newest installed server's programs; undefined where there is none. */
export const postgresPrograms: string | undefined = existsSync(versions)
  ? readdirSync(versions)
      .sort((a, b) => Number(b) - Number(a))
      .map((version) => join(versions, version, 'bin'))
      .find((folder) => existsSync(join(folder, 'initdb')))
  : undefined;

/** PostgreSQL refuses to run as root. */
function unprivileged(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const idOf = (flag: string) => Number(execFileSync('id', [flag, 'nobody'], { encoding: 'utf8' }));
  return { uid: idOf('-u'), gid: idOf('-g') };
}

export type PostgresServer = {
  /** URL of the database `postgres`, as superuser. */
  url: string;
  port: number;
  folder: string;
  /** Creates an empty database, or a copy of `template`, and returns its URL. */
  createDatabase(template?: string): Promise<string>;
  /** Removes a database that {@link createDatabase} created, and its connections. */
  dropDatabase(url: string): Promise<void>;
  /** Stops the server: `fast` ends its connections, `immediate` is a crash. */
  stop(mode: 'fast' | 'immediate'): Promise<void>;
  /** Starts it again on the same data and port. */
  start(): Promise<void>;
  /** Stops the server and removes its data. */
  remove(): Promise<void>;
};

/** `isDurable`: commits wait for the disk, as in production. Default false: tests of one process need no disk. */
export async function startPostgres({
  isDurable = false,
  settings = [] as readonly string[],
} = {}): Promise<PostgresServer> {
  if (postgresPrograms === undefined) throw new Error('PostgreSQL is not installed');
  const programs = postgresPrograms;
  const user = unprivileged();
  const folder = mkdtempSync(join(tmpdir(), 'runwire-postgres-'));
  if (user.uid !== undefined) chownSync(folder, user.uid, user.gid as number);
  const data = join(folder, 'data');
  const initdb = ['-D', data, '-U', 'runwire', '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8', '--no-sync'];
  execFileSync(join(programs, 'initdb'), initdb, { ...user, cwd: folder, stdio: 'pipe' });
  const port = await freePort();
  const url = `postgres://runwire@127.0.0.1:${port}/postgres`;
  const options = ['max_connections=200', ...(isDurable ? [] : ['fsync=off', 'full_page_writes=off']), ...settings];
  let child: ChildProcess | undefined;

  const query = (text: string) => run(url, text);
  const start = async () => {
    const sockets = ['-c', `unix_socket_directories=${folder}`, '-h', '127.0.0.1', '-p', String(port)];
    const server = spawn(
      join(programs, 'postgres'),
      ['-D', data, ...sockets, ...options.flatMap((option) => ['-c', option])],
      { ...user, cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] },
    );
    let output = '';
    server.stderr?.on('data', (chunk) => {
      output = `${output}${chunk}`.slice(-4_000);
    });
    child = server;
    for (let tries = 0; ; tries++) {
      if (server.exitCode !== null) throw new Error(`PostgreSQL ended: ${output}`);
      try {
        return await query('SELECT 1');
      } catch (error) {
        if (tries > 600) throw error;
        await setTimeout(50);
      }
    }
  };
  const stop = async (mode: 'fast' | 'immediate') => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, 'exit');
    child.kill(mode === 'fast' ? 'SIGINT' : 'SIGQUIT');
    await exit;
  };
  // At the exit of a process that did not remove the server, as after SIGTERM.
  const removeAtExit = () => {
    child?.kill('SIGQUIT');
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  process.once('exit', removeAtExit);
  const remove = async () => {
    process.off('exit', removeAtExit);
    await stop('immediate');
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await start();
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    url,
    port,
    folder,
    start,
    stop,
    remove,
    createDatabase: (template) => createDatabase(url, template),
    dropDatabase: (database) => dropDatabase(url, database),
  };
}

/** Runs one statement on a connection of its own. */
async function run(url: string, text: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(text);
  } finally {
    await client.end();
  }
}

const nameOf = (database: string) => new URL(database).pathname.slice(1);

/** Creates an empty database, or a copy of the database `template`, on the server of `url`, and returns its URL. */
export async function createDatabase(url: string, template?: string): Promise<string> {
  const name = `t_${randomUUID().replaceAll('-', '')}`;
  await run(url, `CREATE DATABASE ${name}${template === undefined ? '' : ` TEMPLATE ${nameOf(template)}`}`);
  return url.replace(/[^/]+$/, name);
}

/** Removes a database and ends its connections. */
export const dropDatabase = (url: string, database: string): Promise<void> =>
  run(url, `DROP DATABASE IF EXISTS ${nameOf(database)} WITH (FORCE)`);
