import { cpSync } from 'node:fs';
import { join } from 'node:path';
import type { ReactSet, TrpcSet } from './cells.ts';
import { followPages, serveApp } from './hydrated-page.ts';
import { output, Project, root } from './project.ts';

/** An app that Vite builds for the browser and for a server, with the packed package. */

const VITE = 'vite@8.3.8';

export async function tryVite(folder: string, tarball: string, trpc: TrpcSet, react: ReactSet): Promise<string> {
  const project = new Project(folder);
  await project.install([tarball, VITE, '@types/node@20', ...trpc.packages, ...react.packages]);
  cpSync(join(root, 'tests/matrix/vite'), folder, { recursive: true });
  const vite = join(folder, 'node_modules/vite/bin/vite.js');
  await output(process.execPath, [vite, 'build', '--manifest', '--outDir', 'dist/client'], folder);
  await output(process.execPath, [vite, 'build', '--ssr', 'entry-server.tsx', '--outDir', 'dist/server'], folder);
  return serveApp(
    () => [join(folder, 'server.mjs')],
    folder,
    (tools) => followPages(tools, (runId) => `${tools.address}/?runId=${runId}`),
  );
}
