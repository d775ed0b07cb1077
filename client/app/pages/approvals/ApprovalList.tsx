// biome-ignore-all lint/a11y/useSemanticElements: a grid of one column needs no table.
import type { UseApprovalsReturn } from '../../../hooks/index.ts';
import { useListFocus } from '../../hooks/useListFocus.ts';
import { ApprovalRow } from './ApprovalRow.tsx';
import { type Box, boxNames } from './boxes.ts';
import type { Inbox } from './useInbox.ts';

type ListProps = {
  inbox: Inbox;
  box: Box;
  list: Pick<UseApprovalsReturn, 'hasNextPage' | 'isFetchingNextPage' | 'fetchNextPage'>;
  sub: string | undefined;
};

/** The rows of a box. While the pointer or the focus is in the list, no row moves. */
export function ApprovalList({ inbox, box, list, sub }: ListProps) {
  const { rows, selected, decisions, outcomes, select, setIsTouched } = inbox;
  const addressAt = (index: number) => rows[index]?.address ?? '';
  const { listProps, rowProps } = useListFocus<HTMLDivElement>({
    name: 'approvals',
    count: rows.length,
    keyOf: addressAt,
    open: (index) => select(addressAt(index)),
  });
  return (
    <div className="inbox-list">
      <div
        role="grid"
        aria-label={`Approvals: ${boxNames[box]}`}
        aria-rowcount={list.hasNextPage ? -1 : rows.length}
        {...listProps}
        onPointerEnter={() => setIsTouched(true)}
        onPointerLeave={({ currentTarget }) => setIsTouched(currentTarget.contains(document.activeElement))}
        onFocus={(event) => {
          listProps.onFocus(event);
          setIsTouched(true);
        }}
        onBlur={(event) => {
          listProps.onBlur(event);
          const { currentTarget, relatedTarget } = event;
          setIsTouched(currentTarget.contains(relatedTarget) || currentTarget.matches(':hover'));
        }}
      >
        {rows.map((row, index) => (
          <ApprovalRow
            key={row.address}
            row={row}
            box={box}
            isSelected={row.address === selected}
            decisions={decisions.get(row.address)}
            outcome={outcomes.get(row.address)}
            sub={sub}
            rowProps={rowProps(index)}
            onSelect={select}
          />
        ))}
      </div>
      {list.hasNextPage && (
        <p className="more">
          <button type="button" disabled={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>
            {list.isFetchingNextPage ? 'Loading more…' : 'Show more'}
          </button>
        </p>
      )}
    </div>
  );
}
