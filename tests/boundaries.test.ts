import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

/**
 * The floors of the source tree, lowest first. A file may import its own entry and the entries of lower floors, and
 * nothing else; type imports count too. biome.json has the same rules for editors.
 */
const floors: string[][] = [
  ['shared'],
  [
    'server/distribution.ts',
    'server/errors.ts',
    'server/health.ts',
    'server/limits.ts',
    'server/rate-limit.ts',
    'server/slices.ts',
    'server/trpc-version.ts',
    'server/user-calls.ts',
    'server/version.ts',
    'client/errors.ts',
  ],
  ['server/event-log'],
  ['server/auth', 'server/phi', 'server/backplane', 'server/clock.ts', 'server/peers.ts', 'server/shared-usage.ts'],
  ['server/delivery', 'server/publishing', 'server/audit', 'server/webhooks', 'server/retention.ts'],
  ['server/approvals'],
  ['server/api'],
  ['server/http', 'server/metrics.ts'],
  ['server/ws', 'server/producers', 'server/options.ts', 'server/stats-history.ts'],
  ['server/open-log.ts'],
  ['server/stats.ts', 'server/services.ts'],
  ['server/run-server.ts'],
  ['server/config.ts', 'server/index.ts', 'server/logger.ts'],
  ['server/main.ts', 'server/compat'],
  ['client/connection'],
  ['client/publisher'],
  ['client/feeds'],
  ['client/index.ts'],
  ['client/hooks', 'client/compat'],
  ['client/react', 'client/tanstack'],
  ['client/app'],
  ['server/cli'],
];

const root = fileURLToPath(new URL('..', import.meta.url));

type Import = { from: string; to: string; statement: string };

/** Every import, export and dynamic import in the sources; `to` is a path in the repository or a package. */
const imports: Import[] = ['shared', 'server', 'client'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => /\.tsx?$/.test(path) && !/\.(test|test-d)\.tsx?$/.test(path))
    .flatMap(importsOf),
);

