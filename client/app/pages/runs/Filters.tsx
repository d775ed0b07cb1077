import { useEffect, useState } from 'react';
import { runStatuses } from '../../../react/index.tsx';
import { Status } from '../../components/Status.tsx';
import { Link, ParamLink, setParams } from '../../lib/navigation.tsx';
import { paramsOf, type RunsFilter } from './filters.ts';

/** A search is not begun at every letter. */
const TYPING_MS = 200;

export function Filters({ filter, isFiltered }: { filter: RunsFilter; isFiltered: boolean }) {
  const { status, projectId, labels } = filter;
  return (
    <search className="filters">
      <Search text={filter.text} />
      <fieldset className="statuses">
        <legend className="unseen">Status</legend>
        {runStatuses.map((one) => {
          const isOn = status.includes(one);
          const others = status.filter((other) => other !== one);
          return (
            <button
              type="button"
              className="chip"
              key={one}
              aria-pressed={isOn}
              onClick={() => setParams(paramsOf({ status: isOn ? others : [...status, one] }))}
            >
              <Status value={one} />
            </button>
          );
        })}
      </fieldset>
      {projectId !== undefined && <Chosen what={`project ${projectId}`} without={{ projectId: undefined }} />}
      {labels.map((label) => (
        <Chosen key={label} what={label} without={{ labels: labels.filter((other) => other !== label) }} />
      ))}
      {filter.noStatus.length > 0 && (
        <span role="status">
          There is no status “{filter.noStatus.join('”, “')}”.{' '}
          <ParamLink params={paramsOf({ status })}>Leave it out</ParamLink>
        </span>
      )}
      {isFiltered && (
        <Link href="/" className="clear">
          Clear filters
        </Link>
      )}
    </search>
  );
}

const Chosen = ({ what, without }: { what: string; without: Partial<RunsFilter> }) => (
  <ParamLink params={paramsOf(without)} className="chip chosen" aria-label={`Filter by ${what}: remove`}>
    <span className="text">{what}</span> <span aria-hidden="true">×</span>
  </ParamLink>
);

function Search({ text }: { text: string }) {
  const [typed, setTyped] = useState(text);
  useEffect(() => setTyped(text), [text]);
  useEffect(() => {
    if (typed === text) return;
    const timer = setTimeout(() => setParams(paramsOf({ text: typed })), TYPING_MS);
    return () => clearTimeout(timer);
  }, [typed, text]);
  return (
    <input
      type="search"
      aria-label="Search runs by name or id"
      placeholder="Search by name or id"
      maxLength={200}
      value={typed}
      onChange={(event) => setTyped(event.target.value)}
      onKeyDown={(event) => {
        if (event.key === 'Escape') event.currentTarget.blur();
      }}
    />
  );
}
