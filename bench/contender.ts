import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Latencies, Load } from './load.ts';
import { pinned } from './processes.ts';
import type { Cost } from './servers/cost.ts';
import type { Ask, Begins, Face, Measured, Memory, PacedShape, Shape, Started } from './servers/face.ts';

/** A contender: a server in its own process on one core, and its load in another process on another core. */

export const peers = {
  runwire: 'Runwire',
  old: 'Runwire, old',
  ws: 'plain ws, one ready string to each',
  socketio: 'Socket.IO, room',
  'graphql-ws': 'graphql-ws, async iterator',
  trpc: 'tRPC as documented',
  'trpc-iterator': 'tRPC, hand-written iterator',
} as const;
export type PeerName = keyof typeof peers;

/** Contenders that run the server of another name, with these options. */
const variants: Partial<Record<string, { script: string; options: object }>> = {
  old: { script: 'runwire', options: {} },
  'trpc-iterator': { script: 'trpc', options: { isIterator: true } },
};

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

/** Starts the process of a server; `options` are added to its own. */
type Launch = (options: object) => ChildProcess;

export class Contender {
  readonly name: string;
  readonly #launch: Launch;
  #server: ChildProcess;
  readonly #load: Load;
  readonly #others: Load[] = [];
  readonly #program: string;
  #started: Started;
  #readers = 0;
  #runs = 0;

  private constructor(
    name: string,
    launch: Launch,
    program: string,
    server: ChildProcess,
    load: Load,
    started: Started,
  ) {
    this.name = name;
    this.#program = program;
    this.#launch = launch;
    this.#server = server;
    this.#load = load;
    this.#started = started;
  }

  /** `node`: the program; default that of the bench. `profiles`: folder for a CPU profile of the process. */
  static async start(options: {
    name: string;
    node?: string | undefined;
    servers: string;
    load: string;
    profiles?: string | undefined;
    options?: object | undefined;
  }): Promise<Contender> {
    const { name, servers, load, profiles, node = process.execPath } = options;
    const flags = ['--expose-gc', ...(profiles ? ['--cpu-prof', `--cpu-prof-dir=${profiles}/${name}`] : [])];
    const { script, options: of } = variants[name] ?? { script: name, options: {} };
    const launch = (more: object) => {
      const [command, args] = pinned(SERVER_CORE, node, [
        ...flags,
        join(servers, `bench/servers/${script}.js`),
        JSON.stringify({ ...of, ...options.options, ...more }),
      ]);
      const env = { ...process.env, NODE_ENV: 'production' };
      // Stdout may be of the results.
      return spawn(command, args, { stdio: ['ignore', 2, 2, 'ipc'], env });
    };
    const server = launch({});
    const reader = new Load(load);
    return new Contender(name, launch, load, server, reader, await answerOf<Started>(name, server, reader));
  }

  get load(): Load {
    return this.#load;
  }
  /** Another load generator. It ends with the contender at the latest. */
  anotherLoad(): Load {
    const load = new Load(this.#program);
    this.#others.push(load);
    return load;
  }
  get started(): Started {
    return this.#started;
  }

  /** Replaces the readers by `readers` new ones, equally many per run; waits until each is subscribed. */
  async open(readers: number, runs: number): Promise<void> {
    if (this.#readers === readers && this.#runs === runs) return;
    await this.close();
    await this.connect(readers, runs);
    await this.#untilSubscribed(readers);
  }

  /** Opens connections; `differently` replaces what the server has stated. */
  async connect(readers: number, runs: number, differently: Partial<Started> = {}): Promise<Cost> {
    this.#readers = readers;
    this.#runs = runs;
    const before = await this.ask('cpuMicros', undefined);
    const { begunNs, endedNs } = await this.#load.open({ ...this.#started, ...differently }, readers, runs);
    const cpuMicros = (await this.ask('cpuMicros', undefined)) - before;
    return { seconds: Number(endedNs - begunNs) / 1e9, cpuMicros };
  }

  async close(): Promise<void> {
    if (this.#readers === 0) return;
    this.#readers = 0;
    await this.#load.close();
    await this.#untilSubscribed(0);
  }

  /** Kills the server, and starts it again on the same port. Its clients stay away. */
  async restart(): Promise<void> {
    await this.#load.leave();
    const exited = once(this.#server, 'exit');
    this.#server.kill('SIGKILL');
    await exited;
    this.#readers = 0;
    await this.#load.close();
    this.#server = this.#launch({ port: this.#started.port });
    this.#started = await answerOf<Started>(this.name, this.#server, this.#load);
  }

  async measure(shape: Shape): Promise<Measured> {
    const { events, perTick = 1, ticksPerAck = 1, readersPerRun } = shape;
    if (events % (perTick * ticksPerAck) !== 0) throw new Error('events must be a multiple of perTick × ticksPerAck');
    if (readersPerRun > 0) await this.#load.every(perTick * ticksPerAck * readersPerRun);
    return this.ask('measure', shape);
  }

  /** Begins to send events at an interval. `paced` ends it. */
  async pace(shape: PacedShape, load = this.#load): Promise<void> {
    await load.every(0);
    await load.record();
    await this.ask('pace', shape);
  }

  /** `ofCall`, `ofCommit`: latencies in ms since the call, and since the end of its commit. */
  async paced(
    load = this.#load,
    readersPerRun = this.#readers / this.#runs,
  ): Promise<{ count: number; ofCall: Latencies; ofCommit: Latencies | undefined; cpuShare: number }> {
    const { calls, commits, cpuShare } = await this.ask('paced', undefined);
    const since = async (begins: Begins) => {
      const { frames, ...latencies } = await load.latencies(begins);
      if (frames !== calls.length * readersPerRun) throw new Error(`only ${frames} frames arrived in time`);
      return latencies;
    };
    const ofCall = await since(calls);
    return { count: calls.length, ofCall, ofCommit: commits && (await since(commits)), cpuShare };
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
    for (const load of this.#others) load.end();
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
