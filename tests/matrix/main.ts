import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compilers, nodeVersions, reactSets, resolutions, serverPackages, sqlitePackage, trpcSets } from './cells.ts';
import { tryNext } from './next-app.ts';
import { nodeOf, Project, packTo } from './project.ts';
import { tryVite } from './vite-app.ts';

/**
 * `npm run test:matrix`: every cell of the matrix, from the packed package in projects that plain npm has filled. Prints a
 * table, and exits with 1 if a cell fails.
 */

type Outcome = { isRight: boolean; text: string };
/** Lines of an error that are printed. */
const SHOWN_LINES = 20;
const failures: string[] = [];

async function attempt(name: string, work: () => Promise<string>): Promise<Outcome> {
  try {
    return { isRight: true, text: await work() };
  } catch (error) {
    const lines = (error as Error).message.split('\n');
    failures.push(`${name}: ${lines.slice(0, SHOWN_LINES).join('\n')}`);
    return { isRight: false, text: 'FAILED' };
  }
}

const none = (errors: string[]): string => {
  if (errors.length > 0) throw new Error(errors.join('\n'));
  return 'yes';
};

const print = (cells: string[]) => console.log(`| ${cells.join(' | ')} |`);
const folder = mkdtempSync(join(tmpdir(), 'runwire-matrix-'));
const tarball = await packTo(folder);
const nodes = await Promise.all(nodeVersions.map(async (major) => ({ major, path: await nodeOf(major) })));

print([
  'tRPC',
  'React',
  'TypeScript',
  'resolution',
  'browser',
  'server',
  'one copy',
  ...nodes.map((n) => `Node ${n.major}`),
]);
print(Array.from({ length: 7 + nodes.length }, () => '---'));
for (const trpc of trpcSets) {
  for (const react of reactSets) {
    const name = `tRPC ${trpc.name}, React ${react.name}`;
    const project = new Project(join(folder, name.replaceAll(/\W+/g, '-')));
    const filled = await attempt(`${name}: install`, async () => {
      await project.fill(tarball, trpc, react);
      return none(await project.doublePeers());
    });
    if (!filled.isRight) {
      print([trpc.name, react.name, '', '', '', '', filled.text, ...nodes.map(() => '')]);
      continue;
    }
    const forBrowser = new Map<string, Outcome>();
    const each = compilers.flatMap((compiler) => resolutions.map((resolution) => ({ compiler, resolution })));
    for (const { compiler, resolution } of each) {
      const cell = `${name}, TypeScript ${compiler.name}, ${resolution}`;
      const outcome = await attempt(`${cell}: browser`, async () =>
        none(await project.compileForBrowser(compiler, resolution)),
      );
      forBrowser.set(cell, outcome);
    }
    await project.install(serverPackages);
    const runs: Outcome[] = [];
    for (const { compiler, resolution } of each) {
      const cell = `${name}, TypeScript ${compiler.name}, ${resolution}`;
      const all = await attempt(`${cell}: all`, async () => none(await project.compileAll(compiler, resolution)));
      if (runs.length === 0) {
        // The newest first: Node.js 20 has no SQLite, so the package for it is installed last.
        for (const { major, path } of nodes.toReversed()) {
          const outcome = await attempt(`${name}: Node ${major}`, async () => {
            if (major === 20) await project.install([sqlitePackage]);
            await project.run(path, 'render.js');
            const { events, cuts } = JSON.parse(await project.run(path, 'run.js')) as { events: number; cuts: number };
            return `${events} events, ${cuts} cuts`;
          });
          runs.unshift(outcome);
        }
      }
      const outcomes = [forBrowser.get(cell), all, filled, ...runs];
      print([trpc.name, react.name, compiler.name, resolution, ...outcomes.map((outcome) => outcome?.text ?? '')]);
    }
    rmSync(project.folder, { recursive: true });
  }
}
for (const trpc of trpcSets.filter(({ faces }) => faces.includes('react'))) {
  const name = `tRPC ${trpc.name}, Next.js`;
  const outcome = await attempt(name, () => tryNext(join(folder, 'next'), tarball, trpc));
  console.log(`\n${name}: ${outcome.text}`);
}
for (const [index, react] of reactSets.entries()) {
  const [trpc] = trpcSets.slice(index ? 0 : -1);
  const name = `tRPC ${trpc?.name}, React ${react.name}, Vite`;
  const outcome = await attempt(name, () =>
    tryVite(join(folder, `vite-${index}`), tarball, trpc as (typeof trpcSets)[0], react),
  );
  console.log(`\n${name}: ${outcome.text}`);
}
rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
for (const failure of failures) console.log(`\n${failure}`);
console.log(failures.length === 0 ? '\nevery cell is right' : `\n${failures.length} failures`);
process.exitCode = failures.length === 0 ? 0 : 1;
