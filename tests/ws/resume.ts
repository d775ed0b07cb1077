import { describe, expect, test } from 'vitest';
import { createPublisher, type PublisherDraft } from '../../client/publisher/index.ts';
import { openSqliteLog } from '../../server/event-log/sqlite/log.ts';
import { foldEvent, type RunEvent } from '../../shared/events.ts';
import { mulberry32 } from '../chaos/random.ts';
import { cliPath, serverPath, startChild, startServing } from '../support/cli-harness.ts';
import { secret, temporaryFolder, tokenFor } from '../support/harness.ts';
import { freePort } from '../support/ports.ts';

/**
 * Rounds of one end-to-end check. A publisher sends 5,000 events and `runwire tail` prints them, while the server is killed
 * with SIGKILL one to three times and restarted. The printed events must equal the log: complete, once each, in order.
 */

const EVENTS = 5_000;

/** Declares one test per round, each with a random seed. RUNWIRE_SEED replays the round of one seed instead. */
export function testResume(rounds: number): void {
  const firstSeed = Math.floor(Math.random() * 2 ** 31);
  const seeds =
    process.env.RUNWIRE_SEED === undefined
      ? Array.from({ length: rounds }, (_, index) => (firstSeed + index * 7_919) % 2 ** 31)
      : [Number(process.env.RUNWIRE_SEED)];

  describe.concurrent('resume', () => {
    test.for(seeds)(
      '[X2] [L6] tail prints every acknowledged event once and in order across kills of the server (RUNWIRE_SEED=%i)',
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

        // Counts of acknowledged events at which the server is killed: shortly before, during or after a request.
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
              // A kill between the commit and the response makes the retried events duplicates.
              acknowledged += accepted + duplicates;
              killIfDue();
            }),
          );
          // Without these pauses all requests would be sent before the first kill.
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
        expect(printed.map((event) => event.eventId)).toEqual(
          Array.from({ length: EVENTS }, (_, index) => `e${index}`),
        );
        expect(printed.every((event, index) => index === 0 || event.seq > (printed[index - 1] as RunEvent).seq)).toBe(
          true,
        );
        expect(await logged(`${folder.path}/log.db`)).toEqual(printed);
      },
    );
  });
}

/** Event number `index` of the run: the first creates the run, the last completes it. */
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
