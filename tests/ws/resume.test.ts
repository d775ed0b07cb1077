import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from 'vitest';
import { createPublisher, type PublisherDraft } from '../../client/publisher/index.ts';
import { openSqliteLog } from '../../server/event-log/sqlite/log.ts';
import { foldEvent, type RunEvent } from '../../shared/events.ts';
import { mulberry32 } from '../chaos/random.ts';
import { cliPath, serverPath, startChild, startServing } from '../support/cli-harness.ts';
import { secret, temporaryFolder, tokenFor } from '../support/harness.ts';

/**
 * The promise of the whole: the server is killed while events are published and read, and nothing is lost, repeated or
 * out of order for the reader, who never learns of it but by a line on stderr.
 *
 *     RUNWIRE_REPETITIONS=100 npx vitest run tests/ws/resume.test.ts
 *     RUNWIRE_SEED=12345 npx vitest run tests/ws/resume.test.ts    # replays one
 */

const EVENTS = 5_000;
const repetitions = Number(process.env.RUNWIRE_REPETITIONS ?? 20);
const firstSeed = Math.floor(Math.random() * 2 ** 31);
const seeds =
  process.env.RUNWIRE_SEED === undefined
    ? Array.from({ length: repetitions }, (_, index) => (firstSeed + index * 7_919) % 2 ** 31)
    : [Number(process.env.RUNWIRE_SEED)];

describe.concurrent('continuity', () => {
  test.for(seeds)(
    '[X2] [L6] every acknowledged event is printed once, in order, however often the server is killed (RUNWIRE_SEED=%i)',
    { timeout: 120_000 },
    async (seed, context) => {
      const random = mulberry32(seed);
      const folder = temporaryFolder();
      context.onTestFinished(() => folder[Symbol.dispose]());
      const { onTestFinished } = context;
      const port = await freePort();
      const databaseUrl = `file:${folder.path}/log.db`;
      const env = { PORT: String(port), DATABASE_URL: databaseUrl, AUTH_SECRET: secret };
      const at = { cwd: folder.path, env, onTestFinished };
      const url = `http://127.0.0.1:${port}`;
      const token = await tokenFor();

      let { child: server } = await startServing(serverPath, [], at);
      const args = ['tail', '--run', 'r1', '--project', 'demo', '--from', 'start', '--json', '--until-end'];
      const tail = startChild(cliPath, args, {
        cwd: folder.path,
        env: { RUNWIRE_URL: url, RUNWIRE_TOKEN: token },
        onTestFinished,
      });

      // The kills come when so many events have been acknowledged: a little before, amid or after a request.
      const kills = Array.from({ length: 1 + Math.floor(random() * 3) }, () => Math.floor(random() * EVENTS)).sort(
        (a, b) => a - b,
      );
      const publisher = createPublisher({ url, token, projectId: 'demo', retryDelayMs: 20, maxRetryDelayMs: 100 });
      let acknowledged = 0;
      let killed = 0;
      let restarting = Promise.resolve();
      const killIfDue = () => {
        if (acknowledged < (kills[killed] ?? Number.POSITIVE_INFINITY)) return;
        killed++;
        const delayMs = random() * 20;
        restarting = restarting.then(async () => {
          await new Promise((resolve) => setTimeout(resolve, delayMs));
          server.process.kill('SIGKILL');
          await server.ended;
          ({ child: server } = await startServing(serverPath, [], at));
        });
      };

      const calls: Promise<void>[] = [];
      for (let made = 0; made < EVENTS; ) {
        const size = Math.min(EVENTS - made, 1 + Math.floor(random() ** 3 * 200));
        const drafts = Array.from({ length: size }, (_, index) => draftOf(made + index));
        made += size;
        calls.push(
          publisher.publish(drafts).then(({ accepted, duplicates }) => {
            // Killed after the commit and before its answer, the server finds what is sent again logged already.
            acknowledged += accepted + duplicates;
            killIfDue();
          }),
        );
        // A producer that works in between: publishing and killing overlap.
        if (random() < 0.2) await Promise.race([calls.at(-1), restarting]);
      }
      await Promise.all(calls);
      await restarting;
      expect([acknowledged, killed]).toEqual([EVENTS, kills.length]);

      expect(await tail.ended, tail.stderr()).toEqual({ code: 0, signal: null });
      await publisher.close();
      server.process.kill('SIGKILL');
      await server.ended;

      const printed = tail
        .stdout()
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as RunEvent);
      expect(printed.map((event) => event.runSeq)).toEqual(Array.from({ length: EVENTS }, (_, index) => index + 1));
      expect(printed.map((event) => event.eventId)).toEqual(Array.from({ length: EVENTS }, (_, index) => `e${index}`));
      expect(printed.every((event, index) => index === 0 || event.seq > (printed[index - 1] as RunEvent).seq)).toBe(
        true,
      );
      expect(await logged(`${folder.path}/log.db`)).toEqual(printed);
    },
  );
});

/** The numbered event of a run; the last one ends it. */
function draftOf(index: number): PublisherDraft {
  const of = { runId: 'r1', eventId: `e${index}` };
  if (index === 0) return { type: 'run.created', name: 'continuity', ...of };
  if (index === EVENTS - 1) return { type: 'run.completed', ...of };
  return { type: 'stage.progress', stageId: 's1', done: index, ...of };
}

async function logged(path: string): Promise<unknown[]> {
  const log = await openSqliteLog({ path, fold: foldEvent as never });
  const events: unknown[] = [];
  for (let after = 0; after < log.head; ) {
    const page = await log.read({ scope: { kind: 'all' }, after, limit: 1_000 });
    for (const record of page.records) events.push(record.event);
    after = page.scannedTo;
  }
  await log.close();
  return events;
}

/** A port that the server can come back to. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
