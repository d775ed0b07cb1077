import { type RefObject, useEffect, useRef, useState } from 'react';
import { type Approval, type RunView, useRun } from '../../../hooks/index.ts';
import { Name } from '../../components/Name.tsx';
import { useIsPast } from '../../components/Past.tsx';
import { HeldNow, useServerNow } from '../../hooks/useNow.ts';
import { useSession } from '../../hooks/useSession.ts';
import { announce } from '../../lib/announce.ts';
import { formatCount } from '../../lib/format.ts';
import { ParamLink } from '../../lib/navigation.tsx';
import { ApprovalCard, type CardProps } from './ApprovalCard.tsx';
import { isOpenState, stateOf } from './card-state.ts';
import { OutcomeLine } from './Outcome.tsx';
import { lastOutcome, OutcomeBanner } from './OutcomeBanner.tsx';
import { useCardKeys } from './useCardKeys.ts';

/** Number of cards before the reader asks for more. */
const MAX_CARDS = 10;
/** Time to read an outcome. */
const READ_MS = 8_000;
/** Number of decided approvals above the tabs. */
const FOLDED = 3;

/** The approvals of a run above its tabs: open ones as cards, the last decided ones folded to a line each. */
export function RunApprovals({ run }: { run: RunView }) {
  const isPast = useIsPast();
  if (run.approvals.length === 0) return null;
  // The clocks of the page stop when the connection is lost. An approval expires then too.
  return isPast ? <Cards run={run} /> : <HeldNow value={null}>{<Cards run={run} />}</HeldNow>;
}

/** Every decided approval of a run, folded to a line each: the content of a tab. */
export function DecidedApprovals({ run }: { run: RunView }) {
  const { projectId, runId } = run;
  const live = useRun({ projectId, runId });
  const { open, closed } = useSplit(run);
  return (
    <section className="run-approvals" aria-label="Decided approvals">
      {open.length > 0 && (
        <p className="soft">
          {open.length === 1 ? '1 open approval is above.' : `${open.length} open approvals are above.`}
        </p>
      )}
      {closed.map((approval) => (
        <Folded key={approval.approvalId} run={run} approval={approval} live={live} />
      ))}
      {run.approvals.length === 0 && <p className="soft">This run has asked for no approval.</p>}
    </section>
  );
}

/** Splits the approvals of a run: open ones oldest first, the others newest first. */
function useSplit(run: RunView): { open: Approval[]; closed: Approval[] } {
  const isPast = useIsPast();
  const isTicking = run.approvals.some(({ status, expiresAt }) => status === 'pending' && expiresAt !== undefined);
  const nowMs = useServerNow(isTicking);
  const isOpen = (approval: Approval) => isOpenState(stateOf({ approval, run, rights: undefined, nowMs, isPast }));
  return {
    open: run.approvals.filter(isOpen),
    closed: run.approvals.filter((approval) => !isOpen(approval)).reverse(),
  };
}

function Cards({ run }: { run: RunView }) {
  const isPast = useIsPast();
  const { projectId, runId } = run;
  const sub = useSession().me?.sub;
  const live = useRun({ projectId, runId });
  const box = useRef<HTMLElement>(null);
  const { open, closed } = useSplit(run);
  const [isAll, setIsAll] = useState(false);
  const openIds = new Set(open.map(({ approvalId }) => approvalId));
  const unread = useUnread(openIds, box);
  const isCard = ({ approvalId }: Approval) => openIds.has(approvalId) || unread.has(approvalId);
  const cards = run.approvals.filter(isCard);
  const last = lastOutcome(run);
  // A card states the outcome itself.
  const banner = last && !isCard(last) ? last : undefined;
  const folded = closed.filter((approval) => !isCard(approval) && approval !== banner);
  const { intent, onIntentDone } = useCardKeys(box, !isPast);
  const intentOf = ({ approvalId }: Approval) =>
    intent && (intent.approvalId ?? open[0]?.approvalId) === approvalId ? intent : undefined;
  useAnnouncements(run);
  useAnchor(box);
  return (
    <section ref={box} id="approval" className="run-approvals" aria-label="Approvals">
      {banner && (
        <OutcomeBanner run={run} approval={banner} sub={sub}>
          <ApprovalCard run={run} approval={banner} live={live} isInBanner />
        </OutcomeBanner>
      )}
      {(isAll ? cards : cards.slice(0, MAX_CARDS)).map((approval) => (
        <ApprovalCard
          key={approval.approvalId}
          run={run}
          approval={approval}
          live={live}
          intent={intentOf(approval)}
          onIntentDone={onIntentDone}
        />
      ))}
      {!isAll && cards.length > MAX_CARDS && (
        <p>
          <button type="button" onClick={() => setIsAll(true)}>
            Show all {formatCount(cards.length)} approvals
          </button>
        </p>
      )}
      {folded.slice(0, FOLDED).map((approval) => (
        <Folded key={approval.approvalId} run={run} approval={approval} live={live} />
      ))}
      {folded.length > FOLDED && (
        <p>
          <ParamLink params={{ tab: 'approvals' }}>All {formatCount(closed.length)} decided approvals</ParamLink>
        </p>
      )}
    </section>
  );
}

