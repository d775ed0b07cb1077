import { useCallback, useEffect, useRef, useState } from 'react';
import type { Approval, InboxApproval } from '../../../hooks/index.ts';
import { useKeys } from '../../hooks/useKeys.tsx';
import { useMedia } from '../../hooks/useMedia.ts';
import { setParams, useParams } from '../../lib/navigation.tsx';
import { addressOf, type Box, keyOfAddress, matches, sorted } from './boxes.ts';
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
  /** Outcomes of the user's decisions while their rows still stay, by address. */
  const [outcomes, setOutcomes] = useState<ReadonlyMap<string, string>>(new Map());
  const linked = useParams().get('a');
  const linkedKey = keyOfAddress(linked);
  /** Addresses of decided approvals with rows that have stayed long enough. The card stays until the user moves on. */
  const [over, setOver] = useState<ReadonlySet<string>>(new Set());
  /** The decisions as the cards have shown them, by address. */
  const [decisions, setDecisions] = useState<ReadonlyMap<string, Approval['decisions']>>(new Map());
  /** In a wide window the first row is selected until another one is. It stays selected when rows come before it. */
  const [first, setFirst] = useState<{ box: Box; address: string }>();
  const pinned = isWide && first?.box === box ? first.address : undefined;
  const selected = linkedKey ? addressOf(linkedKey) : pinned;
  const staying = new Set(
    [...outcomes.keys(), ...(selected === undefined ? [] : [selected])].filter((address) => !over.has(address)),
  );
  const all = useRows({ box, approvals, staying, isTouched });
  const rows = text === '' ? all : all.filter(({ approval }) => matches(approval, text));
  const firstAddress = rows.find(({ address, hasLeft }) => !hasLeft && !outcomes.has(address))?.address;
  if (isWide && !linkedKey && pinned === undefined && firstAddress !== undefined)
    setFirst({ box, address: firstAddress });

  const at = rows.findIndex(({ address }) => address === selected);
  const next = nextOf(box, rows, selected, outcomes);
  const heading = useHeadingFocus();
  const select = (address: string | undefined) => {
    heading.want(address);
    setParams({ a: address }, { push: !isWide && selected === undefined });
  };
  const goOn = () => {
    setFirst(undefined);
    select(next?.address);
  };
  useLeaving(outcomes, setOver);
  const step = (by: 1 | -1) => () => {
    if (by === 1 && selected !== undefined && outcomes.has(selected)) return goOn();
    const row = rows[at + by];
    if (row) select(row.address);
  };
  useKeys({ ']': { does: 'Next approval', act: step(1) }, '[': { does: 'Previous approval', act: step(-1) } });
  const { intent, onIntentDone } = useCardKeys(page, true);
  const { onHeading } = heading;
  const onShown = useCallback(
    (approval: Approval) => {
      onHeading();
      if (selected !== undefined) setDecisions((before) => new Map(before).set(selected, approval.decisions));
    },
    [selected, onHeading],
  );
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
    decisions,
    outcomes,
    decided,
    setIsTouched,
    onShown,
    intent,
    onIntentDone,
  };
}

/** The row that waits and expires first, except the selected one. */
function nextOf(
  box: Box,
  rows: readonly Row[],
  selected: string | undefined,
  outcomes: ReadonlyMap<string, string>,
): Row | undefined {
  const waiting = rows.filter(({ address, hasLeft }) => !hasLeft && address !== selected && !outcomes.has(address));
  const [first] = sorted(
    box,
    waiting.map(({ approval }) => approval),
  );
  return waiting.find(({ approval }) => approval === first);
}

/** Lets the row of a decided approval leave after a while. */
function useLeaving(
  outcomes: ReadonlyMap<string, string>,
  setOver: (change: (before: ReadonlySet<string>) => ReadonlySet<string>) => void,
): void {
  useEffect(() => {
    const timers = [...outcomes.keys()].map((address) =>
      setTimeout(() => setOver((before) => new Set(before).add(address)), STAY_MS),
    );
    return () => {
      for (const timer of timers) clearTimeout(timer);
    };
  }, [outcomes, setOver]);
}

/**
 * Moves the focus to the heading of the selected card once it is shown: to no button, so that two presses never decide two
 * approvals. Until then the pane has the focus.
 */
function useHeadingFocus() {
  const wanted = useRef<string | undefined>(undefined);
  const onHeading = useCallback(() => {
    const pane = document.querySelector<HTMLElement>('.inbox-pane');
    if (wanted.current === undefined || pane?.dataset.address !== wanted.current) return;
    const heading = pane.querySelector<HTMLElement>('.approval-card h2');
    if (heading) wanted.current = undefined;
    (heading ?? pane).focus();
  }, []);
  const want = (address: string | undefined) => {
    wanted.current = address;
    setTimeout(() => {
      onHeading();
      if (document.activeElement === document.body) document.querySelector('main')?.focus();
    });
  };
  return { want, onHeading };
}
