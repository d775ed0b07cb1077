import { useEffect, useState } from 'react';
import type { RunView } from '../../../../hooks/index.ts';
import { Name } from '../../../components/Name.tsx';
import { Popover } from '../../../components/Popover.tsx';
import { Toolbar } from '../../../components/Toolbar.tsx';
import { formatCount } from '../../../lib/format.ts';
import { setParams } from '../../../lib/navigation.tsx';
import { wordOfType } from '../describe.ts';
import { EventMenu } from './EventMenu.tsx';
import { type ListedFilter, noFilter, PROBLEM_TYPES } from './event-filter.ts';
import { StageChoice, TypeChoice } from './FilterChoices.tsx';

const SEARCH_DELAY_MS = 300;

type Props = {
  run: RunView;
  filter: ListedFilter;
  /** Number of events that match, of those that were looked at. */
  found: number;
  isComplete: boolean;
  total: number;
};

/** Title and filters of the event list. All of them are in the address. */
export function EventFilters({ run, filter, found, isComplete, total }: Props) {
  const { types, stageId, attempt, isActive, showsAll, isRelative } = filter;
  const isProblems = types !== undefined && [...types].sort().join() === [...PROBLEM_TYPES].sort().join();
  const shown = isActive ? `${formatCount(found)}${isComplete ? '' : '+'}` : formatCount(total);
  return (
    <div className="event-filters">
      <div className="section-title">
        <h2 id="events">Events</h2>
        <span className="soft shown-count">
          {shown} of {formatCount(total)}
        </span>
      </div>
      <Toolbar label="Filter events" className="filter-bar">
        <TextFilter text={filter.text ?? ''} />
        <Popover
          label="Types of events"
          trigger={
            <button type="button" className="chip">
              {typesLabel(types)} ▾
            </button>
          }
        >
          <TypeChoice run={run} types={types} />
        </Popover>
        <Popover
          label="Stages"
          trigger={
            <button type="button" className="chip">
              Stage ▾
            </button>
          }
        >
          {(close) => <StageChoice run={run} onChosen={close} />}
        </Popover>
        <button
          type="button"
          className="chip"
          aria-pressed={isProblems}
          onClick={() => setParams({ types: isProblems ? undefined : PROBLEM_TYPES.join(',') })}
        >
          Failed and decisions only
        </button>
        <Toggle name="all" isOn={showsAll} label="All events" title="A row for each progress event" />
        <Toggle name="relative" isOn={isRelative} label="Relative times" title="Times since the start of the run" />
        <EventMenu run={run} filter={filter} />
      </Toolbar>
      {(isActive || stageId !== undefined) && (
        <p className="filter-chips">
          {stageId !== undefined && (
            <Chip name={`Stage: ${stageName(run, stageId)}`} clears={{ stage: undefined, attempt: undefined }} />
          )}
          {attempt !== undefined && <Chip name={`Attempt ${attempt}`} clears={{ attempt: undefined }} />}
          <button type="button" className="link" onClick={() => setParams(noFilter)}>
            Clear all filters
          </button>
        </p>
      )}
    </div>
  );
}

const stageName = (run: RunView, stageId: string) =>
  run.stages.find((stage) => stage.stageId === stageId)?.name ?? stageId;

function typesLabel(types: readonly string[] | undefined): string {
  const [first, ...others] = types ?? [];
  return first === undefined ? 'Type' : `Type: ${wordOfType(first)}${others.length > 0 ? ` +${others.length}` : ''}`;
}

const Toggle = ({ name, isOn, label, title }: { name: string; isOn: boolean; label: string; title: string }) => (
  <button
    type="button"
    className="chip"
    aria-pressed={isOn}
    title={title}
    onClick={() => setParams({ [name]: isOn ? undefined : '1' })}
  >
    {label}
  </button>
);

const Chip = ({ name, clears }: { name: string; clears: { [name: string]: undefined } }) => (
  <button type="button" className="chip chosen" aria-label={`Remove ${name}`} onClick={() => setParams(clears)}>
    <span className="text">
      <Name>{name}</Name>
    </span>{' '}
    <span aria-hidden="true">×</span>
  </button>
);

/** The field sets the address once nothing was typed for a while, and at Enter. */
function TextFilter({ text }: { text: string }) {
  const [typed, setTyped] = useState(text);
  const [applied, setApplied] = useState(text);
  if (text !== applied) {
    setApplied(text);
    setTyped(text);
  }
  const apply = (value: string) => setParams({ q: value.trim() === '' ? undefined : value.trim() });
  useEffect(() => {
    if (typed.trim() === applied) return;
    const timer = setTimeout(() => {
      setApplied(typed.trim());
      apply(typed);
    }, SEARCH_DELAY_MS);
    return () => clearTimeout(timer);
  });
  return (
    <input
      type="search"
      aria-label="Filter events by text"
      placeholder="Filter by text"
      maxLength={2_000}
      value={typed}
      onChange={(event) => setTyped(event.target.value)}
      onKeyDown={(event) => {
        if (event.key === 'Enter') apply(typed);
        if (event.key !== 'Escape' || typed === '') return;
        event.preventDefault();
        setTyped('');
        apply('');
      }}
    />
  );
}