/**
 * Returns the approvals that were decided under the reader's eyes. Their cards stay, with the outcome, until the reader has
 * had time to read it and has left them.
 */
function useUnread(open: ReadonlySet<string>, box: RefObject<HTMLElement | null>): ReadonlySet<string> {
  const [before, setBefore] = useState(open);
  const [unread, setUnread] = useState<ReadonlySet<string>>(new Set());
  const isSame = before.size === open.size && [...open].every((id) => before.has(id));
  if (!isSame) {
    setBefore(open);
    setUnread(new Set([...unread, ...[...before].filter((id) => !open.has(id))]));
  }
  useEffect(() => {
    if (unread.size === 0) return;
    const timer = setInterval(() => {
      if (document.querySelector('[role="dialog"]')) return;
      const focused = document.activeElement?.closest<HTMLElement>('[data-approval]')?.dataset.approval;
      const isHovered = box.current?.matches(':hover') ?? false;
      if (!isHovered) setUnread((ids) => new Set([...ids].filter((id) => id === focused)));
    }, READ_MS);
    return () => clearInterval(timer);
  }, [unread, box]);
  return unread;
}

/** A decided approval as one line, which opens its card. */
function Folded(props: Pick<CardProps, 'run' | 'approval' | 'live'>) {
  const { run, approval } = props;
  const isPast = useIsPast();
  const sub = useSession().me?.sub;
  const state = stateOf({ approval, run, rights: undefined, nowMs: Number.POSITIVE_INFINITY, isPast });
  return (
    <details className="folded-approval">
      <summary>
        <span className="folded-title">
          <Name>{approval.title}</Name>
        </span>
        <span className="outcome-line">
          <OutcomeLine approval={approval} run={run} state={state} sub={sub} />
        </span>
      </summary>
      <ApprovalCard {...props} />
    </details>
  );
}

/** Announces new approvals and outcomes while the page is open. */
function useAnnouncements(run: RunView): void {
  const known = useRef<ReadonlyMap<string, Approval['status']> | undefined>(undefined);
  const { approvals } = run;
  // The frame announces those that wait for the user.
  const isAnnounced = useSession().can('approver');
  useEffect(() => {
    const before = known.current;
    known.current = new Map(approvals.map(({ approvalId, status }) => [approvalId, status]));
    if (!before) return;
    for (const approval of approvals) {
      const old = before.get(approval.approvalId);
      if (old === undefined && !isAnnounced) announce(`New approval: ${approval.title}`);
      else if (old !== undefined && old !== approval.status) announce(announcementOf(approval));
    }
  }, [approvals, isAnnounced]);
}

function announcementOf({ status, decisions, title }: Approval): string {
  const by = decisions.at(-1)?.decidedBy ?? '';
  if (status === 'expired') return `Expired: ${title}`;
  return `${status === 'granted' ? 'Approved' : 'Denied'} by ${by}: ${title}`;
}

const USER_EVENTS = ['wheel', 'touchstart', 'pointerdown', 'keydown'] as const;

/**
 * A link to what a user saw ends with `#approval`. Rows and bars above the approval may get their height later, so each change
 * of the page's height scrolls again, until the user acts.
 */
function useAnchor(box: { current: HTMLElement | null }): void {
  useEffect(() => {
    if (window.location.hash !== '#approval') return;
    let frame = 0;
    const observer = new ResizeObserver(() => {
      cancelAnimationFrame(frame);
      // In the next frame: the bars measure themselves in this one.
      frame = requestAnimationFrame(() => box.current?.scrollIntoView({ block: 'start' }));
    });
    observer.observe(document.body);
    const stop = () => {
      cancelAnimationFrame(frame);
      observer.disconnect();
      for (const name of USER_EVENTS) removeEventListener(name, stop);
    };
    for (const name of USER_EVENTS) addEventListener(name, stop, { passive: true });
    return stop;
  }, [box]);
}
