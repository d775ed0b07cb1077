import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

/** Who may import whom: `shared` ← `server`, `shared` ← `client`, and never the server by the client. */

const root = fileURLToPath(new URL('..', import.meta.url));
const isTest = (path: string) => /\.(test|test-d)\.tsx?$/.test(path);

const sourcesOf = (folder: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => /\.tsx?$/.test(path) && !isTest(path));

/** What a file imports at run time: statements that begin with `import type` or `export type` leave nothing behind. */
function importsOf(path: string): string[] {
  const source = readFileSync(join(root, path), 'utf8');
  const statements = source.matchAll(/^(?:import|export)\s(?!type\s)(?:[^'";]*?\sfrom\s)?\s*['"]([^'"]+)['"]/gm);
  const calls = source.matchAll(/\bimport\(\s*['"]([^'"]+)['"]/g);
  return [...statements, ...calls].map(([, specifier]) => {
    const name = specifier as string;
    return name.startsWith('.') ? relative(root, resolve(root, dirname(path), name)) : name;
  });
}

test('[C8] the client imports no server code', () => {
  const sources = sourcesOf('client');
  expect(sources).toContain('client/react/index.tsx');
  for (const path of sources) {
    const foreign = importsOf(path).filter((name) => /^(server|bench|tests)\//.test(name) || name.startsWith('node:'));
    expect(foreign, path).toEqual([]);
  }
});

test('[C8] shared code imports zod and nothing else', () => {
  const sources = sourcesOf('shared');
  expect(sources).toContain('shared/events.ts');
  for (const path of sources) {
    const foreign = importsOf(path).filter((name) => name !== 'zod' && !name.startsWith('shared/'));
    expect(foreign, path).toEqual([]);
  }
});

test('[C8] the web app goes through the public entry of the library', () => {
  for (const path of sourcesOf('client/app')) {
    const inner = importsOf(path).filter((name) => /^(client|shared)\//.test(name) && !name.startsWith('client/app/'));
    expect(
      inner.filter((name) => name !== 'client/react/index.tsx'),
      path,
    ).toEqual([]);
  }
});

test('[C8] what is built for browsers holds no server code', () => {
  const assets = join(root, 'dist/app/assets');
  expect(existsSync(assets), 'npm run build comes first').toBe(true);
  const code = readdirSync(assets)
    .filter((name) => name.endsWith('.js'))
    .map((name) => readFileSync(join(assets, name), 'utf8'))
    .join('\n');
  // Texts that only the server has, each of which would be there if its module were.
  const onlyServer = {
    'server/event-log': 'PRAGMA',
    'server/auth': 'the token is missing, malformed, forged or expired',
    'server/config.ts': 'DATABASE_URL',
    'server/http': 'x-forwarded-proto',
  };
  for (const [module, text] of Object.entries(onlyServer)) {
    expect(serverSource(), `${module} still says so`).toContain(text);
    expect(code, module).not.toContain(text);
  }
});

const serverSource = (): string =>
  sourcesOf('server')
    .map((path) => readFileSync(join(root, path), 'utf8'))
    .join('\n');
