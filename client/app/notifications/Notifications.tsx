import { skipToken } from '@tanstack/react-query';
import { useEffect, useRef, useState } from 'react';
import { type InboxApproval, type RunEvent, useApprovals, useRunEvents, useRunwire } from '../../hooks/index.ts';
import { useServerNow } from '../hooks/useNow.ts';
import { useSession } from '../hooks/useSession.ts';
import { formatAgo } from '../lib/format.ts';
import { navigate, runPath } from '../lib/navigation.tsx';
import { type Note, Notifier } from './notifier.ts';
import { type Followed, type Topic, useFollowed, useTopics } from './settings.ts';

const FRONT = 'runwire:front';

/** Notifies about what concerns the user. Of the tabs of a browser, the one with the lock does it. */
export function Notifications() {
  const { keyPrefix } = useRunwire();
  useFrontLock();
  const isMine = useLock(`runwire:notify:${keyPrefix}`);
  return isMine ? <Leader /> : null;
}

function Leader() {
  const [topics] = useTopics();
  const [notifier] = useState(() => new Notifier({ open: navigate }));
  const latest = useRef(topics);
  useEffect(() => {
    latest.current = topics;
  });
  const show = async (topic: Topic, note: Note, withoutDetails: string) => {
    if (!latest.current.includes(topic)) return;
    if (!latest.current.includes('front') && (await isInFront())) return;
    const hasDetails = latest.current.includes('details');
    notifier.show(hasDetails ? note : { ...note, title: withoutDetails, body: undefined });
  };
  const { followed } = useFollowed();
  return (
    <>
      <Approvals show={show} close={(tag) => notifier.close(tag)} />
      <EndedRuns show={show} />
      {followed.map((run) => (
        <FollowedRun key={JSON.stringify(run)} run={run} show={show} />
      ))}
    </>
  );
}

type Show = (topic: Topic, note: Note, withoutDetails: string) => void;
type Key = Pick<InboxApproval, 'projectId' | 'runId' | 'approvalId'>;

const tagOf = ({ projectId, runId, approvalId }: Key) => JSON.stringify(['approval', projectId, runId, approvalId]);
const runTag = ({ projectId, runId }: Followed) => JSON.stringify(['run', projectId, runId]);
const inboxPath = (box: string, { projectId, runId, approvalId }: Key) =>
  `/approvals?box=${box}&a=${[projectId, runId, approvalId].map(encodeURIComponent).map(encodeURIComponent).join('%2F')}`;

/** Notifies about approvals that wait for the user, and about decisions on those that the user asked for. */
function Approvals({ show, close }: { show: Show; close: (tag: string) => void }) {
  const { can } = useSession();
  const nowMs = useServerNow(false);
  const mine = useApprovals(can('approver') ? { box: 'mine' } : skipToken);
  const asked = useApprovals({ box: 'asked' });
  const waiting = useRef<ReadonlySet<string> | null>(null);
  useEffect(() => {
    if (mine.status !== 'success') return;
    const before = waiting.current;
    waiting.current = new Set(mine.approvals.map(tagOf));
    for (const tag of before ?? []) if (!waiting.current.has(tag)) close(tag);
    for (const approval of mine.approvals) {
      const tag = tagOf(approval);
      if (!before || before.has(tag)) continue;
      const { title, projectId, runId, expiresAt } = approval;
      const expires = expiresAt === undefined ? '' : ` · expires ${formatAgo(Date.parse(expiresAt), nowMs)}`;
      const body = `${projectId} / ${runId}${expires}`;
      const note = {
        tag,
        kind: 'approval' as const,
        title: `Approval: ${title}`,
        body,
        href: inboxPath('mine', approval),
      };
      show('approvals', note, 'An approval waits for you');
    }
  }, [mine.approvals, mine.status, nowMs, show, close]);
  const pending = useRef<ReadonlySet<string> | null>(null);
  useEffect(() => {
    if (asked.status !== 'success') return;
    const before = pending.current;
    pending.current = new Set(asked.approvals.filter(({ status }) => status === 'pending').map(tagOf));
    for (const approval of asked.approvals) {
      const tag = tagOf(approval);
      if (approval.status === 'pending' || !before?.has(tag)) continue;
      const { title, projectId, runId } = approval;
      const href = inboxPath('asked', approval);
      const note = {
        tag,
        kind: 'other' as const,
        title: `${outcomes[approval.status]}: ${title}`,
        body: `${projectId} / ${runId}`,
        href,
      };
      show('decided', note, 'Your approval was decided');
    }
  }, [asked.approvals, asked.status, show]);
  return null;
}

