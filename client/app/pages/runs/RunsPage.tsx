import { useEffect, useLayoutEffect, useRef } from 'react';
import { useRuns } from '../../../hooks/index.ts';
import { Problem, Skeleton } from '../../components/Notice.tsx';
import { Shell } from '../../components/Shell.tsx';
import { formatCount } from '../../lib/format.ts';
import { ParamLink } from '../../lib/navigation.tsx';
import { Filters } from './Filters.tsx';
import { paramsOf, useRunsFilter } from './filters.ts';
import { FilteredEmpty, FirstRun } from './NoRuns.tsx';
import { RunsTable } from './RunsTable.tsx';
import '../../styles/pages/runs.css';

const PAGE_RUNS = 100;

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
  const list = useRuns({ ...options, limit: PAGE_RUNS });
  const { status, newCount, showNew, error, reconnect } = list;
  // While the runs for a new filter are loading, the old runs stay: an empty page in between would flicker.
  const before = useRef(list.runs);
  useEffect(() => {
    if (status === 'success') before.current = list.runs;
  });
  const isLoading = status === 'pending';
  const runs = isLoading ? before.current : list.runs;
  const isEmpty = status === 'success' && list.runs.length === 0;
  useLayoutEffect(() => {
    // While the user works in the list, new runs wait: a row must not move while the user reads it or points at it.
    if (newCount > 0 && (isEmpty || isUntouched())) showNew();
  }, [isEmpty, newCount, showNew]);
  const goToNew = () => {
    showNew();
    window.scrollTo(0, 0);
    // Removing the button would lose the focus, so the focus moves to the page first.
    document.querySelector('main')?.focus({ preventScroll: true });
  };
  const waiting = runs.filter((run) => run.status === 'waiting').length;
  return (
    <Shell title="Runs" continuity={list}>
      <div className="title">
        <h1>Runs</h1>
        {waiting > 0 && (
          <ParamLink params={paramsOf({ status: ['waiting'] })} className="required">
            <strong>
              {formatCount(waiting)}
              {list.hasNextPage && '+'}
            </strong>{' '}
            {waiting === 1 ? 'run waits' : 'runs wait'} for approval
          </ParamLink>
        )}
      </div>
      {(isFiltered || !isEmpty) && <Filters filter={filter} isFiltered={isFiltered} />}
      {status === 'error' && error ? (
        <Problem error={error} onRetry={reconnect} />
      ) : runs.length > 0 ? (
        <>
          <p className="new-runs">
            {newCount > 0 && (
              <button type="button" className="new" onClick={goToNew}>
                {formatCount(newCount)} new {newCount === 1 ? 'run' : 'runs'}
              </button>
            )}
          </p>
          <RunsTable {...list} runs={runs} isBusy={isLoading} filter={filter} />
        </>
      ) : isLoading ? (
        <Skeleton>Loading runs</Skeleton>
      ) : isFiltered ? (
        <FilteredEmpty />
      ) : (
        <FirstRun />
      )}
    </Shell>
  );
}
