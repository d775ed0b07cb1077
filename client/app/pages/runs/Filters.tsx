import { memo, useEffect, useState } from 'react';
import type { RunHeader } from '../../../hooks/index.ts';
import { Name } from '../../components/Name.tsx';
import { Popover } from '../../components/Popover.tsx';
import { Glyph, toneOf } from '../../components/Status.tsx';
import { Trigger } from '../../components/Trigger.tsx';
import { leaveField } from '../../hooks/useKeys.tsx';
import { useSetting } from '../../hooks/useSetting.ts';
import { formatCount, formatShort } from '../../lib/format.ts';
import { lazily } from '../../lib/lazily.tsx';
import { navigate, ParamLink, setParams } from '../../lib/navigation.tsx';
import { spanName, spans } from '../../lib/period.ts';
import { noFilter, paramsOf, type RunsFilter, type ShownStatus, shownStatuses } from './filters.ts';
import type { Counts } from './useActivity.ts';
import { Views } from './Views.tsx';
import { statusWords } from './words.ts';

const LabelFilter = lazily(() => import('./LabelFilter.tsx').then((part) => part.LabelFilter));
const PeriodChoice = lazily(() => import('../../components/PeriodChoice.tsx').then((part) => part.PeriodChoice));

/** Pause after the last key press before the search starts. */
const TYPING_MS = 200;

type Props = {
  filter: RunsFilter;
  isFiltered: boolean;
  /** Undefined while they are loading, and where they would not be those of the list. */
  counts: Counts | undefined;
  /** Returns the runs in the list. */
  listed: () => readonly RunHeader[];
};

export const Filters = memo(function Filters({ filter, isFiltered, counts, listed }: Props) {
  const { status, labels, needsMe } = filter;
  return (
    <>
      <div className="chips">
        <Search filter={filter} />
        <fieldset className="statuses">
          <legend className="unseen">Status</legend>
          {shownStatuses.map((one) => {
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
                <StatusChip status={one} count={counts?.[one] ?? 0} />
              </button>
            );
          })}
        </fieldset>
        <button
          type="button"
          className="chip"
          aria-pressed={needsMe}
          onClick={() => setParams(paramsOf({ needsMe: !needsMe }))}
        >
          Needs my approval
        </button>
        <Popover label="Created since" trigger={<Trigger>Since</Trigger>}>
          {(close) => (
            <PeriodChoice
              spans={spans}
              since={filter.since}
              until={filter.until}
              onChoose={(since, until) => {
                setParams(paramsOf({ since, until }));
                close();
              }}
            />
          )}
        </Popover>
        <Popover label="Labels" trigger={<Trigger>Label</Trigger>}>
          {(close) => <LabelFilter labels={labels} runs={listed()} onClose={close} />}
        </Popover>
        <Views />
      </div>
      <Chosen filter={filter} isFiltered={isFiltered} />
    </>
  );
});

const ENDED: readonly ShownStatus[] = ['completed', 'failed', 'cancelled'];

function StatusChip({ status, count }: { status: ShownStatus; count: number }) {
  const word = statusWords[status];
  return (
    <span className={`status ${toneOf(status)}`}>
      <Glyph value={status} />
      <span className="word">{word.charAt(0).toUpperCase() + word.slice(1)}</span>
      {count > 0 && (
        <strong title={ENDED.includes(status) ? 'of the last 24 hours' : undefined}>
          {formatCount(Math.min(count, MAX_SHOWN))}
          {count >= MAX_SHOWN && '+'}
          {ENDED.includes(status) && <span className="unseen"> in the last 24 hours</span>}
        </strong>
      )}
    </span>
  );
}

/** The server stops counting open runs here. */
const MAX_SHOWN = 10_000;

function Chosen({ filter, isFiltered }: { filter: RunsFilter; isFiltered: boolean }) {
  const { projectId, labels, since, until, status, unknownStatuses } = filter;
  const isUtc = useSetting('times')[0] === 'utc';
  const nowMs = Date.now();
  const timeOf = (text: string) => formatShort(Date.parse(text), isUtc, nowMs);
  const from = since && (spanName(since) ?? `since ${timeOf(since)}`);
  const period = [from, until && `until ${timeOf(until)}`].filter(Boolean).join(' ');
  return (
    <>
      {projectId !== undefined && <Choice text={projectId} kind="project " without={{ projectId: undefined }} />}
      {period !== '' && <Choice text={period} without={{ since: undefined, until: undefined }} />}
      {labels.map((label) => (
        <Choice key={label} text={label} without={{ labels: labels.filter((other) => other !== label) }} />
      ))}
      {unknownStatuses.length > 0 && (
        <span role="status">
          Unknown {unknownStatuses.length === 1 ? 'status' : 'statuses'} “{unknownStatuses.join('”, “')}”{' '}
          {unknownStatuses.length === 1 ? 'was' : 'were'} ignored.{' '}
          <ParamLink params={paramsOf({ status })}>Remove</ParamLink>
        </span>
      )}
      {isFiltered && (
        <ParamLink params={noFilter} className="clear">
          Clear filters
        </ParamLink>
      )}
    </>
  );
}

const Choice = ({ text, kind = '', without }: { text: string; kind?: string; without: Partial<RunsFilter> }) => (
  <ParamLink params={paramsOf(without)} className="chip chosen" aria-label={`Remove filter: ${kind}${text}`}>
    <span className="text">
      {kind}
      <Name>{text}</Name>
    </span>{' '}
    <span aria-hidden="true">×</span>
  </ParamLink>
);

/** A search by name or id filters while the user types. A search in events opens the page Search. */
function Search({ filter: { text, projectId } }: { filter: RunsFilter }) {
  const [typed, setTyped] = useState(text);
  const [isInEvents, setIsInEvents] = useState(false);
  useEffect(() => setTyped(text), [text]);
  useEffect(() => {
    if (typed === text || isInEvents) return;
    const timer = setTimeout(() => setParams(paramsOf({ text: typed })), TYPING_MS);
    return () => clearTimeout(timer);
  }, [typed, text, isInEvents]);
  const searchEvents = () => {
    if (typed.trim() === '') return;
    const params = new URLSearchParams({ q: typed, ...(projectId === undefined ? {} : { project: projectId }) });
    navigate(`/search?${params}`);
  };
  return (
    <search className="run-search">
      <input
        type="search"
        aria-label={isInEvents ? 'Search in events' : 'Search runs by name or id'}
        placeholder={isInEvents ? 'Search in events, press Enter' : 'Name or id'}
        maxLength={200}
        value={typed}
        onChange={(event) => setTyped(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === 'Escape') leaveField(event);
          if (event.key === 'Enter' && isInEvents) searchEvents();
        }}
      />
      <button
        type="button"
        className="chip"
        aria-pressed={isInEvents}
        title="Enter then searches the text of all events"
        onClick={() => {
          setIsInEvents(!isInEvents);
          if (!isInEvents && text !== '') setParams(paramsOf({ text: '' }));
        }}
      >
        in events
      </button>
    </search>
  );
}
