import type { RunServer } from '../../server/run-server.ts';
import type { BenchEvent } from './event.ts';
import type { ContenderServer } from './face.ts';
import { draftOf, runwire } from './runwire-server.ts';

/**
 * Every contender's events are published to a Runwire of its own process first, with the log in memory and outside of the
 * clock, and delivered once they are committed. Runwire cannot deliver what it has not committed; and what has just run a
 * transaction finds the processor's caches full of that, which makes five writes half as costly again. All contenders pay
 * for it, or none.
 */

type Emit = NonNullable<ContenderServer['emit']>;
/** Commits events, then delivers them: `prepare` comes before, and returns what delivers. */
type EmitBy = (prepare: (events: BenchEvent[]) => () => void) => Emit;

export const committing = async (): Promise<EmitBy> => emitterOf((await runwire({})).server);

export function emitterOf(server: RunServer): EmitBy {
  // Observers of the bus are told of an event once it is committed, and before the delivery is rung for. Were it the
  // other way round, what is measured would lack the writes.
  let onCommitted: (() => void) | undefined;
  let isChecked = false;
  let deliveredBefore = 0;
  server.bus.subscribe({
    next: () => {
      if (!isChecked && server.getStats().delivered !== deliveredBefore) {
        process.stderr.write(
          'events are delivered before the bus tells its observers: the clock would begin too late\n',
        );
        process.exit(1);
      }
      isChecked = true;
      onCommitted?.();
      onCommitted = undefined;
    },
  });
  return (prepare) => async (events, begin) => {
    const deliver = prepare(events);
    if (!isChecked) deliveredBefore = server.getStats().delivered;
    onCommitted = () => {
      begin();
      deliver();
    };
    await server.bus.publish(events.map(draftOf), { actor: 'bench' });
  };
}
