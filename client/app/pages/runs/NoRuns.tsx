import { trpc } from '../../../react/index.tsx';
import { Copy } from '../../components/Copy.tsx';
import { Notice } from '../../components/Notice.tsx';
import { Link } from '../../lib/navigation.tsx';

const READING_ROLES: readonly string[] = ['viewer', 'approver', 'admin'];

/** No run at all: how to get one, unless the reader could not see it anyway. */
export function FirstRun() {
  const { data: me } = trpc.auth.me.useQuery();
  if (!me) return null;
  if (!me.roles.some((role) => READING_ROLES.includes(role))) {
    return (
      <Notice title="This is not yours to see">
        <p>
          Your token lets you publish, but not read. Ask for one with the role <code>viewer</code>, and sign in with it.
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
        Runs appear here as soon as their first event is published. To see one, run any command as a run, in the folder
        that the server was started in:
      </p>
      <div className="command">
        <pre>
          <code>{command}</code>
        </pre>
        <Copy text={command} what="the command" />
      </div>
      {first !== '*' && <p className="soft">You see the runs of: {me.projects.join(', ') || 'no project'}.</p>}
    </Notice>
  );
}

export const FilteredEmpty = () => (
  <Notice title="No run matches">
    <p>
      None of the runs that you may see matches these filters. <Link href="/">Clear filters</Link> to see all of them.
    </p>
  </Notice>
);
