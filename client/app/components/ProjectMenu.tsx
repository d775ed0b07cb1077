import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useRunwire } from '../../hooks/index.ts';
import { useListFocus } from '../hooks/useListFocus.ts';
import { useSession } from '../hooks/useSession.ts';
import { formatCount } from '../lib/format.ts';
import { navigate, setParams, usePath } from '../lib/navigation.tsx';
import { isText, listOf, readStored, writeStored } from '../lib/storage.ts';
import { Name } from './Name.tsx';
import { decodedName } from './ProjectName.tsx';
import '../styles/components/project-menu.css';

const RECENT = 'runwire:recent-projects';
const MAX_RECENT = 5;
/** Pages with the project in their address; another page leads to the runs of the project. */
const OF_PROJECT: readonly string[] = ['/', '/approvals', '/search'];

type Choice = { projectId: string | undefined; running?: number | undefined };

/** The content of the project menu: a field to filter, and all projects that the user may read. */
export function ProjectMenu({ chosen, onClose }: { chosen: string | undefined; onClose: () => void }) {
  const path = usePath();
  const { client, queryKey } = useRunwire();
  const { me } = useSession();
  const { data, error } = useQuery({
    queryKey: queryKey('project.list'),
    queryFn: ({ signal }) => client.project.list.query(undefined, { signal }),
    staleTime: 0,
  });
  const [text, setText] = useState('');
  const choices = choicesOf(data?.projects ?? [], me?.projects ?? [], text);
  const choose = ({ projectId }: Choice) => {
    if (projectId !== undefined) {
      const others = listOf(readStored(RECENT), isText).filter((one) => one !== projectId);
      writeStored(RECENT, JSON.stringify([projectId, ...others].slice(0, MAX_RECENT)));
    }
    onClose();
    if (OF_PROJECT.includes(path)) setParams({ project: projectId }, { push: true });
    else navigate(projectId === undefined ? '/' : `/?project=${encodeURIComponent(projectId)}`);
  };
  const list = useListFocus<HTMLDivElement>({
    name: 'projects',
    count: choices.length,
    keyOf: (index) => choices[index]?.projectId ?? '',
    open: (index) => choose(choices[index] as Choice),
  });
  return (
    <div className="project-choices">
      <input
        type="search"
        aria-label="Filter projects"
        placeholder="Filter projects"
        value={text}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === 'Enter' && choices[0]) choose(choices[0]);
          if (event.key !== 'ArrowDown') return;
          event.preventDefault();
          list.focus(0);
        }}
      />
      <div role="listbox" aria-label="Projects" {...list.listProps}>
        {choices.map((choice, index) => (
          // biome-ignore lint/a11y/useKeyWithClickEvents lint/a11y/useFocusableInteractive: `useListFocus` gives both.
          <div
            role="option"
            key={choice.projectId ?? ''}
            aria-selected={choice.projectId === chosen}
            title={choice.projectId}
            onClick={() => choose(choice)}
            {...list.rowProps(index)}
          >
            <span className="name">
              {choice.projectId === undefined ? 'All projects' : <Name>{decodedName(choice.projectId)}</Name>}
            </span>
            {choice.running !== undefined && choice.running > 0 && (
              <span className="soft">{formatCount(choice.running)} running</span>
            )}
          </div>
        ))}
      </div>
      {choices.length === 0 && <p className="none">No project matches</p>}
      {error && <p role="alert">The projects could not be loaded.</p>}
    </div>
  );
}

/** All projects; those used last; then the others by name. */
function choicesOf(
  withRuns: readonly { projectId: string; running: number }[],
  readable: readonly string[],
  text: string,
): Choice[] {
  const running = new Map(withRuns.map((project) => [project.projectId, project.running]));
  const ids = new Set([...running.keys(), ...readable.filter((projectId) => projectId !== '*')]);
  const recent = listOf(readStored(RECENT), isText).filter((projectId) => ids.has(projectId));
  const others = [...ids].filter((projectId) => !recent.includes(projectId)).sort();
  const wanted = text.trim().toLowerCase();
  const matches = (projectId: string) =>
    projectId.toLowerCase().includes(wanted) || decodedName(projectId).toLowerCase().includes(wanted);
  const all: Choice[] = wanted === '' ? [{ projectId: undefined }] : [];
  return [
    ...all,
    ...[...recent, ...others].filter(matches).map((projectId) => ({ projectId, running: running.get(projectId) })),
  ];
}
