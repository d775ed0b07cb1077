import { useCallback, useEffect, useRef, useState } from 'react';
import type { InboxApproval } from '../../../hooks/index.ts';
import { useKeys } from '../../hooks/useKeys.tsx';
import { useMedia } from '../../hooks/useMedia.ts';
import { setParams, useParams } from '../../lib/navigation.tsx';
import { addressOf, type Box, keyOfAddress, matches } from './boxes.ts';
import { useCardKeys } from './useCardKeys.ts';
import { type Row, STAY_MS, useRows } from './useRows.ts';

/** The list and the card are side by side from this width on. */
export const WIDE = '(min-width: 1200px)';

export type Inbox = ReturnType<typeof useInbox>;

/** The rows, the selection, and the steps from one approval to the next. */
export function useInbox(box: Box, approvals: readonly InboxApproval[], text: string) {
  const page = useRef<HTMLDivElement>(null);
  const isWide = useMedia(WIDE);
  const [isTouched, setIsTouched] = useState(false);
  /** Outcomes of the user's decisions whose rows still stay, by address. */
  const [outcomes, setOutcomes] = useState<ReadonlyMap<string, string>>(new Map());
  const linked = useParams().get('a');
  const linkedKey = keyOfAddress(linked);
  /** In a wide window the first row is selected until another one is. It stays selected when rows come before it. */
  const [first, setFirst] = useState<{ box: Box; address: string }>();
  const pinned = isWide && first?.box === box ? first.address : undefined;
  const selected = linkedKey ? addressOf(linkedKey) : pinned;
  const staying = new Set([...outcomes.keys(), ...(selected === undefined ? [] : [selected])]);
  const all = useRows({ box, approvals, staying, isTouched });
  const rows = text === '' ? all : all.filter(({ approval }) => matches(approval, text));
  const firstAddress = rows.find(({ hasLeft }) => !hasLeft)?.address;
  if (isWide && !linkedKey && pinned === undefined && firstAddress !== undefined)
    setFirst({ box, address: firstAddress });

  const at = rows.findIndex(({ address }) => address === selected);
  const next = nextOf(rows, at, outcomes);
  const heading = useHeadingFocus();
  const select = (address: string | undefined) => {
    if (address !== undefined) heading.want();
    setParams({ a: address }, { push: !isWide && selected === undefined });
  };
  const leave = (address: string) => setOutcomes((before) => new Map([...before].filter(([one]) => one !== address)));
  const goOn = () => {
    if (selected !== undefined) leave(selected);
    setFirst(undefined);
    select(next?.address);
  };
  useLeaving(outcomes, selected, { leave, goOn });
  const step = (by: 1 | -1) => () => {
    if (by === 1 && selected !== undefined && outcomes.has(selected)) return goOn();
    const row = rows[at + by];
    if (row) select(row.address);
  };
  useKeys({ ']': { does: 'Next approval', act: step(1) }, '[': { does: 'Previous approval', act: step(-1) } });
  const { intent, onIntentDone } = useCardKeys(page, true);
  const decided = (address: string, decision: 'granted' | 'denied') =>
    setOutcomes((before) => new Map(before).set(address, decision === 'granted' ? 'Approved' : 'Denied'));
  return {
    page,
    rows,
    selected,
    at,
    next,
    select,
    step,
    goOn,
    outcomes,
    decided,
    setIsTouched,
    heading,
    intent,
    onIntentDone,
  };
}

/** The row after the selected one that still waits, else the one before it. */
function nextOf(rows: readonly Row[], at: number, outcomes: ReadonlyMap<string, string>): Row | undefined {
  const isWaiting = ({ address, hasLeft }: Row) => !hasLeft && !outcomes.has(address);
  return rows.slice(at + 1).find(isWaiting) ?? rows.slice(0, Math.max(0, at)).findLast(isWaiting);
}

/** Lets the row of a decided approval leave after a while. If the user still looks at it, the next one is selected. */
function useLeaving(
  outcomes: ReadonlyMap<string, string>,
  selected: string | undefined,
  { leave, goOn }: { leave: (address: string) => void; goOn: () => void },
): void {
  const latest = useRef({ selected, leave, goOn });
  useEffect(() => {
    latest.current = { selected, leave, goOn };
  });
  const addresses = [...outcomes.keys()].join(' ');
  useEffect(() => {
    const timers = (addresses === '' ? [] : addresses.split(' ')).map((address) =>
      setTimeout(() => {
        const { selected, leave, goOn } = latest.current;
        if (address === selected) goOn();
        else leave(address);
      }, STAY_MS),
    );
    return () => {
      for (const timer of timers) clearTimeout(timer);
    };
  }, [addresses]);
}

/**
 * Moves the focus to the heading of the selected card once it is shown: to no button, so that two presses never decide two
 * approvals.
 */
function useHeadingFocus() {
  const isWanted = useRef(false);
  const onShown = useCallback(() => {
    if (!isWanted.current) return;
    isWanted.current = false;
    document.querySelector<HTMLElement>('.inbox-pane h2')?.focus();
  }, []);
  const want = () => {
    isWanted.current = true;
    // The card of the same approval is shown already.
    setTimeout(onShown);
  };
  return { want, onShown };
}
