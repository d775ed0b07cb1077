import { type ReactNode, Suspense } from 'react';
import { covers, type Me, useSession } from '../hooks/useSession.ts';
import { lazily } from '../lib/lazily.tsx';
import { runOfPath, useParams } from '../lib/navigation.tsx';
import type { Lacking } from './Forbidden.tsx';

const Forbidden = lazily(() => import('./Forbidden.tsx').then((part) => part.Forbidden));

/**
 * Shows the page if the user's rights cover its address, and otherwise states which right is missing. This depends on the user
 * alone, so it is the same for a project or a run that does not exist.
 */
export function Access({ path, children }: { path: string; children: ReactNode }) {
  const { me, isAdmin, canRead } = useSession();
  const project = useParams().get('project');
  if (!me) return children;
  const lacking = lackingFor(me, path, { project, isAdmin, canRead });
  if (!lacking) return children;
  return (
    <Suspense>
      <Forbidden me={me} path={path} lacking={lacking} />
    </Suspense>
  );
}

type Rights = { project: string | null; isAdmin: boolean; canRead: boolean };

function lackingFor(me: Me, path: string, { project, isAdmin, canRead }: Rights): Lacking | undefined {
  if (path === '/operations' || path.startsWith('/settings/')) return isAdmin ? undefined : 'admin';
  if (!canRead) return 'reading';
  const projectId = runOfPath(path)?.projectId ?? project;
  return projectId === null || covers(me.projects, projectId) ? undefined : { projectId };
}
