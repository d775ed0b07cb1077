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
  /** Shown in place of the badge of the continuity. */
  badge?: ReactNode;
  children: ReactNode;
};

/** What each page gives to the frame: the title of the window, and how far its data is up to date. */
export function Shell({ title, continuity, badge, children }: ShellProps) {
  const slot = useBadgeSlot();
  const staleSince = useStaleSince(continuity);
  const waiting = useWaitingForMe();
  useEffect(() => {
    document.title = `${waiting > 0 ? `(${countText(waiting)}) ` : ''}${title} · Runwire`;
  }, [title, waiting]);
  return (
    <>
      {slot && createPortal(badge ?? (continuity && <Badge {...continuity} staleSince={staleSince} />), slot)}
      <HeldNow value={staleSince}>{children}</HeldNow>
    </>
  );
}
