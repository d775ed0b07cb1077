import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TESTED_VERSIONS } from '../../server/trpc-version.ts';

/**
 * Runs types, build and tests on other versions of tRPC than the one of the lock file:
 * `npm run test:trpc -- [version …] [-- arguments of vitest]`. Default: all tested versions.
 *
 * Each version gets a folder with a copy of the sources and links to the installed packages. Integrations for React that
 * do not exist in a version are left out, with the files that import them.
 */

const root = fileURLToPath(new URL('../../', import.meta.url));
const { devDependencies, dependencies } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));
const locked = dependencies['@trpc/server'] ?? devDependencies['@trpc/server'];

/** The packages of tRPC, and the imports of a file that needs one of them. */
const packages: Record<string, RegExp | undefined> = {
  server: undefined,
  client: undefined,
  'tanstack-react-query': /from '(@trpc\/tanstack-react-query|.*\/tanstack\/.*)'/,
  'react-query': /from '(@trpc\/react-query|.*\/react\/.*)'/,
};

/** Tests of the package's files, which are the same for every version. */
const notOfCode = ['boundaries', 'bundle', 'docs', 'spec'].map((name) => `--exclude=tests/${name}.test.ts`);

const args = process.argv.slice(2);
const split = args.includes('--') ? args.indexOf('--') : args.length;
const versions = split > 0 ? args.slice(0, split) : TESTED_VERSIONS.filter((version) => version !== locked);
const results = versions.map((version) => `${version}: ${test(version, args.slice(split + 1)) ? 'passed' : 'FAILED'}`);
console.log(results.join('\n'));
process.exitCode = results.some((result) => result.endsWith('FAILED')) ? 1 : 0;

function test(version: string, vitestArgs: string[]): boolean {
  const folder = mkdtempSync(join(tmpdir(), `runwire-trpc-${version}-`));
  try {
    copySources(folder);
    const missing = installPackages(folder, version);
    leaveOut(folder, missing);
    console.log(`tRPC ${version} in ${folder}, without ${missing.join(' and ') || 'nothing'}`);
    const run = (command: string, args: string[]) =>
      spawnSync(command, args, { cwd: folder, stdio: 'inherit' }).status === 0;
    const projects = vitestArgs.some((arg) => arg.startsWith('--project')) ? [] : ['--project=!long'];
    const vitest = ['vitest', 'run', ...projects, '--typecheck.enabled=false', ...notOfCode, ...vitestArgs];
    return run('npx', ['tsc', '--noEmit']) && run('npm', ['run', '-s', 'build']) && run('npx', vitest);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function copySources(folder: string): void {
  const names = readdirSync(root).filter((name) => !['node_modules', 'dist', '.git'].includes(name));
  for (const name of names) cpSync(`${root}${name}`, join(folder, name), { recursive: true });
}

/** Links the installed packages, and installs those of tRPC. Returns the names of those that the version does not have. */
function installPackages(folder: string, version: string): string[] {
  const exists = (name: string) => spawnSync('npm', ['view', `@trpc/${name}@${version}`, 'version']).status === 0;
  const [present, missing] = [[] as string[], [] as string[]];
  for (const name of Object.keys(packages)) (exists(name) ? present : missing).push(name);
  const modules = join(folder, 'node_modules');
  const scratch = join(folder, 'scratch');
  for (const path of [modules, scratch]) mkdirSync(path);
  writeFileSync(join(scratch, 'package.json'), '{}');
  const specs = present.map((name) => `@trpc/${name}@${version}`);
  const flags = ['--ignore-scripts', '--legacy-peer-deps', '--no-audit', '--no-fund', '--silent'];
  execFileSync('npm', ['install', ...flags, ...specs], { cwd: scratch, stdio: 'inherit' });
  for (const name of readdirSync(`${root}node_modules`).filter(
    (name) => name !== '@trpc' && !name.startsWith('.vite'),
  )) {
    symlinkSync(`${root}node_modules/${name}`, join(modules, name));
  }
  renameSync(join(scratch, 'node_modules/@trpc'), join(modules, '@trpc'));
  rmSync(scratch, { recursive: true });
  return missing;
}

/** Deletes the sources and tests that need a package that is missing. */
function leaveOut(folder: string, missing: string[]): void {
  for (const name of missing) {
    const needs = packages[name];
    rmSync(join(folder, 'client', name.replace('-react-query', '').replace('-query', '')), {
      recursive: true,
      force: true,
    });
    for (const part of ['client', 'tests', 'bench']) {
      for (const path of readdirSync(join(folder, part), { recursive: true, encoding: 'utf8' })) {
        if (!/\.tsx?$/.test(path)) continue;
        const file = join(folder, part, path);
        if (needs?.test(readFileSync(file, 'utf8'))) rmSync(file);
      }
    }
  }
}
