import type { TRPCClient } from '@trpc/client';
import type { AppRouter } from '../../shared/router.ts';
import type { RunView } from '../../shared/run.ts';
import { mergeRunPages } from '../../shared/run-pages.ts';

/** Fetches a run with `run.get`: all its pages, if it is large. */
export async function fetchRun(
  client: TRPCClient<AppRouter>,
  run: { runId: string; projectId?: string | undefined },
  signal?: AbortSignal,
): Promise<{ run: RunView; cursor: string }> {
  const options = signal ? { signal } : {};
  let page = await client.run.get.query(run, options);
  const pages: [RunView, ...RunView[]] = [page.run];
  while (page.nextCursor !== undefined) {
    page = await client.run.get.query({ ...run, projectId: page.run.projectId, cursor: page.nextCursor }, options);
    pages.push(page.run);
  }
  return { run: mergeRunPages(pages), cursor: page.cursor };
}
