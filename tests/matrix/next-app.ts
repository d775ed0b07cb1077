import { spawn } from 'node:child_process';
import { cpSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { signToken } from '../../server/auth/tokens.ts';
import { created, secret, startServer } from '../support/harness.ts';
import { compilers, reactSets, type TrpcSet } from './cells.ts';
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

  await using server = await startServer();
  await server.bus.publish([created('run-1', { name: 'Nightly cohort' })], { actor: 'ada' });
  const claims = { sub: 'ada', projects: ['*'], roles: ['viewer' as const], ttlSeconds: 600 };
  const env = { ...process.env, RUNWIRE_URL: server.url, RUNWIRE_TOKEN: await signToken({ secret }, claims) };
  const port = await freePort();
  const app = spawn(process.execPath, [next, 'start', '-H', '127.0.0.1', '-p', String(port)], {
    cwd: folder,
    env: { ...env, NODE_ENV: 'production' },
    stdio: 'ignore',
  });
  try {
    const [prerendered, rendered] = [await page(port, '/'), await page(port, '/run')];
    if (!prerendered.includes('pending')) throw new Error(`the prerendered page has no loading state: ${prerendered}`);
    if (!/run: (<!-- -->)?Nightly cohort/.test(rendered)) throw new Error(`the page has no run: ${rendered}`);
    return 'built by webpack and Turbopack, prerendered, rendered';
  } finally {
    app.kill();
  }
}

async function page(port: number, path: string): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`).catch(() => undefined);
    if (answer?.ok) return answer.text();
    if (attempt === 100)
      throw new Error(`${path} is answered ${answer?.status ?? 'by nobody'}: ${await answer?.text()}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
