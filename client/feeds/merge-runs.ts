import type { InfiniteData } from '@tanstack/react-query';
import type { RunHeader } from '../../shared/run.ts';

export type RunsPage = {
  runs: RunHeader[];
  nextCursor?: string | undefined;
  position: string;
  /** `createdAt` of the last run when the page was fetched; set by {@link merge}. Older runs belong to the next page. */
  oldest?: string | undefined;
};

export type RunsPages = InfiniteData<RunsPage, string | null>;
/** Run headers that have changed since the pages were fetched, and the keys of the new runs that the list may show. */
export type Overlay = { changed: ReadonlyMap<string, RunHeader>; shown: ReadonlySet<string> };
export const emptyOverlay: Overlay = { changed: new Map(), shown: new Set() };

export const runKeyOf = ({ projectId, runId }: RunHeader) => `${projectId} ${runId}`;

/**
 * Combines the fetched pages of a list of runs with an overlay of changed headers. Returns the combined pages, and the new
 * runs that wait until the user wants to see them (`showNew`).
 *
 * - A listed run keeps its place. It is removed if it no longer matches the filter.
 * - A new run is inserted by its creation time if it is in `shown`, otherwise it waits.
 * - A run that is older than the last listed run is ignored if there is a next page: the run belongs to that page.
 *
 * Unchanged pages and runs are the same objects as before.
 */
export function merge(
  pages: readonly RunsPage[],
  { changed, shown }: Overlay,
  matches: (run: RunHeader) => boolean,
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
  const oldest = (hasNext && pages.map(oldestOf).findLast((time) => time !== undefined)) || '';
  const fresh = [...changed.values()].filter(
    (run) => !listed.has(runKeyOf(run)) && matches(run) && run.createdAt >= oldest,
  );
  for (const run of fresh) if (shown.has(runKeyOf(run))) merged = withRun(merged, run);
  const isSame = merged.every((page, index) => page === pages[index]);
  return { pages: isSame ? pages : merged, waiting: fresh.filter((run) => !shown.has(runKeyOf(run))) };
}

const oldestOf = ({ oldest, runs }: RunsPage) => oldest ?? runs.at(-1)?.createdAt;

function withRun(pages: RunsPage[], run: RunHeader): RunsPage[] {
  const isOlder = (other: RunHeader) => other.createdAt <= run.createdAt;
  const found = pages.findIndex(({ runs }) => runs.some(isOlder));
  const place = found === -1 ? pages.length - 1 : found;
  return pages.map((page, index) => {
    if (index !== place) return page;
    const before = page.runs.findIndex(isOlder);
    return { ...page, runs: page.runs.toSpliced(before === -1 ? page.runs.length : before, 0, run) };
  });
}
