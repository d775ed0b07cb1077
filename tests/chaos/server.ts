import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';
import { freePort } from '../support/ports.ts';
import type { Answers, Asked, Ready, ServeOptions } from './serve.ts';

/** The server process as seen by its parent: started, killed, and restarted on the same port. */

/** A supervisor kills after ten seconds; this machine may be busy. */
const STOP_MS = 60_000;

const root = fileURLToPath(new URL('../..', import.meta.url));

/**
 * Bundles `serve.ts`, or another script, into one file, which starts several times faster than a hundred modules. The file is placed where
 * the server finds the built web app.
 */
export async function bundleServer(entry = 'tests/chaos/serve.ts'): Promise<Disposable & { path: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'runwire-chaos-'));
  for (const name of ['node_modules', 'dist']) symlinkSync(join(root, name), join(folder, name));
  await build({
    configFile: false,
    root,
    logLevel: 'error',
    ssr: { noExternal: true, external: ['@photostructure/sqlite', 'pg', 'redis'] },
    build: {
      ssr: entry,
      outDir: join(folder, 'server', 'http'),
      emptyOutDir: false,
      minify: false,
      target: 'node20',
    },
  });
  return {
    path: join(folder, 'server', 'http', basename(entry).replace(/\.ts$/, '.js')),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

export class ServerProcess {
  readonly #script: string;
  readonly #options: ServeOptions;
  #child: ChildProcess | undefined;
  readonly #waiting = new Map<number, { resolve(answer: never): void; reject(error: Error): void }>();
  #lastId = 0;
  #ready: Ready | undefined;
  /** Error output, and unexpected exits. */
  readonly complaints: string[] = [];

  /** Port 0 selects a free port at the first start; restarts reuse it. */
  constructor(script: string, options: ServeOptions) {
    this.#script = script;
    this.#options = { ...options };
  }

  get ready(): Ready {
    if (!this.#ready) throw new Error('the server has not been started');
    return this.#ready;
  }
  get path(): string {
    return this.#options.path;
  }

  /** Resolves once the server listens. */
  async start(path = this.#options.path): Promise<Ready> {
    this.#options.path = path;
    mkdirSync(join(path, '..'), { recursive: true });
    this.#options.port ||= await freePort();
    const child = fork(this.#script, [JSON.stringify(this.#options)], {
      execArgv: ['--expose-gc', '--disable-warning=ExperimentalWarning'],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.#child = child;
    if (child.stderr) createInterface(child.stderr).on('line', (line) => this.#complain(line));
    const started = new Promise<Ready>((resolve, reject) => {
      child.on('message', (message: { ready: Ready } | { id: number; answer: never }) => {
        if ('ready' in message) resolve(message.ready);
        else this.#waiting.get(message.id)?.resolve(message.answer);
      });
      child.once('exit', (code, signal) => {
        if (this.#child === child) this.complaints.push(`the server ended by itself (${code ?? signal})`);
        const error = new Error(`the server has ended: ${this.complaints.join('\n')}`);
        reject(error);
        for (const { reject: rejectAnswer } of this.#waiting.values()) rejectAnswer(error);
      });
    });
    this.#ready = await started;
    return this.#ready;
  }

  async stop(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#child;
    if (!child) return;
    this.#child = undefined;
    const ended = once(child, 'exit');
    child.kill(signal);
    const patience = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    const [code] = (await ended) as [number | null];
    clearTimeout(patience);
    if (signal === 'SIGTERM' && code !== 0) this.complaints.push(`the server ended with ${code} at SIGTERM`);
  }

  /** Stops the process where it is, or lets it go on. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child?.kill(signal);
  }

  async ask<K extends keyof Answers>(asked: Extract<Asked, Record<K, unknown>>): Promise<Answers[K]> {
    const id = ++this.#lastId;
    const answer = new Promise<Answers[K]>((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    this.#child?.send({ id, asked }, (error) => {
      if (error) this.#waiting.get(id)?.reject(error);
    });
    return answer.finally(() => this.#waiting.delete(id));
  }

  async setClock(clockMs: number): Promise<void> {
    this.#options.clockMs = clockMs;
    await this.ask<'clockMs'>({ clockMs });
  }

  #complain(line: string): void {
    if (line.trim() !== '') this.complaints.push(line.slice(0, 4_000));
  }
}
