import { emitterOf } from './committed.ts';
import { optionsOf, serve } from './face.ts';
import { draftOf, indexed, type RunwireOptions, runwire } from './runwire-server.ts';

/** Runwire in its default configuration: `createRunServer`, `bus.publish`. Delivery starts by itself. */

const { server, face } = await runwire(optionsOf<RunwireOptions>());
await serve({
  ...face,
  send: (events) => server.bus.publish(events.map(draftOf), { actor: 'bench' }),
  settled: () => indexed(server),
  emit: emitterOf(server)(() => () => undefined),
});
