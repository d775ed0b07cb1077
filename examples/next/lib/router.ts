import { initTRPC } from '@trpc/server';
import { z } from 'zod';
import { startReport } from './reports.ts';

/** The app's own tRPC, at /api/trpc. */

const t = initTRPC.create();
const notes = new Map<string, string[]>();
const runInput = z.object({ runId: z.string() });

export const appRouter = t.router({
  report: {
    start: t.procedure.mutation(async () => ({ runId: await startReport() })),
  },
  note: {
    list: t.procedure.input(runInput).query(({ input }) => notes.get(input.runId) ?? []),
    add: t.procedure.input(runInput.extend({ text: z.string().min(1).max(200) })).mutation(({ input }) => {
      notes.set(input.runId, [...(notes.get(input.runId) ?? []), input.text]);
    }),
  },
});
export type AppRouter = typeof appRouter;
