import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Compiler, compilers, type Face, type ReactSet, type Resolution, type TrpcSet } from './cells.ts';

/**
 * A project of a user: an empty folder, into which plain npm installs the packed package and its peers. The files of
 * `consumer/` are the user's code.
 */

export const root = fileURLToPath(new URL('../..', import.meta.url));
const consumer = join(root, 'tests/matrix/consumer');
/** The packages of which an app has one copy. */
const PEERS = ['@trpc/server', '@trpc/client', '@tanstack/react-query', 'react', 'zod'];
const execute = promisify(execFile);

/** Runs a command, and returns its standard output. The error of a command that fails contains both outputs. */
export async function output(command: string, args: string[], cwd: string): Promise<string> {
  try {
    // `npm test` sets variables that are options of npm, and Vitest sets NODE_ENV.
    const kept = Object.entries(process.env).filter(([name]) => !/^npm_|^NODE_ENV$/i.test(name));
    const env = { ...Object.fromEntries(kept), NEXT_TELEMETRY_DISABLED: '1' };
    const { stdout } = await execute(command, args, { cwd, env, maxBuffer: 64 * 1024 * 1024 });
    return stdout;
  } catch (error) {
    const { stdout = '', stderr = '', message } = error as Error & { stdout?: string; stderr?: string };
    throw new Error(`${command} ${args.join(' ')}: ${`${stdout}${stderr}`.trim() || message}`);
  }
}

/** Packs what was built, without building again: other tests read the build meanwhile. Returns the path of the tarball. */
export async function packTo(folder: string): Promise<string> {
  if (!existsSync(join(root, 'dist/client/index.js'))) throw new Error('run npm run build first');
  mkdirSync(folder, { recursive: true });
  const name = await output('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder], root);
  return join(folder, name.trim());
}

/** Returns the path of a Node.js binary. npm downloads a version that is not the running one. */
export async function nodeOf(major: number): Promise<string> {
  if (Number(process.versions.node.split('.')[0]) === major) return process.execPath;
  const print = ['node', '-p', 'process.execPath'];
  return (await output('npx', ['-y', '--prefer-offline', '-p', `node@${major}`, ...print], root)).trim();
}

const strict = {
  target: 'ES2022',
  jsx: 'react-jsx',
  strict: true,
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
  verbatimModuleSyntax: true,
};
const modules: Record<Resolution, object> = {
  bundler: { module: 'esnext', moduleResolution: 'bundler' },
  node16: { module: 'node16', moduleResolution: 'node16' },
};

export class Project {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
  }

  /** Installs packages. Throws if npm warns, for example of peers that do not fit or of install scripts. */
  async install(packages: string[]): Promise<void> {
    const options = ['--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];
    await output('npm', ['install', ...options, ...packages], this.folder);
  }

  /** Installs what an app for browsers needs, and copies the user's code. */
  async fill(tarball: string, trpc: TrpcSet, react: ReactSet): Promise<void> {
    await this.install([tarball, ...trpc.packages, ...react.packages, ...compilers.map(({ source }) => source)]);
    for (const file of readdirSync(consumer)) {
      const [face = ''] = file.split('.');
      const isOther = ['react', 'tanstack'].includes(face) && !trpc.faces.includes(face as Face);
      if (!isOther) cpSync(join(consumer, file), join(this.folder, file));
    }
  }

  /** The folders of a package, below any `node_modules`. */
  copiesOf(name: string): string[] {
    const files = readdirSync(join(this.folder, 'node_modules'), { recursive: true, encoding: 'utf8' });
    const manifest = `${name}/package.json`;
    return files.filter((file) => file === manifest || file.endsWith(`/node_modules/${manifest}`));
  }

  /** Returns the peers that are installed more than once. Throws if `npm ls` reports a peer that does not fit. */
  async doublePeers(): Promise<string[]> {
    await output('npm', ['ls', '--all'], this.folder);
    return PEERS.filter((name) => this.copiesOf(name).length !== 1);
  }

  /**
   * Compiles the code for browsers as an app for browsers does: declarations of packages included (no `skipLibCheck`),
   * without the types of Node.js. A `@ts-expect-error` is an error itself where the compiler finds none. Returns the
   * errors, but not those in the declarations of tRPC, which it has in a project without Runwire too.
   */
  async compileForBrowser(compiler: Compiler, resolution: Resolution): Promise<string[]> {
    const name = /^(hooks|react|tanstack|compat|other|client|publisher)\..*tsx?$/;
    const errors = await this.#compile(compiler, `browser-${resolution}-${compiler.name}`, {
      files: readdirSync(this.folder).filter((file) => name.test(file)),
      compilerOptions: {
        ...strict,
        ...modules[resolution],
        lib: ['ES2022', 'DOM', 'DOM.Iterable', 'ESNext.Disposable'],
        types: [],
        skipLibCheck: false,
        noEmit: true,
      },
    });
    return errors.filter((line) => !line.startsWith('node_modules/@trpc/'));
  }

  /** Compiles all of the user's code, and writes JavaScript into `out/`. Returns the errors. */
  compileAll(compiler: Compiler, resolution: Resolution): Promise<string[]> {
    return this.#compile(compiler, `all-${resolution}-${compiler.name}`, {
      files: readdirSync(this.folder).filter((file) => /\.tsx?$/.test(file)),
      compilerOptions: {
        ...strict,
        ...modules[resolution],
        lib: ['ES2023', 'DOM', 'DOM.Iterable', 'ESNext.Disposable'],
        types: ['node'],
        skipLibCheck: true,
        outDir: join(this.folder, 'out'),
      },
    });
  }

  async #compile(compiler: Compiler, name: string, config: object): Promise<string[]> {
    const file = `tsconfig.${name}.json`;
    writeFileSync(join(this.folder, file), JSON.stringify(config));
    const bin = join('node_modules', compiler.folder, 'bin/tsc');
    try {
      await output(process.execPath, [bin, '--pretty', 'false', '-p', file], this.folder);
      return [];
    } catch (error) {
      const lines = (error as Error).message.split('\n').map((line) => line.replace(/^.*?\.json: /, ''));
      const errors = lines.filter((line) => /error TS\d+/.test(line));
      if (errors.length === 0) throw error;
      return errors;
    }
  }

  /** Runs a file of the user's code, and returns its output. */
  run(node: string, file: string): Promise<string> {
    return output(node, [join('out', file)], this.folder);
  }
}
