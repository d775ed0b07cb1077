import type { TRPCClient } from '@trpc/client';
import type { AppRouter } from '../../shared/router.ts';
import type { RunView } from '../../shared/run.ts';
import { mergeRunPages } from '../../shared/run-pages.ts';
import { MAX_ANSWER_MS, within } from './timer.ts';

/** Fetches a run with `run.get`: all its pages, if it is large. */
export async function fetchRun(
  client: TRPCClient<AppRouter>,
  run: { runId: string; projectId?: string | undefined },
  signal?: AbortSignal,
): Promise<{ run: RunView; cursor: string }> {
  const fetchPage = (input: typeof run & { cursor?: string }) =>
    within(MAX_ANSWER_MS, 'the server', signal, (limited) => client.run.get.query(input, { signal: limited }));
  let page = await fetchPage(run);
  const pages: [RunView, ...RunView[]] = [page.run];
  while (page.nextCursor !== undefined) {
    page = await fetchPage({ ...run, projectId: page.run.projectId, cursor: page.nextCursor });
    pages.push(page.run);
  }
  return { run: mergeRunPages(pages), cursor: page.cursor };
}
