import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { created } from '../support/harness.ts';
import { compilers, reactSets, type TrpcSet } from './cells.ts';
import { followPages, followStreamedPage, refreshPage, serveApp } from './hydrated-page.ts';
import { output, Project, root } from './project.ts';

/** An app of Next.js with the packed package: it is built, started, and asked for its pages. */

const NEXT = 'next@16.4.6';

export async function tryNext(folder: string, tarball: string, trpc: TrpcSet): Promise<string> {
  const project = new Project(folder);
  const [, react] = reactSets as [unknown, (typeof reactSets)[0]];
  const [typescript5] = compilers;
  const typescript = typescript5.source.replace(/^.*npm:/, '');
  await project.install([tarball, NEXT, typescript, '@types/node@20', ...trpc.packages, ...react.packages]);
  cpSync(join(root, 'tests/matrix/next'), folder, { recursive: true });
  const next = join(folder, 'node_modules/next/dist/bin/next');
  // Bundlers differ in what they accept: webpack refuses `export *` in a file with 'use client'.
  for (const bundler of ['--webpack', '--turbopack']) await output(process.execPath, [next, 'build', bundler], folder);

  const argsFor = (port: string) => [next, 'start', '-H', '127.0.0.1', '-p', port];
  return serveApp(argsFor, folder, async (tools) => {
    const { server, address } = tools;
    await server.bus.publish([created('run-1', { name: 'Nightly cohort' })], { actor: 'ada' });
    const [prerendered, rendered] = [await page(address, '/'), await page(address, '/run')];
    if (!prerendered.includes('pending')) throw new Error(`the prerendered page has no loading state: ${prerendered}`);
    if (!/run: (<!-- -->)?Nightly cohort/.test(rendered)) throw new Error(`the page has no run: ${rendered}`);
    const own = { own: 'a run of the app, ada', client: 'the QueryClient of the app' };
    const followed = [
      await followPages(tools, (runId) => `${address}/hydrated?runId=${runId}`, own),
      await followStreamedPage(tools, (runId) => `${address}/hydrated/streamed?runId=${runId}`),
      await refreshPage(tools, (runId) => `${address}/hydrated?runId=${runId}`),
    ];
    return `built by webpack and Turbopack, prerendered, rendered; hydrated in Chromium: ${followed.join(', ')}`;
  });
}

async function page(address: string, path: string): Promise<string> {
  const answer = await fetch(address + path);
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${path} is answered ${answer.status}: ${text}`);
  return text;
}
