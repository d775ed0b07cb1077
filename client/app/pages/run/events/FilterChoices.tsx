import { useId, useState } from 'react';
import { type RunView, useRunCounts } from '../../../../hooks/index.ts';
import { Name } from '../../../components/Name.tsx';
import { formatCount } from '../../../lib/format.ts';
import { setParams } from '../../../lib/navigation.tsx';
import { wordOfType } from '../describe.ts';

/** Stages in the list; the field finds the others. */
const MAX_STAGES = 100;

/** The types of the run's events, with their numbers in the whole run. */
export function TypeChoice({ run, types = [] }: { run: RunView; types: readonly string[] | undefined }) {
  const { counts, error } = useRunCounts(run);
  const listed = [...new Set([...(counts?.types.keys() ?? []), ...types])].sort();
  const toggle = (type: string) => {
    const chosen = types.includes(type) ? types.filter((one) => one !== type) : [...types, type];
    setParams({ types: chosen.length === 0 ? undefined : chosen.join(',') });
  };
  return (
    <fieldset className="choices">
      <legend className="unseen">Types of events</legend>
      {!counts && <p role="status">{error ? error.message : 'Counting…'}</p>}
      {listed.map((type) => (
        <label key={type} title={type}>
          <input type="checkbox" checked={types.includes(type)} onChange={() => toggle(type)} />
          <span className="text">
            <Name>{wordOfType(type)}</Name>
          </span>
          <span className="number">{formatCount(counts?.types.get(type) ?? 0)}</span>
        </label>
      ))}
    </fieldset>
  );
}

/** The stages of the run, with the numbers of their events. Choosing one selects it on the page. */
export function StageChoice({ run, onChosen }: { run: RunView; onChosen: () => void }) {
  const { counts } = useRunCounts(run);
  const [text, setText] = useState('');
  const id = useId();
  const wanted = text.trim().toLowerCase();
  const found = run.stages.filter(
    ({ name, stageId }) =>
      wanted === '' || name.toLowerCase().includes(wanted) || stageId.toLowerCase().includes(wanted),
  );
  return (
    <div className="choices">
      <input
        type="search"
        aria-label="Find a stage"
        placeholder="Find a stage"
        value={text}
        onChange={(event) => setText(event.target.value)}
      />
      <ul aria-labelledby={id}>
        {found.slice(0, MAX_STAGES).map(({ stageId, name }) => (
          <li key={stageId}>
            <button
              type="button"
              className="option"
              title={stageId}
              onClick={() => {
                setParams({ stage: stageId, attempt: undefined }, { push: true });
                onChosen();
              }}
            >
              <span className="text">
                <Name>{name}</Name>
              </span>
              <span className="number">{counts ? formatCount(counts.stages.get(stageId) ?? 0) : ''}</span>
            </button>
          </li>
        ))}
      </ul>
      <p className="soft" id={id}>
        {found.length === 0
          ? 'No stages match'
          : found.length > MAX_STAGES
            ? `${MAX_STAGES} of ${formatCount(found.length)} stages: type to find others`
            : `${formatCount(found.length)} of ${formatCount(run.stages.length)} stages`}
      </p>
    </div>
  );
}
