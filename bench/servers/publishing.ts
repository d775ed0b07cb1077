import { type Cost, costOf } from './cost.ts';
import { eventOf, RUNS, runOf, STAGES } from './event.ts';
import { optionsOf, serve } from './face.ts';
import { draftOf, indexed, type RunwireOptions, runwire } from './runwire-server.ts';

/** Publishes through the bus of a whole server: guard, hash chain and search index are on. */

/** `size`: events of a request. `publishers`: number of requests at a time. */
export type Publish = { count: number; size: number; publishers: number };

const { server, face } = await runwire(optionsOf<RunwireOptions>());
let published = 0;

function publish({ count, size, publishers }: Publish): Promise<Cost> {
  const requests = Array.from({ length: count / size }, () =>
    Array.from({ length: size }, () => {
      const index = ++published;
      return { ...draftOf(eventOf(index, runOf(index % RUNS))), stageId: `stage-${index % STAGES}` };
    }),
  ).values();
  const publishAll = async () => {
    for (const drafts of requests) await server.bus.publish(drafts, { actor: 'bench' });
  };
  return costOf(
    () => Promise.all(Array.from({ length: publishers }, publishAll)),
    () => indexed(server),
  );
}

// Every stage exists before the measurement.
await publish({ count: RUNS * STAGES, size: 100, publishers: 1 });
await serve({
  ...face,
  send: (events) => server.bus.publish(events.map(draftOf), { actor: 'bench' }),
  sent: published,
  also: { publish },
});
