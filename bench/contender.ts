import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Load } from './load.ts';
import { pinned } from './processes.ts';
import type { Ask, Face, Measured, Memory, Paced, PacedShape, Shape, Started } from './servers/face.ts';

/** A contender: a server in its own process on one core, and its load in another process on another core. */

export const peers = {
  runwire: 'Runwire',
  ws: 'plain ws, one ready string to each',
  socketio: 'Socket.IO, room',
  'graphql-ws': 'graphql-ws, async iterator',
  trpc: 'tRPC as documented',
} as const;
export type PeerName = keyof typeof peers;
export const peerNames = Object.keys(peers) as PeerName[];

const SERVER_CORE = 0;
/** Time limit: a contender that takes longer is stuck. */
const PATIENCE_MS = 120_000;
const root = fileURLToPath(new URL('..', import.meta.url));

/** Servers run as compiled JavaScript, as shipped. Running TypeScript directly would add its cost. */
export function compileServers(folder: string): void {
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const project = join(root, 'bench/servers/tsconfig.json');
  execFileSync(process.execPath, [tsc, '-p', project, '--outDir', folder], { stdio: ['ignore', 'inherit', 'inherit'] });
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
}

export class Contender {
  readonly name: string;
  readonly #server: ChildProcess;
  readonly #load: Load;
  readonly started: Started;
  #readers = 0;
  #runs = 0;

  private constructor(name: string, server: ChildProcess, load: Load, started: Started) {
    this.name = name;
    this.#server = server;
    this.#load = load;
    this.started = started;
  }

  /** `profiles`: folder for a CPU profile of the process. */
  static async start(options: {
    name: string;
    servers: string;
    load: string;
    profiles?: string | undefined;
    options?: object;
  }): Promise<Contender> {
    const { name, servers, load, profiles } = options;
    const flags = ['--expose-gc', ...(profiles ? ['--cpu-prof', `--cpu-prof-dir=${profiles}/${name}`] : [])];
    const script = join(servers, `bench/servers/${name}.js`);
    const [command, args] = pinned(SERVER_CORE, process.execPath, [
      ...flags,
      script,
      JSON.stringify(options.options ?? {}),
    ]);
    const env = { ...process.env, NODE_ENV: 'production' };
    const server = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], env });
    const reader = new Load(load);
    return new Contender(name, server, reader, await answerOf<Started>(name, server, reader));
  }

  get load(): Load {
    return this.#load;
  }

  /** Replaces the readers by `readers` new ones, equally many per run; waits until each is subscribed. */
  async open(readers: number, runs: number): Promise<void> {
    if (this.#readers === readers && this.#runs === runs) return;
    await this.close();
    await this.#load.open(this.started, readers, runs);
    this.#readers = readers;
    this.#runs = runs;
    await this.#untilSubscribed(readers);
  }

  async close(): Promise<void> {
    if (this.#readers === 0) return;
    this.#readers = 0;
    await this.#load.close();
    await this.#untilSubscribed(0);
  }

  async measure(shape: Shape): Promise<Measured> {
    const { events, perTick = 1, ticksPerAck = 1, readersPerRun } = shape;
    if (events % (perTick * ticksPerAck) !== 0) throw new Error('events must be a multiple of perTick × ticksPerAck');
    if (readersPerRun > 0) await this.#load.every(perTick * ticksPerAck * readersPerRun);
    return this.ask('measure', shape);
  }

  /** Latencies in ms. */
  async paced(shape: PacedShape): Promise<{ p50: number; p90: number; p99: number; cpuShare: number }> {
    await this.#load.every(0);
    await this.#load.record();
    const { begins, cpuShare }: Paced = await this.ask('paced', shape);
    const { frames, ...latencies } = await this.#load.latencies(begins);
    if (frames !== shape.events * this.#readers) throw new Error(`only ${frames} frames arrived in time`);
    return { ...latencies, cpuShare };
  }

  memory(): Promise<Memory> {
    return this.ask('memory', undefined);
  }

  ask<K extends keyof Face>(kind: K, argument: Parameters<Face[K]>[0]): Promise<ReturnType<Face[K]>> {
    return this.askAlso(kind, argument);
  }

  /** Sends a request that only some contenders handle. */
  askAlso<T>(kind: string, argument: unknown): Promise<T> {
    this.#server.send({ kind, argument } satisfies Ask);
    return answerOf(this.name, this.#server, this.#load);
  }

  async stop(): Promise<void> {
    if (!this.#server.connected) return;
    const exited = once(this.#server, 'exit');
    this.#load.end();
    this.#server.disconnect();
    await exited;
  }

  async #untilSubscribed(readers: number): Promise<void> {
    const giveUpAt = performance.now() + PATIENCE_MS;
    for (;;) {
      const subscribed = await this.ask('subscribed', undefined);
      if (subscribed === readers) break;
      if (performance.now() > giveUpAt) throw new Error(`${this.name}: ${subscribed} subscribed of ${readers}`);
      await setTimeout(50);
    }
  }
}

async function answerOf<T>(name: string, server: ChildProcess, load: Load): Promise<T> {
  const control = new AbortController();
  const { signal } = control;
  const fails = async (event: Promise<unknown>, how: string): Promise<never> => {
    await event;
    throw new Error(`${name} ${how}`);
  };
  const answer = once(server, 'message', { signal });
  const failures = [
    load.failed,
    fails(once(server, 'exit', { signal }), 'has ended'),
    fails(setTimeout(PATIENCE_MS, undefined, { signal }), `has not answered for ${PATIENCE_MS / 1_000} s`),
  ];
  for (const failure of failures) failure.catch(() => undefined);
  try {
    const [message] = await Promise.race([answer, ...failures]);
    return message as T;
  } finally {
    control.abort();
  }
}
