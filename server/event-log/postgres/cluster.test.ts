import { randomInt } from 'node:crypto';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { foldEvent } from '../../../shared/events.ts';
import { mulberry32 } from '../../../tests/chaos/random.ts';
import { createDatabase, dropDatabase } from '../../../tests/support/postgres.ts';
import { RedisBackplane } from '../../backplane/redis.ts';
import { append, created, draft, type Place, readAll, seqs, started, untilReached, upTo } from '../conformance/kit.ts';
import { describeNodes } from '../conformance/nodes.ts';
import type { StoredEvent } from '../contract/log.ts';
import type { EventLog } from '../contract/store.ts';
import { type Backplane, type OpenBackplane, silentBackplane } from './backplane.ts';
import { openPostgresLog } from './log.ts';
import { NotifyBackplane } from './notify.ts';

const server = inject('postgres') as string;
const redis = inject('redis') as string;
const health = { report: () => undefined, note: () => undefined };

/** A place in a database of its own. It, and every log opened there, is closed after the test. */
async function makePlace(backplane?: OpenBackplane): Promise<Place & { url: string }> {
  const url = await createDatabase(server);
  const logs: EventLog[] = [];
  const remove = async () => {
    await Promise.all(logs.splice(0).map((log) => log.close()));
    await dropDatabase(server, url);
  };
  onTestFinished(remove);
  return {
    url,
    open: async (options) => {
      const log = await openPostgresLog({ url, fold: foldEvent, ...options, ...(backplane ? { backplane } : {}) });
      logs.push(log);
      return log;
    },
    remove,
  };
}

/** A backplane that loses, repeats, delays, cuts and invents messages, by a seed. */
function lossy(open: OpenBackplane, random: () => number): OpenBackplane {
  return (channel) => {
    const inner = open(channel);
    const held: string[] = [];
    return {
      send: (message) => inner.send(message),
      receive: (listener) =>
        inner.receive((message) => {
          const dice = random();
          if (dice < 0.2) return;
          if (dice < 0.4) held.push(message);
          else listener(message);
          if (dice > 0.8) listener(message);
          if (dice > 0.95) listener(message.slice(0, Math.floor(random() * message.length)));
          if (random() < 0.2) for (const late of held.splice(0).toSorted(() => random() - 0.5)) listener(late);
        }),
      get isConnected() {
        return inner.isConnected;
      },
      maxBytes: inner.maxBytes,
      close: () => inner.close(),
    };
  };
}

describe.skipIf(server === undefined)('nodes of one log by LISTEN and NOTIFY (PostgreSQL)', () => {
  describeNodes(() => makePlace());
});

describe.skipIf(server === undefined)('nodes of one log over a bad backplane (PostgreSQL)', () => {
  const seed = Number(process.env.SEED ?? randomInt(1 << 30));
  const backplanes = (url: () => string): [string, OpenBackplane | undefined][] => [
    ['NOTIFY', (channel) => new NotifyBackplane({ options: { connectionString: url() }, channel, health })],
    ['Redis', redis === undefined ? undefined : (channel): Backplane => new RedisBackplane(redis, channel, health)],
    ['no messages', silentBackplane],
  ];
  let url = '';
  for (const [name, open] of backplanes(() => url)) {
    test.skipIf(open === undefined)(
      `[M10] every listener of three nodes gets 1 to N once, in order, with users: ${name}, seed ${seed}`,
      async () => {
        const random = mulberry32(seed);
        const place = await makePlace(lossy(open as OpenBackplane, random));
        url = place.url;
        const nodes = [await place.open(), await place.open(), await place.open()];
        const received = nodes.map((log) => {
          const records: StoredEvent[] = [];
          log.subscribe((each) => void records.push(...each));
          return records;
        });
        const users = new Map<number, string[]>();
        await Promise.all(
          nodes.flatMap((log, node) =>
            ['x', 'y'].map(async (publisher) => {
              for (let round = 0; round < 25; round++) {
                const audience = [`u${node}`, `r${round % 5}`];
                const size = 1 + Math.floor(random() * (random() < 0.1 ? 60 : 5));
                const message = 'm'.repeat(Math.floor(random() * 2_000));
                const runId = random() < 0.5 ? 'shared' : `${node}${publisher}`;
                const drafts = upTo(size).map((n) =>
                  n % 3 === 0
                    ? draft('stage.progress', { stageId: 's', message, runId })
                    : n % 3 === 1
                      ? created({ runId, audience })
                      : started({ runId, audience }),
                );
                const receipts = await append(log, ...drafts);
                for (const [index, { seq }] of receipts.entries()) users.set(seq, index % 3 === 2 ? [] : audience);
              }
            }),
          ),
        );
        const { seq: head } = await (nodes[0] as EventLog).durableHead();
        for (const log of nodes) await untilReached(log, head);
        const stored = await readAll(nodes[0] as EventLog);
        for (const [index, records] of received.entries()) {
          expect(seqs(records), `node ${index}`).toEqual(upTo(head));
          expect(records.map(({ json, hashPrefix }) => [json, hashPrefix])).toEqual(
            stored.map(({ json, hashPrefix }) => [json, hashPrefix]),
          );
          expect(records.map((record) => record.users?.toSorted())).toEqual(
            upTo(head).map((seq) => users.get(seq)?.toSorted()),
          );
        }
        expect(users.size).toBe(head);
      },
    );
  }
});
