import { createRequire } from 'node:module';

/**
 * - `direct`: the server encodes an event once and writes the frame to all sockets (`direct.ts`).
 * - `iterator`: tRPC's WebSocket handler takes the items of each subscription one by one (`iterator.ts`).
 */
export type DeliveryMode = 'direct' | 'iterator';

/** Versions of `@trpc/server` on which the test suite has run with direct delivery. */
export const TESTED_VERSIONS: readonly string[] = ['11.19.0', '11.22.1', '11.25.2'];

/**
 * Returns the mode to use. Direct delivery depends on internals of tRPC's handler, so a version that has not been tested
 * gets `iterator`, and `warning` names it.
 */
export function deliveryMode(
  wanted: DeliveryMode = 'direct',
  version: string | undefined = installedVersion(),
): { mode: DeliveryMode; warning?: string } {
  if (wanted === 'iterator' || (version !== undefined && TESTED_VERSIONS.includes(version))) return { mode: wanted };
  return {
    mode: 'iterator',
    warning: `delivery: iterator (tRPC ${version ?? 'of unknown version'} has not been tested)`,
  };
}

function installedVersion(): string | undefined {
  try {
    return (createRequire(import.meta.url)('@trpc/server/package.json') as { version: string }).version;
  } catch {
    return undefined; // A bundler may have left the file out.
  }
}
