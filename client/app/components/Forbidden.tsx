import { Fragment, type ReactNode } from 'react';
import type { Me } from '../hooks/useSession.ts';
import { Link } from '../lib/navigation.tsx';
import { Name } from './Name.tsx';
import { Notice } from './Notice.tsx';
import { ProjectName } from './ProjectName.tsx';
import { Shell } from './Shell.tsx';

/** A right that the user lacks: the role of an administrator, a role that reads, or the project. */
export type Lacking = 'admin' | 'reading' | { projectId: string };

/** Shown in place of a page that the user's rights do not cover. */
export function Forbidden({ me, path, lacking }: { me: Me; path: string; lacking: Lacking }) {
  const roles = me.roles.join(', ') || 'no role';
  if (lacking === 'admin') {
    return (
      <Page title={`${path === '/operations' ? 'Operations is' : 'Settings are'} for administrators`}>
        You are <Name>{me.sub}</Name> ({roles}).
      </Page>
    );
  }
  if (lacking === 'reading') {
    return (
      <Page title={me.roles.includes('producer') ? 'You can publish, but not read' : 'You cannot read runs'}>
        Reading runs needs the role viewer. You have: {roles}.
      </Page>
    );
  }
  const project = <ProjectName projectId={lacking.projectId} />;
  return (
    <Page title={<>You cannot see project “{project}”</>}>
      You are signed in as <Name>{me.sub}</Name> and can see:{' '}
      {me.projects.length > 0 ? namesOf(me.projects) : 'no project'}. Ask an administrator of Runwire for access to{' '}
      {project}, or <Link href="/">show the runs of all your projects</Link>.
    </Page>
  );
}

const namesOf = (projects: readonly string[]) =>
  projects.map((projectId, index) => (
    <Fragment key={projectId}>
      {index > 0 && ', '}
      <ProjectName projectId={projectId} />
    </Fragment>
  ));

const Page = ({ title, children }: { title: ReactNode; children: ReactNode }) => (
  <Shell title="No access">
    <Notice title={title}>
      <p>{children}</p>
    </Notice>
  </Shell>
);
