import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compilers, reactSets, serverPackages, sqlitePackage, trpcSets } from './cells.ts';
import { output, Project, packTo, root } from './project.ts';

/** A sample of the matrix. `npm run test:matrix` runs all of it. */

const TIMEOUT_MS = 900_000;
const folder = mkdtempSync(join(tmpdir(), 'runwire-package-'));
let tarball = '';

beforeAll(async () => {
  tarball = await packTo(folder);
}, TIMEOUT_MS);
afterAll(() => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }), TIMEOUT_MS);

const [classic, , newest] = trpcSets as [(typeof trpcSets)[0], (typeof trpcSets)[0], (typeof trpcSets)[0]];
const [react18, react19] = reactSets as [(typeof reactSets)[0], (typeof reactSets)[0]];
const [typescript5, typescript7] = compilers;
const hasSqlite = process.versions.node.split('.')[0] !== '20';

describe.each([
  { trpc: classic, react: react19, compiler: typescript7, resolution: 'bundler' },
  { trpc: newest, react: react18, compiler: typescript5, resolution: 'node16' },
] as const)('beside tRPC $trpc.name and React $react.name', ({ trpc, react, compiler, resolution }) => {
  let project: Project;
  beforeAll(async () => {
    project = new Project(join(folder, react.name));
    await project.fill(tarball, trpc, react);
  }, TIMEOUT_MS);

  test('[K1] each peer is installed once, with the versions of the app', { timeout: TIMEOUT_MS }, async () => {
    expect(await project.doublePeers()).toEqual([]);
  });

  test('[K2] nothing native is installed with the package', () => {
    expect(project.copiesOf('@photostructure/sqlite')).toEqual([]);
    expect(project.copiesOf('node-gyp-build')).toEqual([]);
    expect(project.copiesOf('@types/node')).toEqual([]);
  });

  test('[K3] the faces for browsers compile, and wrong uses do not', { timeout: TIMEOUT_MS }, async () => {
    expect(await project.compileForBrowser(compiler, resolution)).toEqual([]);
  });

  test('[K4] a consumer misses nothing over cuts, and renders on a server', { timeout: TIMEOUT_MS }, async () => {
    await project.install(serverPackages);
    expect(await project.compileAll(typescript7, 'node16')).toEqual([]);
    const rendered = await project.run(process.execPath, 'render.js');
    expect(rendered.match(/^\w+(?= <)/gm)).toEqual([...trpc.faces, 'compat']);
    if (!hasSqlite) {
      // [K2] The start names the missing package.
      await expect(project.run(process.execPath, 'run.js')).rejects.toThrow('npm install @photostructure/sqlite');
      await project.install([sqlitePackage]);
    }
    expect(JSON.parse(await project.run(process.execPath, 'run.js'))).toMatchObject({ cuts: 3, events: 161 });
  });
});

test('[K7] the hooks are behind a client boundary that webpack and Turbopack accept', () => {
  const client = join(root, 'dist/client');
  const files = readdirSync(client, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.js'));
  const sources = new Map(files.map((file) => [file, readFileSync(join(client, file), 'utf8')]));
  const boundaries = files.filter((file) => /^'use client'/.test(sources.get(file) ?? ''));
  expect(boundaries.sort()).toEqual(['compat/index.js', 'hooks/index.js', 'react/trpc.js', 'tanstack/trpc.js']);
  // webpack refuses the statement in a boundary.
  expect(boundaries.filter((file) => /^export \*/m.test(sources.get(file) ?? ''))).toEqual([]);
  // What a server component loads besides the boundaries has no React.
  const loaded = new Set<string>();
  const load = (file: string) => {
    if (loaded.has(file) || boundaries.includes(file)) return;
    loaded.add(file);
    for (const [, name = ''] of (sources.get(file) ?? '').matchAll(/(?:from|import) '([^']+)'/g)) {
      if (name.startsWith('.')) load(join(file, '..', name));
      else expect(`${file} imports ${name}`).not.toMatch(/ (react|react-dom|@tanstack\/.*)$/);
    }
  };
  for (const entry of ['index.js', 'react/index.js', 'tanstack/index.js']) load(entry);
  expect(loaded.size).toBeGreaterThan(5);
});

type Entrypoint = { resolutions: { [kind: string]: { visibleProblems?: unknown[] } } };

test('[K5] publint and attw find nothing in the package', { timeout: TIMEOUT_MS }, async () => {
  const bin = (name: string) => join(root, 'node_modules/.bin', name);
  expect(await output(bin('publint'), [tarball, '--strict'], root)).toContain('All good');
  // As JSON: the text has colours wherever FORCE_COLOR is set.
  const answer = await output(
    bin('attw'),
    [tarball, '--ignore-rules', 'cjs-resolves-to-esm', '--format', 'json'],
    root,
  );
  const { analysis } = JSON.parse(answer) as { analysis: { entrypoints: { [name: string]: Entrypoint } } };
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { exports: object };
  expect(Object.keys(analysis.entrypoints).sort()).toEqual(Object.keys(exports).sort());
  for (const [name, { resolutions }] of Object.entries(analysis.entrypoints)) {
    for (const kind of ['node10', 'node16-esm', 'bundler']) {
      expect({ name, kind, problems: resolutions[kind]?.visibleProblems ?? [] }).toEqual({ name, kind, problems: [] });
    }
  }
});
