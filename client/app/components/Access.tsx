import type { ReactNode } from 'react';
import { covers, useSession } from '../hooks/useSession.ts';
import { runOfPath, useParams } from '../lib/navigation.tsx';
import { Name } from './Name.tsx';
import { Notice } from './Notice.tsx';
import { ProjectName } from './ProjectName.tsx';
import { Shell } from './Shell.tsx';

const forAdmins: readonly (readonly [start: string, title: string])[] = [
  ['/operations', 'Operations is for administrators'],
  ['/settings/', 'Settings are for administrators'],
];

/**
 * Shows the page if the user's rights cover its address, and otherwise states which right is missing. This depends on the user
 * alone, so it is the same for a project or a run that does not exist.
 */
export function Access({ path, children }: { path: string; children: ReactNode }) {
  const { me, isAdmin, canRead } = useSession();
  const params = useParams();
  if (!me) return children;
  const [, title] = forAdmins.find(([start]) => path.startsWith(start)) ?? [];
  if (title !== undefined && !isAdmin) {
    return (
      <Forbidden title={title}>
        You are <Name>{me.sub}</Name> ({me.roles.join(', ') || 'no role'}).
      </Forbidden>
    );
  }
  if (title !== undefined) return children;
  if (!canRead) {
    const canPublish = me.roles.includes('producer');
    return (
      <Forbidden title={canPublish ? 'You can publish, but not read' : 'You cannot read runs'}>
        Reading runs needs the role viewer. You have: {me.roles.join(', ') || 'no role'}.
      </Forbidden>
    );
  }
  const projectId = runOfPath(path)?.projectId ?? params.get('project') ?? undefined;
  if (projectId === undefined || covers(me.projects, projectId)) return children;
  return (
    <Forbidden
      title={
        <>
          You cannot see project “<ProjectName projectId={projectId} />”
        </>
      }
    >
      You are signed in as <Name>{me.sub}</Name> and can see: {me.projects.join(', ') || 'no project'}. Ask an
      administrator of Runwire for access to <ProjectName projectId={projectId} />.
    </Forbidden>
  );
}

const Forbidden = ({ title, children }: { title: ReactNode; children: ReactNode }) => (
  <Shell title="No access">
    <Notice title={title}>
      <p>{children}</p>
    </Notice>
  </Shell>
);
