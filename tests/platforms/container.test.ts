import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';

/** The Dockerfile and the compose file, as far as they can be checked without a container engine. */

const root = new URL('../..', import.meta.url).pathname;
const read = (path: string) => readFileSync(root + path, 'utf8');
const dockerfile = read('Dockerfile');
const compose = read('compose.yaml');
const lock = JSON.parse(read('package-lock.json')) as { packages: { [path: string]: { dev?: boolean } } };

const nameOf = (specifier: string) => specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
/** Packages that these modules import when they run, by themselves or by what they import. */
function imported(...entries: string[]): string[] {
  const names = new Set<string>();
  const seen = new Set(entries);
  for (const file of seen) {
    const source = read(file);
    const found = [
      ...source.matchAll(/^(?:import|export)(?! type)[^;]*? from '([^']+)';/gm),
      ...source.matchAll(/\bimport\('([^']+)'\)/g),
    ];
    for (const [, specifier = ''] of found) {
      if (specifier.startsWith('.')) seen.add(join(dirname(file), specifier));
      else if (!specifier.startsWith('node:')) names.add(nameOf(specifier));
    }
  }
  return [...names].sort();
}

test('[X32] the image has every package that the server and the command line import', () => {
  const copied = [...dockerfile.matchAll(/^COPY --from=build \/app\/node_modules\/(\S+) /gm)].map(([, name]) => name);
  // The driver of SQLite for a Node.js without one.
  const names = imported('server/main.ts', 'server/cli/main.ts').filter((name) => name !== '@photostructure/sqlite');
  expect(names).toEqual(expect.arrayContaining(['pg', 'zod', '@trpc/server', '@trpc/client', 'commander']));
  const missing = names.filter((name) => {
    const entry = lock.packages[`node_modules/${name}`];
    return !copied.includes(name) && (entry === undefined || entry.dev === true);
  });
  expect(missing).toEqual([]);
});

test('[X32] base images have an exact version, the process has no rights of root, and gets SIGTERM itself', () => {
  const images = [...`${dockerfile}\n${compose}`.matchAll(/^(?:FROM|\s+image:) (\S+)/gm)].map(([, image]) => image);
  expect(images.length).toBeGreaterThanOrEqual(6);
  expect(images.filter((image = '') => !/:\d+\.\d+(\.\d+)?(-\w+)*$/.test(image))).toEqual([]);
  expect(dockerfile).toMatch(/\nUSER node\n[\s\S]*\nCMD \["node", "dist\/server\/main.js"\]\n$/);
  expect(compose).toContain('exec node dist/server/main.js');
});

test('[X32] the containers set variables that the server knows', () => {
  const config = read('server/config.ts');
  const names = [
    ...(/^ENV ([\s\S]*?)\n[A-Z]/m.exec(dockerfile)?.[1] ?? '').matchAll(/(\w+)=/g),
    ...(/\n {2}runwire:\n([\s\S]*?)\n {2}haproxy:/.exec(compose)?.[1] ?? '').matchAll(/\b([A-Z_]{4,})(?:: |=")/g),
  ].map(([, name]) => name as string);
  expect(names.length).toBeGreaterThanOrEqual(7);
  expect(names.filter((name) => !config.includes(`  ${name}: `))).toEqual([]);
});