function importsOf(from: string): Import[] {
  const source = readFileSync(join(root, from), 'utf8');
  const statements = source.matchAll(/^(?:import|export)\s(?:[^'";]*?\sfrom\s)?\s*['"]([^'"]+)['"]/gm);
  const calls = source.matchAll(/\bimport\(\s*['"]([^'"]+)['"]/g);
  return [...statements, ...calls].map(([statement, name = '']) => {
    const to = name.startsWith('.') ? relative(root, resolve(root, dirname(from), name)) : name;
    return { from, to, statement };
  });
}

/** The entry of {@link floors} that a file belongs to, and its floor. */
function placeOf(path: string): { entry: string; floor: number } {
  for (const [floor, entries] of floors.entries()) {
    const entry = entries.find((name) => path === name || path.startsWith(`${name}/`));
    if (entry) return { entry, floor };
  }
  throw new Error(`${path} is on no floor: add it to floors`);
}

const isSource = (path: string) => /^(shared|server|client)\//.test(path);

test('[C8] no file imports a floor above its own, or another entry of its own floor', () => {
  expect(imports.length).toBeGreaterThan(300);
  const wrong = imports.filter((each) => {
    if (!isSource(each.to)) return false;
    const [from, to] = [placeOf(each.from), placeOf(each.to)];
    return from.entry !== to.entry && to.floor >= from.floor;
  });
  expect(wrong.map(({ from, to }) => `${from} → ${to}`)).toEqual([]);
});

test('[C8] there is no import cycle, type imports included', () => {
  const next = new Map<string, string[]>();
  for (const { from, to } of imports) next.set(from, [...(next.get(from) ?? []), to]);
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (file: string, path: string[]) => {
    if (path.includes(file)) cycles.push([...path.slice(path.indexOf(file)), file].join(' → '));
    if (done.has(file) || path.includes(file)) return;
    for (const to of next.get(file) ?? []) visit(to, [...path, file]);
    done.add(file);
  };
  for (const file of next.keys()) visit(file, []);
  expect(cycles).toEqual([]);
});

test('[C8] the client imports nothing from the server, types included, and no module of Node.js', () => {
  const ofClient = imports.filter(({ from }) => from.startsWith('client/'));
  expect(ofClient.map(({ from }) => from)).toContain('client/hooks/index.ts');
  const wrong = ofClient.filter(({ to }) => /^(server|bench|tests|node:)/.test(to));
  expect(wrong.map(({ from, to }) => `${from} → ${to}`)).toEqual([]);
});

test('[C8] shared code imports zod, and of other packages only the types of @trpc/server', () => {
  const ofShared = imports.filter(({ from }) => from.startsWith('shared/'));
  expect(ofShared.map(({ from }) => from)).toContain('shared/events.ts');
  const isTypes = ({ to, statement }: Import) => to === '@trpc/server' && statement.startsWith('import type ');
  const wrong = ofShared.filter((each) => each.to !== 'zod' && !each.to.startsWith('shared/') && !isTypes(each));
  expect(wrong.map(({ from, to }) => `${from} → ${to}`)).toEqual([]);
});

test('[C8] the web app imports only the public entry of the library, as any other app does', () => {
  const ofApp = imports.filter(({ from }) => from.startsWith('client/app/'));
  const wrong = ofApp.filter(
    ({ to }) => isSource(to) && !to.startsWith('client/app/') && to !== 'client/hooks/index.ts',
  );
  expect(wrong.map(({ from, to }) => `${from} → ${to}`)).toEqual([]);
});

test('[H33] the built entries with hooks are client modules or names from such, and have every export of runwire/hooks by name', async () => {
  const exportsOf = async (name: string) => Object.keys(await import(join(root, `dist/client/${name}/index.js`)));
  const hooks = await exportsOf('hooks');
  const isClientModule = (code: string) => code.startsWith("'use client';\n");
  for (const name of ['hooks', 'react', 'tanstack']) {
    const path = join(root, `dist/client/${name}/index.js`);
    const code = readFileSync(path, 'utf8');
    expect(code).not.toMatch(/^export \*/m);
    expect(await exportsOf(name)).toEqual(expect.arrayContaining(hooks));
    if (isClientModule(code)) continue;
    const statements = code.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '').trim();
    const sources = [...statements.matchAll(/^export \{[^}]*\} from '(.*)';$/gm)].map(([, source]) => source as string);
    expect(statements.split('\n')).toHaveLength(sources.length); // It has no code of its own.
    for (const source of sources) expect(isClientModule(readFileSync(join(path, '..', source), 'utf8'))).toBe(true);
  }
  expect(readFileSync(join(root, 'dist/client/index.js'), 'utf8')).not.toContain('use client');
});

test('[C8] the built web app contains no server code', () => {
  const assets = join(root, 'dist/app/assets');
  expect(existsSync(assets), 'run npm run build first').toBe(true);
  const code = readdirSync(assets)
    .filter((name) => name.endsWith('.js'))
    .map((name) => readFileSync(join(assets, name), 'utf8'))
    .join('\n');
  // Strings of server modules. A bundled module would bring its string along.
  const onlyServer = {
    'server/event-log': 'PRAGMA',
    'server/auth': 'the token is missing, malformed, forged or expired',
    'server/config.ts': 'DATABASE_URL',
    'server/http': 'x-forwarded-proto',
  };
  for (const [module, text] of Object.entries(onlyServer)) {
    expect(serverSource(), `${module} still contains the string`).toContain(text);
    expect(code, module).not.toContain(text);
  }
});

test('[C31] the client uses no more than ES2022 and old functions of the platform', () => {
  const folder = mkdtempSync(join(tmpdir(), 'runwire-floor-'));
  try {
    const faces = ['client/index', 'client/react/index', 'client/tanstack/index', 'client/publisher/index'];
    // The validation of events (`runwire/events`) needs `isWellFormed`. A client validates none.
    const lib = ['ES2022', 'ES2024.String', 'DOM', 'DOM.Iterable'];
    const config = {
      extends: join(root, 'tsconfig.json'),
      compilerOptions: { target: 'ES2022', lib, types: [] },
      files: faces.map((face) => join(root, `${face}.ts`)),
      include: [],
      exclude: [],
    };
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config));
    const lines = compile(folder);
    expect(lines.filter((line) => line.includes('error TS'))).toEqual([]);
    const sources = lines.map((path) => relative(root, path)).filter((path) => /^(client|shared)\//.test(path));
    expect(sources).toContain('client/feeds/merge-runs.ts');
    // `lib` has no versions of the DOM.
    const young =
      /throwIfAborted|AbortSignal\.(any|timeout)|structuredClone|randomUUID\(|requestIdleCallback|URL\.(parse|canParse)/;
    expect(sources.filter((path) => young.test(readFileSync(join(root, path), 'utf8')))).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('[C8] the declarations of the client compile without the types of Node.js and without `skipLibCheck`', () => {
  const folder = mkdtempSync(join(tmpdir(), 'runwire-types-'));
  try {
    const faces = [
      'client/index',
      'client/hooks/index',
      'client/react/index',
      'client/publisher/index',
      'shared/index',
    ];
    const exports = faces.map(
      (face, n) => `export * as face${n} from ${JSON.stringify(join(root, 'dist', `${face}.js`))};`,
    );
    writeFileSync(join(folder, 'app.ts'), exports.join('\n'));
    const compilerOptions = {
      ...{ strict: true, noEmit: true, types: [], lib: ['ES2023', 'ESNext.Disposable', 'DOM', 'DOM.Iterable'] },
      ...{ target: 'ES2023', module: 'ESNext', moduleResolution: 'bundler', typeRoots: [] },
    };
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['app.ts'] }));
    const lines = compile(folder);
    const errors = lines.filter((line) => line.includes('error TS'));
    // `import '@trpc/client'` alone has these errors: its declarations name `http` and `ws` until tRPC 11.25.
    expect(errors.filter((line) => !line.includes('node_modules/@trpc/server/'))).toEqual([]);
    const files = lines.map((path) => relative(root, path));
    expect(files).toContain('dist/shared/router.d.ts');
    expect(files.filter((path) => /^(dist\/server|node_modules\/(pino|jose|prom-client|undici))\//.test(path))).toEqual(
      [],
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** Runs the TypeScript compiler in a folder. Returns the lines that it prints: errors, and the paths of all files. */
function compile(folder: string): string[] {
  const compiler = join(root, 'node_modules/typescript/bin/tsc');
  try {
    return execFileSync(process.execPath, [compiler, '-p', folder, '--listFiles'], { encoding: 'utf8' }).split('\n');
  } catch (error) {
    return (error as { stdout: string }).stdout.split('\n'); // The compiler exits with 2 when it has found errors.
  }
}

const serverSource = (): string =>
  [...new Set(imports.map(({ from }) => from))]
    .filter((path) => path.startsWith('server/'))
    .map((path) => readFileSync(join(root, path), 'utf8'))
    .join('\n');
