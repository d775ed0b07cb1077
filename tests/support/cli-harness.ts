import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { onTestFinished as onThisTestFinished } from 'vitest';

/** Runs the built command line as child processes, which are killed when their test finishes. */

export const cliPath = fileURLToPath(new URL('../../dist/server/cli/main.js', import.meta.url));
export const serverPath = fileURLToPath(new URL('../../dist/server/main.js', import.meta.url));

export type Child = {
  process: ChildProcess;
  /** Output so far. */
  stdout(): string;
  stderr(): string;
  /** Resolves once `holds` returns true for the output so far. Rejects if the process ends first. */
  until(holds: (child: Child) => boolean): Promise<void>;
  ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
};

export type ChildOptions = {
  cwd: string;
  env?: Record<string, string>;
  input?: string;
  /** Pass the test context's function in concurrent tests: the default cannot tell them apart. */
  onTestFinished?: (cleanUp: () => Promise<void>) => void;
};

export function startChild(path: string, args: readonly string[], options: ChildOptions): Child {
  const { cwd, env = {}, input, onTestFinished = onThisTestFinished } = options;
  if (!existsSync(path)) throw new Error(`${path} is missing: npm run build`);
  const { PATH = '' } = process.env;
  const child = spawn(process.execPath, [path, ...args], { cwd, env: { PATH, ...env }, stdio: 'pipe' });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  const chunks = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  const changed = new Set<() => void>();
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].on('data', (chunk: Buffer) => {
      chunks[name].push(chunk);
      for (const listener of changed) listener();
    });
  }
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal }));
  });
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const self: Child = {
    process: child,
    stdout: () => Buffer.concat(chunks.stdout).toString(),
    stderr: () => Buffer.concat(chunks.stderr).toString(),
    ended,
    until: (holds) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (!holds(self)) return;
          changed.delete(look);
          resolve();
        };
        changed.add(look);
        look();
        ended.then(({ code, signal }) => reject(new Error(`ended (${code ?? signal}): ${self.stderr()}`)), reject);
      }),
  };
  return self;
}

/** Runs a command until it exits. */
export async function runCli(args: readonly string[], options: ChildOptions) {
  const child = startChild(cliPath, args, options);
  const { code, signal } = await child.ended;
  return { code, signal, stdout: child.stdout(), stderr: child.stderr() };
}

/** Starts `runwire serve`, or the plain server; resolves once it listens. */
export async function startServing(path: string, args: readonly string[], options: ChildOptions) {
  const child = startChild(path, args, options);
  await child.until(({ stdout }) => /^Runwire serves .*\n/m.test(stdout()));
  return { child, url: /^Runwire serves (.*)$/m.exec(child.stdout())?.[1] ?? '' };
}
