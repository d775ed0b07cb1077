import { expect, onTestFinished } from 'vitest';
import type { RunServer } from '../../server/run-server.ts';
import type { RunEvent } from '../../shared/events.ts';
import { startServer, temporaryFolder, tokenFor } from '../support/harness.ts';

/** Shared by the tests of the command line, which run the built `runwire` as child processes. */

export type Event = RunEvent & { stageId?: string; message?: string; error?: { message: string; code?: string } };

export async function eventsOf({ log }: Pick<RunServer, 'log'>): Promise<Event[]> {
  const events: Event[] = [];
  let after = 0;
  while (after < log.head) {
    const page = await log.read({ scope: { kind: 'all' }, after, limit: 1_000 });
    for (const record of page.records) events.push(record.event as unknown as Event);
    after = page.scannedTo;
  }
  return events;
}

/** Creates a folder and a server, and the environment that points to it. */
export async function setUp(options: Parameters<typeof startServer>[0] = {}) {
  const folder = temporaryFolder();
  const server = await startServer(options);
  onTestFinished(async () => {
    await server.close();
    folder[Symbol.dispose]();
  });
  const env = { RUNWIRE_URL: server.url, RUNWIRE_TOKEN: await tokenFor() };
  return { server, cwd: folder.path, env };
}

export const exec = ['exec', '--project', 'demo', '--name', 'Nightly build'];

/** What `exec` wrote to stderr after its first two lines: the page of the run, and how its output is sampled. */
export function afterStart(stderr: string): string {
  const [page = '', samples = '', ...rest] = stderr.split('\n');
  expect(page).toMatch(/^runwire: run \S+: http:\S+\/runs\/demo\/\S+$/);
  expect(samples).toBe('runwire: the page shows samples of the output: its last line, at most every 400 ms');
  return rest.join('\n');
}

export const brief = ({ type, stageId, error }: Event) => [
  type,
  ...(stageId ? [stageId] : []),
  ...(error ? [error.code] : []),
];

/** Maps with at most `width` calls at a time. */
export async function inTurns<T, R>(width: number, items: readonly T[], map: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const work = async () => {
    while (next < items.length) {
      const index = next++;
      results[index] = await map(items[index] as T);
    }
  };
  await Promise.all(Array.from({ length: width }, work));
  return results;
}
