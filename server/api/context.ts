import type { Principal } from '../auth/principal.ts';
import type { Connection } from '../ws/connection.ts';

/** What a procedure knows of its caller: all that `createCaller` needs is a principal. */
export type Context = {
  readonly principal: Principal;
  /** The WebSocket that the call came over. */
  readonly connection?: Connection | undefined;
  /** How it came where that is no WebSocket; default: from a caller in the process. */
  readonly via?: 'http' | 'sse' | undefined;
};
