/** The package entry `runwire/react`: the hooks of `runwire/hooks`, and tRPC's React hooks typed by the server's router. */

export { trpc } from '../hooks/context.ts';
export * from '../hooks/index.ts';
