import type { InfiniteData } from '@tanstack/react-query';
import type { RunHeader, RunSummary } from '../../shared/run.ts';

export type RunsPage = {
  runs: RunHeader[];
  nextCursor?: string | undefined;
  position: string;
  /** `createdAt` of the last run when the page was fetched; set by {@link merge}. Older runs belong to the next page. */
  oldest?: string | undefined;
};

export type RunsPages = InfiniteData<RunsPage, string | null>;

export const runKeyOf = ({ projectId, runId }: RunHeader) => `${projectId} ${runId}`;

/**
 * Combines the fetched pages of a list of runs with the headers that have changed since. Returns the combined pages, and
 * the new runs that wait until the user wants to see them (`showNew`).
 *
 * - A listed run keeps its place. It is removed if it no longer matches the filter.
 * - A new run is inserted by its creation time if its key is in `shown`, otherwise it waits.
 * - A run that is older than the last listed run is ignored if there is a next page: the run belongs to that page.
 *
 * Unchanged pages and runs are the same objects as before.
 */
export function merge(
  pages: readonly RunsPage[],
  changed: ReadonlyMap<string, RunSummary>,
  shown: ReadonlySet<string>,
  matches: (run: RunSummary) => boolean,
): { pages: readonly RunsPage[]; waiting: RunHeader[] } {
  if (changed.size === 0) return { pages, waiting: [] };
  const listed = new Set<string>();
  let merged = pages.map((page) => {
    const runs = page.runs.flatMap((run) => {
      const key = runKeyOf(run);
      if (listed.has(key)) return []; // Pages fetched at different times can overlap.
      listed.add(key);
      const later = changed.get(key);
      if (!later || later.lastSeq <= run.lastSeq) return [run];
      return matches(later) ? [later] : [];
    });
    const isSame = runs.length === page.runs.length && runs.every((run, index) => run === page.runs[index]);
    return isSame ? page : { ...page, runs, oldest: oldestOf(page) };
  });
  // A page may be empty although there are further runs.
  const hasNext = pages.at(-1)?.nextCursor !== undefined;
  const times = pages.map(oldestOf).filter((time) => time !== undefined);
  const oldest = (hasNext && times.at(-1)) || '';
  const fresh = [...changed.values()].filter(
    (run) => !listed.has(runKeyOf(run)) && matches(run) && run.createdAt >= oldest,
  );
  const isShown = (run: RunHeader) => shown.has(runKeyOf(run));
  if (shown.size > 0) merged = insert(merged, fresh.filter(isShown));
  const isSame = merged.every((page, index) => page === pages[index]);
  return { pages: isSame ? pages : merged, waiting: fresh.filter((run) => !isShown(run)) };
}

const oldestOf = ({ oldest, runs }: RunsPage) => oldest ?? runs.at(-1)?.createdAt;

/** Inserts each run before the first older run, or at the end of the last page. The time is linear in all runs. */
function insert(pages: RunsPage[], added: RunHeader[]): RunsPage[] {
  const newestFirst = [...added].sort((a, b) => (a.createdAt < b.createdAt ? 1 : a.createdAt > b.createdAt ? -1 : 0));
  let next = 0;
  return pages.map((page, index) => {
    const start = next;
    const runs: RunHeader[] = [];
    for (const run of page.runs) {
      for (let other = newestFirst[next]; other && other.createdAt >= run.createdAt; other = newestFirst[++next]) {
        runs.push(other);
      }
      runs.push(run);
    }
    if (index === pages.length - 1) runs.push(...newestFirst.slice(next));
    const isSame = next === start && runs.length === page.runs.length;
    return isSame ? page : { ...page, runs };
  });
}
