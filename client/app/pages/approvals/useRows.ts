import { useEffect, useState } from 'react';
import type { InboxApproval } from '../../../hooks/index.ts';
import { addressOf, type Box, sorted } from './boxes.ts';

/** Time for which a row stays after the user's decision. */
export const STAY_MS = 8_000;

export type Row = {
  address: string;
  approval: InboxApproval;
  /** The approval has left the box, and its row stays for now. */
  hasLeft: boolean;
};

type Options = {
  box: Box;
  approvals: readonly InboxApproval[];
  /** Addresses of rows that stay although the approval has left the box. */
  staying: ReadonlySet<string>;
  /** The pointer or the focus is in the list: rows keep their places. */
  isTouched: boolean;
};

/**
 * Returns the rows of a box. The row of an approval that has left the box leaves once the list is untouched, so that nothing moves
 * under the pointer. Until then, new rows are at the end.
 */
export function useRows({ box, approvals, staying, isTouched }: Options): readonly Row[] {
  const [rows, setRows] = useState<readonly Row[]>([]);
  const next = rowsAfter(rows, { box, approvals, staying, isTouched });
  const isSame =
    rows.length === next.length &&
    rows.every(({ approval, hasLeft }, at) => approval === next[at]?.approval && hasLeft === next[at]?.hasLeft);
  useEffect(() => {
    if (!isSame) setRows(next);
  });
  return isSame ? rows : next;
}

function rowsAfter(before: readonly Row[], { box, approvals, staying, isTouched }: Options): Row[] {
  const present = new Map(approvals.map((approval) => [addressOf(approval), approval]));
  const kept = before.flatMap((row): Row[] => {
    const approval = present.get(row.address);
    if (approval) return [{ address: row.address, approval, hasLeft: false }];
    return isTouched || staying.has(row.address) ? [{ ...row, hasLeft: true }] : [];
  });
  const known = new Set(kept.map(({ address }) => address));
  const added = approvals
    .filter((approval) => !known.has(addressOf(approval)))
    .map((approval) => ({ address: addressOf(approval), approval, hasLeft: false }));
  const all = [...kept, ...added];
  if (isTouched) return all;
  const order = new Map(
    sorted(
      box,
      all.map(({ approval }) => approval),
    ).map((approval, at) => [approval, at]),
  );
  return all.sort((a, b) => (order.get(a.approval) ?? 0) - (order.get(b.approval) ?? 0));
}
