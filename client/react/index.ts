/** The package entry `runwire/react`: the hooks of `runwire/hooks`, and tRPC's React hooks typed by the server's router. */

export * from '../hooks/index.ts';
export { createRunwireReact, RunwireProvider, type RunwireReact, trpc } from './trpc.tsx';
