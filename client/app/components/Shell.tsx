import { type ReactNode, useEffect } from 'react';
import { createPortal } from 'react-dom';
import { HeldNow } from '../hooks/useNow.ts';
import { useStaleSince } from '../hooks/useStaleSince.ts';
import { Badge, type Continuity } from './Badge.tsx';
import { useBadgeSlot } from './Frame.tsx';
import { countText, useWaitingForMe } from './WaitingForMe.tsx';

/** What each page gives to the frame: the title of the window, and how far its data is up to date. */
export function Shell(props: { title: string; continuity?: Continuity | undefined; children: ReactNode }) {
  const { title, continuity, children } = props;
  const slot = useBadgeSlot();
  const staleSince = useStaleSince(continuity);
  const waiting = useWaitingForMe().length;
  useEffect(() => {
    document.title = `${waiting > 0 ? `(${countText(waiting)}) ` : ''}${title} · Runwire`;
  }, [title, waiting]);
  return (
    <>
      {continuity && slot && createPortal(<Badge {...continuity} staleSince={staleSince} />, slot)}
      <HeldNow value={staleSince}>{children}</HeldNow>
    </>
  );
}
