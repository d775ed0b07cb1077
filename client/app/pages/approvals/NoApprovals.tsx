import { Notice } from '../../components/Notice.tsx';
import { useSession } from '../../hooks/useSession.ts';
import { commands } from '../../lib/commands.ts';
import { ParamLink } from '../../lib/navigation.tsx';
import { permission, useNotifies } from '../../notifications/enabled.ts';
import type { Box } from './boxes.ts';
import { listed } from './card-state.ts';

const empty: Record<Exclude<Box, 'mine'>, [title: string, text: string]> = {
  asked: ['You have asked for no approvals', 'Approvals that your runs ask for appear here.'],
  decided: ['Nothing is decided yet', 'Approvals appear here with their outcome.'],
  expired: ['Nothing has expired', 'Approvals that nobody decided in time appear here.'],
};

/** An empty box: why, and what will appear in it. */
export function NoApprovals({
  box,
  isFiltered,
  projectId,
}: {
  box: Box;
  isFiltered: boolean;
  projectId: string | null;
}) {
  const { me } = useSession();
  const canNotify = !useNotifies() && permission() !== 'unsupported';
  if (isFiltered) {
    return (
      <Notice title="No approvals match">
        <p>
          Remove the filter, or <ParamLink params={{ q: undefined, project: undefined }}>clear all filters</ParamLink>.
        </p>
      </Notice>
    );
  }
  if (box !== 'mine') {
    const [title, text] = empty[box];
    return (
      <Notice title={title}>
        <p>{text}</p>
      </Notice>
    );
  }
  const projects = me?.projects.includes('*') ? ['all projects'] : (me?.projects ?? []);
  return (
    <Notice title="Nothing waits for you">
      <p>
        You decide for: {listed(projectId === null ? projects : [projectId])} (approver). New requests appear here by
        themselves{canNotify && ' and, if you allow it, as notifications'}.
      </p>
      {canNotify && (
        <button type="button" onClick={() => commands.send('notifications')}>
          Turn on notifications
        </button>
      )}
    </Notice>
  );
}
