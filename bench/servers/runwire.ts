import { emitterOf } from './committed.ts';
import { optionsOf, serve } from './face.ts';
import { type RunwireOptions, runwire } from './runwire-server.ts';

/** Runwire as anyone runs it: `createRunServer`, `bus.publish`. Its delivery goes by itself. */

const { server, face } = await runwire(optionsOf<RunwireOptions>());
await serve({ ...face, emit: emitterOf(server)(() => () => undefined) });
