import type { TRPCClient } from '@trpc/client';
import { objectOf } from '../../shared/errors.ts';
import type { AppRouter } from '../../shared/router.ts';
import type { RunView } from '../../shared/run.ts';
import { mergeRunPages } from '../../shared/run-pages.ts';
import { MAX_ANSWER_MS, within } from './timer.ts';

type Run = { runId: string; projectId?: string | undefined };
type Client = TRPCClient<AppRouter>;

/**
 * Fetches a run with `run.get`: all its pages, if it is large. With `atLeast`, the cursor of a received item, the run includes
 * every event up to this item, whichever server answers.
 */
export async function fetchRun(client: Client, options: Run & { atLeast?: string | undefined }, signal?: AbortSignal) {
  objectOf(client, 'client');
  const { atLeast, ...run } = objectOf(options, 'options');
  const { run: view, last } = await fetchPages(run, signal, (input, limited) =>
    client.run.get.query(atLeast === undefined ? input : { ...input, atLeast }, { signal: limited }),
  );
  return { run: view, cursor: last.cursor };
}

/** Fetches a run as it was after one of its events, with `run.at`: all its pages, if it is large. */
export async function fetchRunAt(client: Client, { runSeq, ...run }: Run & { runSeq: number }, signal?: AbortSignal) {
  const { run: view, last } = await fetchPages(run, signal, (input, limited) =>
    client.run.at.query({ ...input, runSeq }, { signal: limited }),
  );
  return { run: view, firstRunSeq: last.firstRunSeq };
}

async function fetchPages<Page extends { run: RunView; nextCursor?: string }>(
  run: Run,
  signal: AbortSignal | undefined,
  query: (input: Run & { cursor?: string }, signal: AbortSignal) => Promise<Page>,
): Promise<{ run: RunView; last: Page }> {
  const fetchPage = (input: Run & { cursor?: string }) =>
    within(MAX_ANSWER_MS, 'the server', signal, (limited) => query(input, limited));
  let last = await fetchPage(run);
  const pages: [RunView, ...RunView[]] = [last.run];
  while (last.nextCursor !== undefined) {
    last = await fetchPage({ ...run, projectId: last.run.projectId, cursor: last.nextCursor });
    pages.push(last.run);
  }
  return { run: mergeRunPages(pages), last };
}
