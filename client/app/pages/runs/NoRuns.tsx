import { Copy } from '../../components/Copy.tsx';
import { Notice } from '../../components/Notice.tsx';
import type { Me } from '../../hooks/useSession.ts';
import { ParamLink } from '../../lib/navigation.tsx';
import { noFilter } from './filters.ts';

const ofProject = (projectId: string | undefined) => (projectId === undefined ? '' : ` in ${projectId}`);

/** Shown when there are no runs: how to publish one, for users who can, and otherwise that they appear by themselves. */
export function NoRuns({ me, projectId }: { me: Me; projectId: string | undefined }) {
  const [first = 'demo'] = me.projects;
  if (!me.roles.some((role) => role === 'producer' || role === 'admin')) {
    const only = projectId ?? (me.projects.length === 1 && first !== '*' ? first : undefined);
    return (
      <Notice title="No runs yet">
        <p>No runs yet{ofProject(only)}. They appear here by themselves.</p>
        {only === undefined && first !== '*' && <p className="soft">You can see runs of: {listOf(me)}.</p>}
      </Notice>
    );
  }
  const project = projectId ?? (first === '*' ? 'demo' : first);
  const command = `npm run -s runwire -- exec --url ${window.location.origin} --project ${project} --name "First run" -- npm --version`;
  return (
    <Notice title="No runs yet">
      <p>
        A run appears here when its first event is published. To publish one, run this command in the folder that the
        server was started in:
      </p>
      <div className="command">
        <pre>
          <code>{command}</code>
        </pre>
        <Copy text={command} what="the command" />
      </div>
      {first !== '*' && <p className="soft">You can see runs of: {listOf(me)}.</p>}
    </Notice>
  );
}

const listOf = ({ projects }: Me) => projects.join(', ') || 'no project';

export const FilteredEmpty = () => (
  <Notice title="No runs match">
    <p>
      Remove a filter, or <ParamLink params={noFilter}>Clear all filters</ParamLink>.
    </p>
  </Notice>
);
