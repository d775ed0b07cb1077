import { type CSSProperties, type MouseEvent, memo, useCallback, useEffect, useRef, useState } from 'react';
import type { InboxApproval, RunHeader, UseRunsReturn } from '../../../hooks/index.ts';
import { useListFocus } from '../../hooks/useListFocus.ts';
import { NARROW, useMedia } from '../../hooks/useMedia.ts';
import { useRowPx } from '../../hooks/useSetting.ts';
import { rowsIn, scrollToRow, useViewport } from '../../hooks/useViewport.ts';
import { navigate, runPath } from '../../lib/navigation.tsx';
import { columns, columnWidths } from './columns.tsx';
import type { RunsFilter } from './filters.ts';
import type { PendingOf } from './usePending.ts';

const NARROW_ROW_PX = 84;
/** The next page is fetched when fewer runs than this are left below the visible rows. */
const AHEAD_RUNS = 30;

type Paging = Pick<
  UseRunsReturn,
  'hasNextPage' | 'isFetchingNextPage' | 'fetchNextPage' | 'reconnect' | 'error' | 'isConnected'
>;
type Props = Pick<UseRunsReturn, 'runs'> &
  Paging & {
    isBusy: boolean;
    filter: RunsFilter;
    pendingOf: PendingOf;
  };

export const runKey = ({ projectId, runId }: RunHeader) => `${projectId} ${runId}`;

/** Renders only rows near the visible part. Column widths do not depend on the cells, so scrolling does not change them. */
export const RunsTable = memo(function RunsTable({ runs, isBusy, filter, pendingOf, ...paging }: Props) {
  const { hasNextPage } = paging;
  const rows = useRef<HTMLTableSectionElement>(null);
  const wideRowPx = useRowPx();
  const rowPx = useMedia(NARROW) ? NARROW_ROW_PX : wideRowPx;
  const shown = rowsIn(useViewport(rows), runs.length, rowPx);
  const isEndNear = shown.end > runs.length - AHEAD_RUNS;
  const { hasFailed, tryAgain } = useNextPage(isEndNear, filter, paging);
  const reveal = useCallback((index: number) => scrollToRow(rows.current, index, rowPx), [rowPx]);
  const focus = useListFocus<HTMLTableElement>({
    name: 'runs',
    count: runs.length,
    keyOf: (index) => runKey(runs[index] as RunHeader),
    open: (index) => navigate(runPath(runs[index] as RunHeader)),
    reveal,
    pageRows: Math.max(1, Math.floor(window.innerHeight / rowPx) - 4),
  });
  return (
    <>
      <table
        className="runs"
        // biome-ignore lint/a11y/noNoninteractiveElementToInteractiveRole: the keyboard moves between the rows.
        role="grid"
        style={{ '--columns': columnWidths, '--row': `${rowPx}px` } as CSSProperties}
        aria-rowcount={hasNextPage ? -1 : runs.length + 1}
        aria-busy={isBusy}
        {...focus.listProps}
      >
        <caption className="unseen">Runs, newest first. Rows update in place.</caption>
        <thead>
          <tr>
            {columns.map(({ name, className }) => (
              <th scope="col" key={className} className={className}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody ref={rows} style={{ height: runs.length * rowPx }}>
          {focus.rows(shown).map((index) => {
            const run = runs[index] as RunHeader;
            const { tabIndex } = focus.rowProps(index);
            return (
              <Row
                key={runKey(run)}
                run={run}
                index={index}
                topPx={index * rowPx}
                filter={filter}
                pending={pendingOf(run)}
                tabIndex={tabIndex}
              />
            );
          })}
        </tbody>
      </table>
      {hasNextPage && (
        <p className="more">
          {hasFailed ? (
            <>
              Older runs could not be loaded.{' '}
              <button type="button" onClick={tryAgain}>
                Try again
              </button>
            </>
          ) : (
            'Loading older runs…'
          )}
        </p>
      )}
    </>
  );
});

/**
 * Fetches the next page while `isWanted` is true. The hook repeats a request that failed; after a refusal, this waits for the
 * user or for a new connection.
 */
function useNextPage(
  isWanted: boolean,
  filter: RunsFilter,
  { hasNextPage, isFetchingNextPage, fetchNextPage, reconnect, error, isConnected }: Paging,
): { hasFailed: boolean; tryAgain(): void } {
  const [hasFailed, setHasFailed] = useState(false);
  const wasFetching = useRef(false);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another list and a new connection reset the failure.
  useEffect(() => setHasFailed(false), [filter, isConnected]);
  useEffect(() => {
    const hasEnded = wasFetching.current && !isFetchingNextPage;
    wasFetching.current = isFetchingNextPage;
    if (hasEnded && error) setHasFailed(true);
    else if (isWanted && hasNextPage && !isFetchingNextPage && !hasFailed) void fetchNextPage();
  }, [isWanted, hasNextPage, isFetchingNextPage, fetchNextPage, error, hasFailed]);
  const isRepeated = isFetchingNextPage && error !== null;
  return { hasFailed: hasFailed || isRepeated, tryAgain: isRepeated ? reconnect : () => setHasFailed(false) };
}

type RowProps = {
  run: RunHeader;
  index: number;
  topPx: number;
  filter: RunsFilter;
  pending: readonly InboxApproval[];
  tabIndex: 0 | -1;
};

/** The whole row is the area of the link to the run. Links and buttons in it keep their own effect. */
const Row = memo(function Row({ run, index, topPx, filter, pending, tabIndex }: RowProps) {
  const open = (event: MouseEvent<HTMLElement>) => {
    if (event.defaultPrevented || (event.target as Element).closest('a, button')) return;
    if (event.button > 1 || document.getSelection()?.isCollapsed === false) return;
    const href = runPath(run);
    if (event.button === 1 || event.ctrlKey || event.metaKey || event.shiftKey) window.open(href);
    else navigate(href);
  };
  const isFailed = run.status === 'failed';
  return (
    <tr
      aria-rowindex={index + 2}
      data-row={runKey(run)}
      data-index={index}
      tabIndex={tabIndex}
      className={isFailed ? 'failed' : undefined}
      style={{ transform: `translateY(${topPx}px)` }}
      onClick={open}
      onAuxClick={open}
    >
      {columns.map(({ className, isRowHeader, cell }) =>
        isRowHeader ? (
          <th scope="row" key={className} className={className}>
            {cell(run, { filter, pending })}
          </th>
        ) : (
          <td key={className} className={className}>
            {cell(run, { filter, pending })}
          </td>
        ),
      )}
    </tr>
  );
});
