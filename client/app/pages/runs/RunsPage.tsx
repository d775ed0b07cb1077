import { Suspense, useCallback, useEffect, useLayoutEffect, useRef } from 'react';
import { useRuns } from '../../../hooks/index.ts';
import { Problem, Skeleton } from '../../components/Notice.tsx';
import { Shell } from '../../components/Shell.tsx';
import { Toolbar } from '../../components/Toolbar.tsx';
import { countText, useWaitingForMe } from '../../components/WaitingForMe.tsx';
import { useSession } from '../../hooks/useSession.ts';
import { useThrottled } from '../../hooks/useThrottled.ts';
import { announce } from '../../lib/announce.ts';
import { formatCount } from '../../lib/format.ts';
import { lazily } from '../../lib/lazily.tsx';
import { Link } from '../../lib/navigation.tsx';
import '../../styles/pages/runs.css';
import { ActivityPlot } from './ActivityPlot.tsx';
import { Filters } from './Filters.tsx';
import { useRunsFilter } from './filters.ts';
import { RunsTable } from './RunsTable.tsx';
import { useActivity } from './useActivity.ts';
import { usePending } from './usePending.ts';

const PAGE_RUNS = 100;
/** Runs change in the page at most four times a second. */
const PATCH_MS = 250;

const NoRuns = lazily(() => import('./NoRuns.tsx').then((part) => part.NoRuns));
const FilteredEmpty = lazily(() => import('./NoRuns.tsx').then((part) => part.FilteredEmpty));

/** True if the page is scrolled to the top and the list has no focus, pointer or selection. Rows may then move. */
function isUntouched(): boolean {
  const list = document.querySelector('.runs');
  if (!list || window.scrollY > 0) return false;
  return !list.contains(document.activeElement) && !list.matches(':hover') && !isSelectedIn(list);
}

function isSelectedIn(list: Element): boolean {
  const selection = document.getSelection();
  return selection !== null && !selection.isCollapsed && selection.containsNode(list, true);
}

export function RunsPage() {
  const { filter, isFiltered, options } = useRunsFilter();
  const { projectId } = filter;
  const { me } = useSession();
  const list = useRuns({ ...options, limit: PAGE_RUNS });
  const { status, newCount, showNew, error, reconnect } = list;
  // While the runs for a new filter are loading, the old runs stay: an empty page in between would flicker.
  const before = useRef(list.runs);
  useEffect(() => {
    if (status === 'success') before.current = list.runs;
  });
  const isLoading = status === 'pending';
  const runs = useThrottled(isLoading ? before.current : list.runs, PATCH_MS);
  const isEmpty = status === 'success' && list.runs.length === 0;
  useLayoutEffect(() => {
    // While the user works in the list, new runs wait: a row must not move while the user reads it or points at it.
    if (newCount > 0 && (isEmpty || isUntouched())) showNew();
  }, [isEmpty, newCount, showNew]);
  useEffect(() => {
    if (newCount > 0) announce(newRuns(newCount));
  }, [newCount]);
  const goToNew = () => {
    showNew();
    window.scrollTo(0, 0);
    // Removing the button would lose the focus, so the focus moves to the page first.
    document.querySelector('main')?.focus({ preventScroll: true });
  };
  const pendingOf = usePending(projectId, runs);
  const activity = useActivity(projectId, list.seq);
  // With other filters, the counts would not be those of the list.
  const { labels, text, since, until, needsMe } = filter;
  const isCounted = labels.length === 0 && text === '' && !since && !until && !needsMe;
  const latest = useRef(runs);
  latest.current = runs;
  const listed = useCallback(() => latest.current, []);
  const { hasNextPage, isFetchingNextPage, fetchNextPage, isConnected } = list;
  return (
    <Shell title="Runs" continuity={list}>
      <div className="title">
        <h1>Runs</h1>
        <WaitsForYou />
        {!isEmpty && (activity ? <ActivityPlot activity={activity} filter={filter} /> : <span className="activity" />)}
      </div>
      {(isFiltered || projectId !== undefined || !isEmpty) && (
        <Toolbar label="Filters" className="filters">
          <Filters
            filter={filter}
            isFiltered={isFiltered}
            counts={isCounted ? activity?.counts : undefined}
            listed={listed}
          />
        </Toolbar>
      )}
      {status === 'error' && error ? (
        <Problem error={error} onRetry={reconnect} />
      ) : runs.length > 0 ? (
        <div className="list">
          {newCount > 0 && (
            <p className="new-runs">
              <button type="button" className="new" onClick={goToNew}>
                {newRuns(newCount)}
              </button>
            </p>
          )}
          <RunsTable
            runs={runs}
            isBusy={isLoading}
            filter={filter}
            pendingOf={pendingOf}
            hasNextPage={hasNextPage}
            isFetchingNextPage={isFetchingNextPage}
            fetchNextPage={fetchNextPage}
            reconnect={reconnect}
            error={error}
            isConnected={isConnected}
          />
        </div>
      ) : isLoading ? (
        <Skeleton>Loading runs</Skeleton>
      ) : (
        <Suspense>{isFiltered ? <FilteredEmpty /> : me && <NoRuns me={me} projectId={projectId} />}</Suspense>
      )}
    </Shell>
  );
}

const newRuns = (count: number) => `${formatCount(count)} new ${count === 1 ? 'run' : 'runs'}`;

function WaitsForYou() {
  const count = useWaitingForMe();
  if (count === 0) return null;
  return (
    // The link to Approvals in the navigation leads there too, so this one is no tab stop.
    <Link href="/approvals" className="required" tabIndex={-1}>
      <strong>{countText(count)}</strong> {count === 1 ? 'approval waits' : 'approvals wait'} for you
    </Link>
  );
}
