import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build, type Rolldown } from 'vite';

const root = fileURLToPath(new URL('../..', import.meta.url));
const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  exports: Record<string, { browser?: string; default?: string }>;
};
/** The source of each entry of the package, as bundlers for browsers find it. */
const entries = Object.entries(exports).flatMap(([name, { browser, default: other }]) => {
  const path = (browser ?? other)?.replace(/^\.\/dist\//, '').replace(/\.js$/, '.ts');
  return path ? [{ find: name.replace('.', 'runwire'), replacement: join(root, path) }] : [];
});

const page = (entry: string, hook: string) => `
  import { createElement } from 'react';
  import { createRoot } from 'react-dom/client';
  import { RunwireProvider, ${hook} as useHook } from '${entry}';
  const Page = () => String(useHook({ runId: 'r1' }));
  createRoot(document.body).render(createElement(RunwireProvider, {}, createElement(Page)));`;

/** Small apps, by what they use. */
export const pages: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    ['hooks', 'tanstack', 'react'].flatMap((entry) =>
      ['useRunEvents', 'useRun', 'useRuns'].map((hook) => [
        `${hook} of runwire/${entry}`,
        page(`runwire/${entry}`, hook),
      ]),
    ),
  ),
  'runwire/client': `import { createRunwireClient } from 'runwire/client'; createRunwireClient({ url: '/' });`,
  'runwire/publisher': `import { createPublisher } from 'runwire/publisher'; createPublisher({ url: '/' });`,
  'RunwireError of runwire/events': `import { RunwireError } from 'runwire/events'; console.log(RunwireError);`,
};

/** Paths of the modules in a bundle, relative to the repository, its gzipped size, and that of each package in it. */
export type Bundle = { modules: string[]; wholeBytes: number; packageBytes: Map<string, number> };

/** Bundles the source of an app for production, as Vite does. Modules and packages without code in the result are left out. */
export async function bundleOf(app: string): Promise<Bundle> {
  const folder = await mkdtemp(join(root, 'node_modules', '.bundle-'));
  try {
    const input = join(folder, 'app.ts');
    await writeFile(input, app);
    const [whole, split] = [await chunksOf(input, {}), await chunksOf(input, byPackage)];
    const packageBytes = new Map<string, number>();
    for (const { code, modules } of split) {
      const [path] = usedOf(modules);
      if (path) packageBytes.set(packageOf(path), (packageBytes.get(packageOf(path)) ?? 0) + gzipSync(code).length);
    }
    return {
      modules: whole.flatMap(({ modules }) => usedOf(modules).map((path) => relative(root, path))),
      wholeBytes: whole.reduce((sum, { code }) => sum + gzipSync(code).length, 0),
      packageBytes,
    };
  } finally {
    await rm(folder, { recursive: true });
  }
}

const byPackage: Rolldown.OutputOptions = {
  codeSplitting: { includeDependenciesRecursively: false, groups: [{ name: (path) => packageOf(path) }] },
};

async function chunksOf(input: string, output: Rolldown.OutputOptions): Promise<Rolldown.OutputChunk[]> {
  const built = (await build({
    root: dirname(input),
    configFile: false,
    logLevel: 'error',
    resolve: { alias: entries },
    define: { 'process.env.NODE_ENV': '"production"' }, // Otherwise tests would bundle React's development build.
    build: { write: false, target: 'es2022', modulePreload: false, rolldownOptions: { input, output } },
  })) as Rolldown.RolldownOutput;
  return built.output.filter((each) => each.type === 'chunk');
}

const usedOf = (modules: Rolldown.OutputChunk['modules']): string[] =>
  Object.entries(modules).flatMap(([path, { renderedLength }]) => (renderedLength > 0 ? [path] : []));

/** The packages of React and those of tRPC count as one each. */
function packageOf(path: string): string {
  const name = /node_modules\/(?!\.)((?:@[^/]+\/)?[^/]+)\/(?!.*node_modules\/)/.exec(path)?.[1] ?? 'runwire';
  if (/^(react|react-dom|scheduler)$/.test(name)) return 'react';
  return name.replace(/^(@trpc|@tanstack)\/.*/, '$1');
}

/** Gzipped sizes of the scripts that the web app loads for its first page (`/`), and of all its scripts, in bytes. */
export async function appBundle(): Promise<{ firstBytes: number; allBytes: number; firstModules: string[] }> {
  const { NODE_ENV } = process.env;
  process.env.NODE_ENV = 'production'; // Otherwise tests would bundle React's development build.
  const built = (await build({
    configFile: join(root, 'vite.config.ts'),
    logLevel: 'error',
    build: { write: false },
  }).finally(() => {
    process.env.NODE_ENV = NODE_ENV;
  })) as Rolldown.RolldownOutput;
  const chunks = built.output.filter((each) => each.type === 'chunk');
  const page = built.output.find(({ fileName }) => fileName === 'index.html') as Rolldown.OutputAsset;
  const first = new Set(chunks.filter(({ fileName }) => String(page.source).includes(`/${fileName}"`)));
  // A set that grows while it is iterated yields the new items too.
  for (const { imports } of first) {
    for (const chunk of chunks) if (imports.includes(chunk.fileName)) first.add(chunk);
  }
  const sizeOf = (some: Iterable<Rolldown.OutputChunk>) =>
    [...some].reduce((sum, { code }) => sum + gzipSync(code).length, 0);
  return {
    firstBytes: sizeOf(first),
    allBytes: sizeOf(chunks),
    firstModules: [...first].flatMap(({ modules }) => usedOf(modules).map((path) => relative(root, path))),
  };
}
