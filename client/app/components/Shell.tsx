import { type ReactNode, useEffect } from 'react';
import { createPortal } from 'react-dom';
import { HeldNow } from '../hooks/useNow.ts';
import { useStaleSince } from '../hooks/useStaleSince.ts';
import { Badge, type Continuity } from './Badge.tsx';
import { useBadgeSlot } from './Frame.tsx';
import { countText, useWaitingForMe } from './WaitingForMe.tsx';

type ShellProps = {
  title: string;
  continuity?: Continuity | undefined;
  /** The page shows the past: the words of the badge, in place of the continuity. */
  past?: string | undefined;
  children: ReactNode;
};

/** What each page gives to the frame: the title of the window, and how far its data is up to date. */
export function Shell({ title, continuity, past, children }: ShellProps) {
  const slot = useBadgeSlot();
  const staleSince = useStaleSince(continuity);
  const waiting = useWaitingForMe();
  useEffect(() => {
    document.title = `${waiting > 0 ? `(${countText(waiting)}) ` : ''}${title} · Runwire`;
  }, [title, waiting]);
  return (
    <>
      {past !== undefined && slot && createPortal(<PastBadge>{past}</PastBadge>, slot)}
      {past === undefined &&
        continuity &&
        slot &&
        createPortal(<Badge {...continuity} staleSince={staleSince} />, slot)}
      <HeldNow value={staleSince}>{children}</HeldNow>
    </>
  );
}

const PastBadge = ({ children }: { children: string }) => (
  <div className="badge past">
    <span role="status">Past</span>
    <span className="detail"> · {children}</span>
  </div>
);
