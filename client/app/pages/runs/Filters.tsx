import { useEffect, useState } from 'react';
import { runStatuses } from '../../../hooks/index.ts';
import { Status } from '../../components/Status.tsx';
import { Link, ParamLink, setParams } from '../../lib/navigation.tsx';
import { paramsOf, type RunsFilter } from './filters.ts';

/** Pause after the last key press before the search starts. */
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
      {projectId !== undefined && <Chosen text={`project ${projectId}`} without={{ projectId: undefined }} />}
      {labels.map((label) => (
        <Chosen key={label} text={label} without={{ labels: labels.filter((other) => other !== label) }} />
      ))}
      {filter.unknownStatuses.length > 0 && (
        <span role="status">
          Unknown {filter.unknownStatuses.length === 1 ? 'status' : 'statuses'} “{filter.unknownStatuses.join('”, “')}”{' '}
          {filter.unknownStatuses.length === 1 ? 'was' : 'were'} ignored.{' '}
          <ParamLink params={paramsOf({ status })}>Remove</ParamLink>
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

const Chosen = ({ text, without }: { text: string; without: Partial<RunsFilter> }) => (
  <ParamLink params={paramsOf(without)} className="chip chosen" aria-label={`Remove filter: ${text}`}>
    <span className="text">{text}</span> <span aria-hidden="true">×</span>
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
