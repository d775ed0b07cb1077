import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build, type Rolldown } from 'vite';

const root = fileURLToPath(new URL('../..', import.meta.url));
const entries: Record<string, string> = {
  'runwire/client': 'client/index.ts',
  'runwire/events': 'shared/index.ts',
  'runwire/hooks': 'client/hooks/index.ts',
  'runwire/publisher': 'client/publisher/index.ts',
  'runwire/react': 'client/react/index.ts',
  'runwire/tanstack': 'client/tanstack/index.ts',
};

/** Paths of the modules in a bundle, relative to the repository, and the gzipped size of each package in it, in bytes. */
export type Bundle = { modules: string[]; gzipBytes: Map<string, number> };

/** Bundles the source of an app for production, as Vite does. Modules and packages without code in the result are left out. */
export async function bundleOf(app: string): Promise<Bundle> {
  const folder = await mkdtemp(join(root, 'node_modules', '.bundle-'));
  try {
    const input = join(folder, 'app.ts');
    await writeFile(input, app);
    const alias = Object.entries(entries).map(([find, path]) => ({ find, replacement: join(root, path) }));
    const output = (await build({
      root: folder,
      configFile: false,
      logLevel: 'error',
      resolve: { alias },
      define: { 'process.env.NODE_ENV': '"production"' },
      build: {
        write: false,
        target: 'es2022',
        modulePreload: false,
        rolldownOptions: {
          input,
          output: { codeSplitting: { includeDependenciesRecursively: false, groups: [{ name: packageOf }] } },
        },
      },
    })) as Rolldown.RolldownOutput;
    const modules: string[] = [];
    const gzipBytes = new Map<string, number>();
    for (const chunk of output.output) {
      if (chunk.type !== 'chunk') continue;
      const used = Object.entries(chunk.modules).filter(([, { renderedLength }]) => renderedLength > 0);
      modules.push(...used.map(([path]) => relative(root, path)));
      const [path] = used[0] ?? [];
      if (path) gzipBytes.set(packageOf(path), (gzipBytes.get(packageOf(path)) ?? 0) + gzipSync(chunk.code).length);
    }
    return { modules, gzipBytes };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** The packages of React and those of tRPC count as one each. */
function packageOf(path: string): string {
  const name = /node_modules\/(?!\.)((?:@[^/]+\/)?[^/]+)\/(?!.*node_modules\/)/.exec(path)?.[1] ?? 'runwire';
  if (/^(react|react-dom|scheduler)$/.test(name)) return 'react';
  return name.replace(/^(@trpc|@tanstack)\/.*/, '$1');
}
