import { type CSSProperties, memo, useEffect, useRef, useState } from 'react';
import type { RunHeader, UseRunsReturn } from '../../../hooks/index.ts';
import { NARROW, useMedia } from '../../hooks/useMedia.ts';
import { rowsIn, upTo, useViewport } from '../../hooks/useViewport.ts';
import { columns, columnWidths } from './columns.tsx';
import type { RunsFilter } from './filters.ts';

const ROW_PX = 58;
const NARROW_ROW_PX = 104;
/** The next page is fetched when fewer runs than this are left below the visible rows. */
const AHEAD_RUNS = 30;

const tableStyle = { '--columns': columnWidths } as CSSProperties;

type Paging = Pick<
  UseRunsReturn,
  'hasNextPage' | 'isFetchingNextPage' | 'fetchNextPage' | 'reconnect' | 'error' | 'isConnected'
>;
type Props = Pick<UseRunsReturn, 'runs'> &
  Paging & {
    isBusy: boolean;
    filter: RunsFilter;
  };

/** Renders only rows near the visible part. Column widths do not depend on the cells, so scrolling does not change them. */
export function RunsTable({ runs, isBusy, filter, ...paging }: Props) {
  const { hasNextPage } = paging;
  const rows = useRef<HTMLTableSectionElement>(null);
  const rowPx = useMedia(NARROW) ? NARROW_ROW_PX : ROW_PX;
  const shown = rowsIn(useViewport(rows), runs.length, rowPx);
  const isEndNear = shown.end > runs.length - AHEAD_RUNS;
  const { hasFailed, tryAgain } = useNextPage(isEndNear, filter, paging);
  return (
    <>
      <table className="runs" style={tableStyle} aria-rowcount={hasNextPage ? -1 : runs.length + 1} aria-busy={isBusy}>
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
          {upTo(shown).map((index) => {
            const run = runs[index] as RunHeader;
            const key = `${run.projectId} ${run.runId}`;
            return <Row key={key} run={run} index={index} topPx={index * rowPx} filter={filter} />;
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
}

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

type RowProps = { run: RunHeader; index: number; topPx: number; filter: RunsFilter };

const Row = memo(function Row({ run, index, topPx, filter }: RowProps) {
  return (
    <tr aria-rowindex={index + 2} style={{ transform: `translateY(${topPx}px)` }}>
      {columns.map(({ className, isRowHeader, cell }) =>
        isRowHeader ? (
          <th scope="row" key={className} className={className}>
            {cell(run, filter)}
          </th>
        ) : (
          <td key={className} className={className}>
            {cell(run, filter)}
          </td>
        ),
      )}
    </tr>
  );
});
