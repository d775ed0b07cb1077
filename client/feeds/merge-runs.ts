import type { InfiniteData } from '@tanstack/react-query';
import type { RunHeader } from '../../shared/run.ts';

export type RunsPage = {
  runs: RunHeader[];
  nextCursor?: string | undefined;
  position: string;
  /** `createdAt` of the last run at the time of the fetch; set by {@link merge}. Older runs belong to the next page. */
  oldest?: string | undefined;
};

export type RunsPages = InfiniteData<RunsPage, string | null>;
/** Changed headers that are kept beside the pages, and the keys of the new runs that `showNew` has released. */
export type Overlay = { changed: ReadonlyMap<string, RunHeader>; shown: ReadonlySet<string> };
export const emptyOverlay: Overlay = { changed: new Map(), shown: new Set() };

export const runKeyOf = ({ projectId, runId }: RunHeader) => `${projectId} ${runId}`;

/**
 * Combines the pages with the changed headers. Returns the new pages, and the new runs that wait for `showNew`.
 *
 * - A listed run keeps its place. It is removed if it does not match any more.
 * - A released run is inserted by its age.
 * - A run older than the last listed run is neither: its page has not been fetched.
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
  const last = pages.at(-1);
  const oldest = (last?.nextCursor !== undefined && oldestOf(last)) || '';
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
