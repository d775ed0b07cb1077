import type { InfiniteData } from '@tanstack/react-query';
import type { RunHeader } from '../../shared/run.ts';

export type RunsPage = {
  runs: RunHeader[];
  nextCursor?: string | undefined;
  position: string;
  /** Set here: `createdAt` of the last run when the page was fetched. Later ones come with the next page. */
  oldest?: string | undefined;
};

export type RunsPages = InfiniteData<RunsPage, string | null>;
/** Headers beside the pages: of runs that changed, and which of them have been asked for by `showNew`. */
export type Overlay = { changed: ReadonlyMap<string, RunHeader>; shown: ReadonlySet<string> };
export const emptyOverlay: Overlay = { changed: new Map(), shown: new Set() };
export const keyOf = ({ projectId, runId }: RunHeader) => `${projectId} ${runId}`;
/**
 * The pages with what changed: listed runs in their places, without those that match no more; runs that are asked for
 * where they belong by age; and those that wait. A run older than what is listed waits for its page. What did not change is
 * the same object.
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
      const key = keyOf(run);
      if (listed.has(key)) return [];
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
    (run) => !listed.has(keyOf(run)) && matches(run) && run.createdAt >= oldest,
  );
  for (const run of fresh) if (shown.has(keyOf(run))) merged = withRun(merged, run);
  const isSame = merged.every((page, index) => page === pages[index]);
  return { pages: isSame ? pages : merged, waiting: fresh.filter((run) => !shown.has(keyOf(run))) };
}

export const oldestOf = ({ oldest, runs }: RunsPage) => oldest ?? runs.at(-1)?.createdAt;
export function withRun(pages: RunsPage[], run: RunHeader): RunsPage[] {
  const isOlder = (other: RunHeader) => other.createdAt <= run.createdAt;
  const found = pages.findIndex(({ runs }) => runs.some(isOlder));
  const place = found === -1 ? pages.length - 1 : found;
  return pages.map((page, index) => {
    if (index !== place) return page;
    const before = page.runs.findIndex(isOlder);
    return { ...page, runs: page.runs.toSpliced(before === -1 ? page.runs.length : before, 0, run) };
  });
}
