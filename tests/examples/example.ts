import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { output, root } from '../matrix/project.ts';

/**
 * An example as a stranger has it: a copy beside the packed package, filled by plain npm from the example's own
 * `package.json`, and started by its own scripts.
 */

const hasSqlite = process.versions.node.split('.')[0] !== '20';
const sqlite = '@photostructure/sqlite@1.2.1';
/** Files that a developer may have in an example after trying it. */
const MADE = /^(node_modules|dist|data|\.next|package-lock\.json)$/;
/** A bound for each wait of these tests, which share the machine with others. */
export const TIMEOUT_MS = 120_000;

export type Program = {
  process: ChildProcess;
  /** Both outputs so far. */
  output(): string;
  /** Resolves with the first match in the output. Rejects if the program ends before. */
  until(pattern: RegExp): Promise<RegExpExecArray>;
  /** Resolves with the exit code, which is null after a signal. */
  ended: Promise<number | null>;
};

export class Example implements AsyncDisposable {
  readonly folder: string;
  readonly #parent: string;
  readonly #programs: Program[] = [];

  /** Copies an example. Its `package.json` names the package as a file two folders above. */
  constructor(name: string, tarball: string) {
    this.#parent = mkdtempSync(join(tmpdir(), `runwire-example-${name}-`));
    this.folder = join(this.#parent, 'examples', name);
    mkdirSync(this.folder, { recursive: true });
    cpSync(join(root, 'examples', name), this.folder, {
      recursive: true,
      filter: (source) => !MADE.test(basename(source)),
    });
    copyFileSync(tarball, join(this.#parent, basename(tarball)));
  }

  /** Installs the packages of the example. Throws if npm reports peers that do not fit. */
  async install(): Promise<void> {
    const options = ['--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];
    await output('npm', ['install', ...options, ...(hasSqlite ? [] : [sqlite])], this.folder);
    await output('npm', ['ls', '--all'], this.folder);
  }

  /** Runs a script of the example to its end, and returns its standard output. */
  script(name: string): Promise<string> {
    return output('npm', ['run', '--silent', name], this.folder);
  }

  /** Starts Node.js with these arguments, in a process that signals reach directly. */
  start(args: readonly string[], env: Record<string, string> = {}): Program {
    const { PATH = '', HOME = '' } = process.env;
    const flags = hasSqlite ? [] : ['--experimental-websocket', '--no-warnings'];
    const child = spawn(process.execPath, [...flags, ...args], {
      cwd: this.folder,
      env: { PATH, HOME, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (chunk: string) => {
        text += stripVTControlCharacters(chunk);
        child.emit('output');
      });
    }
    const ended = once(child, 'close').then(([code]) => code as number | null);
    const until = async (pattern: RegExp) => {
      const signal = AbortSignal.timeout(TIMEOUT_MS);
      for (;;) {
        const match = pattern.exec(text);
        if (match) return match;
        if (child.exitCode !== null || child.signalCode !== null) throw new Error(`the program has ended: ${text}`);
        await Promise.race([once(child, 'output', { signal }), ended]).catch(() => {
          throw new Error(`no ${pattern} in: ${text}`);
        });
      }
    };
    const program = { process: child, output: () => text, until, ended };
    this.#programs.push(program);
    return program;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { process } of this.#programs) process.kill('SIGKILL');
    await Promise.all(this.#programs.map(({ ended }) => ended));
    rmSync(this.#parent, { recursive: true, force: true, maxRetries: 3 });
  }
}
