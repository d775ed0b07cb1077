import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { pinned } from './processes.ts';
import type { Begins, Started } from './servers/face.ts';

/** Controls the load generator, `load.c`. */

export const LOAD_CORE = 1;

/** Returns the path of the program. */
export function compileLoad(folder: string): string {
  const path = join(folder, 'load');
  const compiler = process.env.CC ?? 'cc';
  try {
    execFileSync(compiler, ['-O2', '-o', path, fileURLToPath(new URL('./load.c', import.meta.url))]);
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw new Error(
      isMissing
        ? `the load is a C program, and there is no compiler "${compiler}": install one (Debian: apt-get install gcc libc6-dev) or set CC`
        : 'the load could not be compiled: it needs Linux (epoll)',
      { cause: error },
    );
  }
  return path;
}

/** In ms. */
export type Latencies = { p50: number; p90: number; p99: number };

export class Load {
  readonly #child: ChildProcess;
  readonly #answers: ((line: string) => void)[] = [];
  #failure: Error | undefined;
  #fail!: (error: Error) => void;
  /** Rejects when the load generator fails. */
  readonly failed = new Promise<never>((_, reject) => {
    this.#fail = reject;
  });

  constructor(path: string) {
    const [command, args] = pinned(LOAD_CORE, path, []);
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    const { stdout } = this.#child;
    if (!stdout) throw new Error('the load generator has no output');
    createInterface({ input: stdout }).on('line', (line) => {
      if (line.startsWith('failed ')) this.#end(`the load: ${line.slice('failed '.length)}`);
      else this.#answers.shift()?.(line);
    });
    this.#child.once('exit', () => this.#end('the load has ended'));
    this.failed.catch(() => undefined);
  }

  /** Opens connections and sends the greetings; returns the times of the first and the last of these steps in ns. */
  async open(
    { port, controlPort, path, protocol, greetings, tokens = [] }: Started,
    readers: number,
    runs: number,
  ): Promise<{ begunNs: bigint; endedNs: bigint }> {
    await Promise.all(tokens.map((token) => this.#ask(`token ${token}`)));
    for (const greeting of greetings) {
      await this.#ask(typeof greeting === 'number' ? `wait ${greeting}` : `say ${greeting}`);
    }
    const times = await this.#ask(`open ${readers} ${port} ${controlPort} ${runs} ${protocol ?? '-'} ${path}`);
    const [begunNs, endedNs] = times.map(BigInt) as [bigint, bigint];
    return { begunNs, endedNs };
  }

  /** Sets the number of frames after which the generator notifies the contender. */
  async every(frames: number): Promise<void> {
    await this.#ask(`every ${frames}`);
  }

  async record(): Promise<void> {
    await this.#ask('record');
  }

  /** From the begin of each event to the arrival of each frame, in ms. */
  async latencies(begins: Begins): Promise<Latencies & { frames: number }> {
    for (const [index, ns] of begins) await this.#ask(`base ${index} ${ns}`);
    const [frames, ...times] = (await this.#ask('latencies')).map(Number);
    const [p50, p90, p99] = times.map((ns) => ns / 1e6) as [number, number, number];
    return { frames: frames as number, p50, p90, p99 };
  }

  async pause(connection: number): Promise<void> {
    await this.#ask(`pause ${connection}`);
  }
  async resume(connection: number): Promise<void> {
    await this.#ask(`resume ${connection}`);
  }

  /** Frames of one connection, and the indices of its first and last event. */
  async reader(connection: number): Promise<{ frames: number; first: number; last: number }> {
    const [frames, first, last] = (await this.#ask(`reader ${connection}`)).map(Number) as [number, number, number];
    return { frames, first, last };
  }

  /** Sets the number of connections that are opened at a time. */
  async flight(connections: number): Promise<void> {
    await this.#ask(`flight ${connections}`);
  }

  /** From now on the server may end connections. `close` must follow. */
  async leave(): Promise<void> {
    await this.#ask('leave');
  }

  /** Closes all connections. Throws if one of them received events twice or out of order. */
  async close(): Promise<void> {
    const [, disordered] = (await this.#ask('close')).map(Number);
    if (disordered !== 0) throw new Error(`${disordered} frames arrived out of order`);
  }

  end(): void {
    this.#child.stdin?.end();
  }

  async #ask(line: string): Promise<string[]> {
    if (this.#failure) throw this.#failure;
    const answer = new Promise<string>((resolve) => {
      this.#answers.push(resolve);
    });
    this.#child.stdin?.write(`${line}\n`);
    return (await Promise.race([answer, this.failed])).split(' ').slice(1);
  }

  #end(reason: string): void {
    this.#failure ??= new Error(reason);
    this.#fail(this.#failure);
  }
}