const outcomes: { readonly [status: string]: string } = { granted: 'Approved', denied: 'Denied', expired: 'Expired' };
const ends = ['run.completed', 'run.failed'] as const;

/** Notifies about the end of runs that the user started, or that name the user in their audience. */
function EndedRuns({ show }: { show: Show }) {
  const onEvent = useEndNotice(show);
  useRunEvents({ scope: 'user', types: ends, limit: 1, onEvent });
  return null;
}

/** Notifies about the end of a run that the user chose, and then forgets the run. */
function FollowedRun({ run, show }: { run: Followed; show: Show }) {
  const { set } = useFollowed();
  const notice = useEndNotice(show);
  useRunEvents({
    ...run,
    types: ends,
    limit: 1,
    onEvent: (event) => {
      notice(event);
      set(run, false);
    },
  });
  return null;
}

function useEndNotice(show: Show) {
  const { client } = useRunwire();
  return (event: RunEvent) => {
    void noticeOf(client, event).then((note) => show('ended', note, 'A run has ended'));
  };
}

async function noticeOf(client: ReturnType<typeof useRunwire>['client'], event: RunEvent): Promise<Note> {
  const { projectId, runId } = event;
  const name = await client.run.get.query({ projectId, runId }).then(
    ({ run }) => run.name,
    () => runId,
  );
  const common = { tag: runTag(event), kind: 'other' as const, href: runPath(event) };
  if (event.type !== 'run.failed') return { ...common, title: `Completed: ${name}`, body: projectId };
  const isCancelled = event.error.code === 'CANCELLED';
  return { ...common, title: `${isCancelled ? 'Cancelled' : 'Failed'}: ${name}`, body: event.error.message };
}

/** Returns true while this tab has the lock. A browser without locks gives it to every tab. */
function useLock(name: string): boolean {
  const [isHeld, setIsHeld] = useState(!('locks' in navigator));
  useEffect(() => {
    if (!('locks' in navigator)) return;
    const ended = new AbortController();
    let release = () => {};
    const until = new Promise<void>((resolve) => {
      release = resolve;
    });
    navigator.locks
      .request(name, { signal: ended.signal }, () => {
        setIsHeld(true);
        return until;
      })
      .catch(() => undefined); // Aborted while waiting.
    return () => {
      ended.abort();
      release();
      setIsHeld(false);
    };
  }, [name]);
  return isHeld;
}

const hasFocus = () => document.visibilityState === 'visible' && document.hasFocus();

/** Holds a shared lock while this tab is in front, so that the notifying tab knows of it. */
function useFrontLock(): void {
  useEffect(() => {
    if (!('locks' in navigator)) return;
    let release: (() => void) | undefined;
    const update = () => {
      if (hasFocus() && !release) {
        const until = new Promise<void>((resolve) => {
          release = resolve;
        });
        void navigator.locks.request(FRONT, { mode: 'shared' }, () => until);
      } else if (!hasFocus()) {
        release?.();
        release = undefined;
      }
    };
    update();
    const events = ['focus', 'blur'] as const;
    for (const type of events) window.addEventListener(type, update);
    document.addEventListener('visibilitychange', update);
    return () => {
      for (const type of events) window.removeEventListener(type, update);
      document.removeEventListener('visibilitychange', update);
      release?.();
    };
  }, []);
}

async function isInFront(): Promise<boolean> {
  if (hasFocus()) return true;
  if (!('locks' in navigator)) return false;
  const { held = [] } = await navigator.locks.query();
  return held.some(({ name }) => name === FRONT);
}
