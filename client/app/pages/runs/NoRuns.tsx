import { useQuery } from '@tanstack/react-query';
import { useRunwire } from '../../../hooks/index.ts';
import { Copy } from '../../components/Copy.tsx';
import { Notice } from '../../components/Notice.tsx';
import { Link } from '../../lib/navigation.tsx';

const READING_ROLES: readonly string[] = ['viewer', 'approver', 'admin'];

/** Shown when there are no runs. Explains how to publish a run, or which role the user needs to see runs. */
export function FirstRun() {
  const { client, queryKey } = useRunwire();
  const { data: me } = useQuery({ queryKey: queryKey('auth.me'), queryFn: () => client.auth.me.query() });
  if (!me) return null;
  if (!me.roles.some((role) => READING_ROLES.includes(role))) {
    return (
      <Notice title={me.roles.includes('producer') ? 'You can publish, but not read' : 'You cannot read runs'}>
        <p>
          Reading runs needs the role <code>viewer</code>. You have: {me.roles.join(', ') || 'no role'}.
        </p>
      </Notice>
    );
  }
  const [first = 'demo'] = me.projects;
  const project = first === '*' ? 'demo' : first;
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
      {first !== '*' && <p className="soft">You can see runs of: {me.projects.join(', ') || 'no project'}.</p>}
    </Notice>
  );
}

export const FilteredEmpty = () => (
  <Notice title="No runs match">
    <p>
      Remove a filter, or <Link href="/">clear all filters</Link>.
    </p>
  </Notice>
);
