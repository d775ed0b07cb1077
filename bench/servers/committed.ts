import type { Histogram } from 'prom-client';
import type { RunServer } from '../../server/run-server.ts';
import type { BenchEvent } from './event.ts';
import type { ContenderServer } from './face.ts';
import { draftOf, runwire } from './runwire-server.ts';

/**
 * Publishes the events of every contender to a Runwire in its own process first, with an in-memory log outside of the
 * clock, and delivers them after the commit. Runwire delivers only after a commit, and a transaction evicts the CPU
 * caches, which makes five writes 50 % slower. This way all contenders pay for it.
 */

type Emit = NonNullable<ContenderServer['emit']>;
/** Commits events, then delivers them. `prepare` runs before the commit, and returns the function that delivers. */
type EmitBy = (prepare: (events: BenchEvent[]) => () => void) => Emit;

/** `send` and `emit` of a contender that keeps nothing itself. */
export function peer(prepare: (events: BenchEvent[]) => () => void): Pick<ContenderServer, 'send' | 'emit'> {
  let emit: Promise<Emit> | undefined;
  return {
    send: (events) => prepare(events)(),
    async emit(events, begin) {
      emit ??= runwire({}).then(({ server }) => emitterOf(server)(prepare));
      await (await emit)(events, begin);
    },
  };
}

export function emitterOf(server: RunServer): EmitBy {
  // The clock begins at the end of the commit. Observers of the bus come too late for it: the server delivers to readers
  // first. The log reports each commit to this metric before it calls any listener.
  let onCommitted: (() => void) | undefined;
  let isChecked = false;
  let deliveredBefore = 0;
  const commits = server.metrics.getSingleMetric('runwire_log_commit_seconds') as Histogram;
  const observe = commits.observe.bind(commits) as (seconds: number) => void;
  commits.observe = (seconds: unknown) => {
    observe(seconds as number);
    if (!onCommitted) return;
    if (!isChecked && server.getStats().delivered !== deliveredBefore) {
      process.stderr.write('events are delivered before the commit is reported: the clock would begin too late\n');
      process.exit(1);
    }
    isChecked = true;
    onCommitted();
    onCommitted = undefined;
  };
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
