import { silentBackplane } from '../../server/event-log/postgres/backplane.ts';
import { eventOf, runOf } from './event.ts';
import { optionsOf, serve } from './face.ts';
import { draftOf, runwire } from './runwire-server.ts';

/** One of several servers on a log in PostgreSQL. */

export type NodeOptions = { databaseUrl: string; redisUrl?: string; isSilent?: boolean };
/** Events at random times, each a request of its own. */
export type Send = { events: number; perSecond: number; runs: number };
/** `begins`: the start of each call by event index, in ns. */
export type Sent = { begins: [number, string][] };

const { isSilent = false, ...options } = optionsOf<NodeOptions>();
const { server, face } = await runwire({ ...options, ...(isSilent ? { backplane: silentBackplane } : {}) });

let index = 0;
async function send({ events, perSecond, runs }: Send): Promise<Sent> {
  const begins: [number, string][] = [];
  const published: Promise<unknown>[] = [];
  const begun = performance.now();
  for (let dueMs = 0; begins.length < events; dueMs += (Math.random() * 2_000) / perSecond) {
    const waitMs = begun + dueMs - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    const event = eventOf(++index, runOf(index % runs));
    begins.push([index, String(process.hrtime.bigint())]);
    published.push(server.bus.publish([draftOf(event)], { actor: 'bench' }));
  }
  await Promise.all(published);
  return { begins };
}

await serve({ ...face, also: { send } });
