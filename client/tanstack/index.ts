/**
 * The package entry `runwire/tanstack`: the hooks of `runwire/hooks`, and tRPC's integration with TanStack Query typed by
 * the server's router.
 */

export * from '../hooks/index.ts';
export { createRunwireTanstack, RunwireProvider, type RunwireTanstack, useTRPC, useTRPCClient } from './trpc.tsx';
