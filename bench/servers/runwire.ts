import { emitterOf } from './committed.ts';
import { optionsOf, serve } from './face.ts';
import { runwire } from './runwire-server.ts';

/** Runwire as anyone runs it: `createRunServer`, `bus.publish`. Its delivery goes by itself. */

const { server, face } = await runwire(optionsOf<{ databaseUrl?: string; from?: 'now' | 'start' }>());
await serve({ ...face, emit: emitterOf(server)(() => () => undefined) });
