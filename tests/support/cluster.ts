import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout } from 'node:timers/promises';
import { serverPath } from './cli-harness.ts';
import { freePort } from './ports.ts';

/**
 * Servers as processes of their own on one PostgreSQL database, behind a real HAProxy that gives each connection to the next
 * server which is ready. Needs `npm run build`. Everything is stopped by its process id.
 */

const haproxy = '/usr/sbin/haproxy';
export const hasHaproxy = existsSync(haproxy);

/** A supervisor kills after ten seconds; this machine may be busy. */
const STOP_MS = 20_000;
const START_MS = 60_000;

export type ClusterOptions = {
  nodes?: number;
  /** URL of an empty database. */
  databaseUrl: string;
  /** Default: LISTEN and NOTIFY. */
  redisUrl?: string | undefined;
  secret: string;
  env?: Record<string, string>;
};

export type NodeProcess = {
  readonly port: number;
  readonly url: string;
  readonly pid: number | undefined;
  /** Everything that the process has written to stderr. */
  stderr(): string;
  /** Resolves once `/readyz` answers 200. */
  start(): Promise<void>;
  /** Resolves with the exit code. */
  stop(): Promise<number | null>;
  /** As `kill -9`. */
  kill(): Promise<void>;
};

export type Cluster = AsyncDisposable & { url: string; port: number; nodes: readonly NodeProcess[] };

export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const folder = mkdtempSync(join(tmpdir(), 'runwire-cluster-'));
  const nodes: NodeProcess[] = [];
  let proxy: Awaited<ReturnType<typeof startHaproxy>> | undefined;
  const dispose = async () => {
    await Promise.all([...nodes.map((node) => node.kill()), proxy?.stop()]);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    for (let index = 0; index < (options.nodes ?? 3); index++) {
      nodes.push(nodeProcess(await freePort(), folder, options));
      await nodes.at(-1)?.start();
    }
    proxy = await startHaproxy(
      folder,
      nodes.map(({ port }) => port),
    );
  } catch (error) {
    await dispose();
    throw error;
  }
  return { url: `http://127.0.0.1:${proxy.port}`, port: proxy.port, nodes, [Symbol.asyncDispose]: dispose };
}

function nodeProcess(port: number, folder: string, options: ClusterOptions): NodeProcess {
  const { databaseUrl, redisUrl, secret, env = {} } = options;
  const url = `http://127.0.0.1:${port}`;
  let child: ChildProcess | undefined;
  let stderr = '';
  const end = async (signal: 'SIGTERM' | 'SIGKILL') => {
    const running = child;
    child = undefined;
    if (!running || running.exitCode !== null || running.signalCode !== null) return null;
    const exit = once(running, 'exit');
    running.kill(signal);
    const limit = new AbortController();
    setTimeout(STOP_MS, undefined, { signal: limit.signal }).then(
      () => running.kill('SIGKILL'),
      () => undefined,
    );
    const [code] = (await exit) as [number | null];
    limit.abort();
    return code;
  };
  return {
    port,
    url,
    get pid() {
      return child?.pid;
    },
    stderr: () => stderr,
    start: async () => {
      const { PATH = '' } = process.env;
      const server = spawn(process.execPath, [serverPath], {
        cwd: folder,
        stdio: ['ignore', 'ignore', 'pipe'],
        env: {
          PATH,
          PORT: String(port),
          DATABASE_URL: databaseUrl,
          AUTH_SECRET: secret,
          ...(redisUrl === undefined ? {} : { REDIS_URL: redisUrl }),
          ...env,
        },
      });
      child = server;
      server.stderr.on('data', (chunk) => {
        stderr += chunk;
      });
      const deadline = performance.now() + START_MS;
      while (!(await isReady(url))) {
        if (server.exitCode !== null || server.signalCode !== null) throw new Error(`the server ended: ${stderr}`);
        if (performance.now() > deadline) throw new Error(`the server is not ready: ${stderr}`);
        await setTimeout(50);
      }
    },
    stop: () => end('SIGTERM'),
    kill: async () => void (await end('SIGKILL')),
  };
}

const isReady = (url: string): Promise<boolean> =>
  fetch(`${url}/readyz`).then(
    ({ status }) => status === 200,
    () => false,
  );

/** A HAProxy that gives each connection and each request to the next server that is ready. */
export async function startHaproxy(folder: string, ports: readonly number[]) {
  const port = await freePort();
  const path = join(folder, 'haproxy.cfg');
  const servers = ports.map((each, index) => `  server node${index} 127.0.0.1:${each} check inter 200ms fall 1 rise 1`);
  writeFileSync(
    path,
    `global
  maxconn 4000
  stats socket ${folder}/haproxy.sock
defaults
  mode http
  timeout connect 2s
  timeout check 2s
  timeout client 60s
  timeout server 60s
  timeout tunnel 1h
  retries 3
  option redispatch
  retry-on conn-failure empty-response 503
frontend public
  bind 127.0.0.1:${port}
  default_backend nodes
backend nodes
  balance roundrobin
  option httpchk GET /readyz
${servers.join('\n')}
`,
  );
  const child = spawn(haproxy, ['-db', '-f', path], { stdio: ['ignore', 'ignore', 'pipe'] });
  let output = '';
  child.stderr.on('data', (chunk) => {
    output += chunk;
  });
  const exit = once(child, 'exit');
  const stop = async () => {
    child.kill('SIGKILL');
    await exit;
  };
  const isListening = () =>
    new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true)).once('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });
  for (let tries = 0; !(await isListening()) || !(await isReady(`http://127.0.0.1:${port}`)); tries++) {
    if (child.exitCode !== null || tries > 600) {
      await stop();
      throw new Error(`HAProxy does not serve: ${output}`);
    }
    await setTimeout(50);
  }
  /** Number of connections that clients have opened so far. */
  const opened = async () => {
    const socket = connect(`${folder}/haproxy.sock`);
    socket.end('show stat\n');
    const line = (await text(socket)).split('\n').find((each) => each.startsWith('public,FRONTEND,')) ?? '';
    return Number(line.split(',')[7]);
  };
  return { port, opened, stop };
}
