import { initTRPC } from '@trpc/server';
import { fetchRequestHandler } from '@trpc/server/adapters/fetch';

/** The app's own tRPC server. It has a procedure of the same name as one of Runwire, and paths of the same shape. */

const t = initTRPC.create();
const own = { get: t.procedure.query(() => ({ name: 'a run of the app' })) };
const appRouter = t.router({ run: t.router(own) });
export type AppRouter = typeof appRouter;

const handler = (req: Request) =>
  fetchRequestHandler({ endpoint: '/api/trpc', req, router: appRouter, createContext: () => ({}) });

export { handler as GET, handler as POST };
