import { useCallback, useEffect, useState } from 'react';
import { type UseSearchOptions, useSearch } from '../../../hooks/index.ts';
import { Dialog } from '../../components/Dialog.tsx';
import { Notice, Problem, Skeleton } from '../../components/Notice.tsx';
import { PeriodChoice } from '../../components/PeriodChoice.tsx';
import { Popover } from '../../components/Popover.tsx';
import { Shell } from '../../components/Shell.tsx';
import { Time } from '../../components/Time.tsx';
import { Trigger } from '../../components/Trigger.tsx';
import { NARROW, useMedia } from '../../hooks/useMedia.ts';
import { useSession } from '../../hooks/useSession.ts';
import { codeOf } from '../../lib/errors.ts';
import { ParamLink, setParams } from '../../lib/navigation.tsx';
import { spanName, spans } from '../../lib/period.ts';
import '../../styles/pages/search.css';
import { ExportFound } from './ExportFound.tsx';
import { countOf, type FacetCounts, Facets } from './Facets.tsx';
import { facetsChosen, paramsOf, periodWords, type SearchFilter, useSearchFilter } from './filter.ts';
import { Results } from './Results.tsx';
import { useRecent } from './recent.ts';
import { examples, SearchField } from './SearchField.tsx';
import { useCounts } from './useCounts.ts';
import { VerifyRecord } from './VerifyRecord.tsx';

const PAGE_EVENTS = 100;
/** A search is a recent one once its result was in view for this long. */
const RECENT_MS = 1_000;

export function SearchPage() {
  const { filter, isSearch, options } = useSearchFilter();
  const { isAdmin } = useSession();
  const [isLeaving, setIsLeaving] = useState(false);
  const onLeft = useCallback(() => setIsLeaving(false), []);
  return (
    <Shell title={filter.text === '' ? 'Search' : `${filter.text} · Search`}>
      <div className="search-head">
        <h1>Search</h1>
        <SearchField filter={filter} onLeave={() => setIsLeaving(true)} />
        <Period filter={filter} />
        {isSearch && <ExportFound options={options} />}
        {isAdmin && <VerifyRecord />}
      </div>
      {filter.unknownTypes.length > 0 && (
        <p role="status">
          Unknown type “{filter.unknownTypes.join('”, “')}” was ignored.{' '}
          <ParamLink params={paramsOf({ types: filter.types })}>Remove</ParamLink>
        </p>
      )}
      {isSearch ? <Found filter={filter} options={options} isLeaving={isLeaving} onLeft={onLeft} /> : <EmptySearch />}
    </Shell>
  );
}

function Period({ filter: { since, until } }: { filter: SearchFilter }) {
  const name = until ? 'period' : since === 'all' ? 'all time' : (spanName(since)?.replace('Last ', '') ?? 'period');
  return (
    <Popover label="Period" align="end" trigger={<Trigger>Since: {name}</Trigger>}>
      {(close) => (
        <PeriodChoice
          spans={[...spans, ['all', 'All time']]}
          since={since}
          until={until}
          onChoose={(from, to) => {
            setParams(paramsOf({ since: from ?? 'all', until: to }));
            close();
          }}
        />
      )}
    </Popover>
  );
}

type FoundProps = {
  filter: SearchFilter;
  options: UseSearchOptions;
  /** The focus moves from the search field to the first event found. */
  isLeaving: boolean;
  onLeft: () => void;
};

function Found({ filter, options, isLeaving, onLeft }: FoundProps) {
  // Another search starts over.
  const [stopped, setStopped] = useState<UseSearchOptions | null>(null);
  const isStopped = stopped === options;
  const { text } = filter;
  const search = useSearch({ ...options, limit: PAGE_EVENTS, enabled: !isStopped });
  const { events, status, error, hasNextPage, isFetching, isFetchingNextPage, searchedTo, refetch } = search;
  const counts = useFacetCounts(filter, options, isStopped);
  const { recent, add } = useRecent();
  const isFound = status === 'success' && events.length > 0;
  useEffect(() => {
    if (!isFound || text.trim() === '' || recent[0] === text) return;
    const timer = setTimeout(() => add(text), RECENT_MS);
    return () => clearTimeout(timer);
  }, [isFound, text, recent, add]);
  const { fetchNextPage } = search;
  const fetchNext = useCallback(() => void fetchNextPage(), [fetchNextPage]);
  const total = counts.all?.total;
  return (
    <div className="search-body">
      <FacetsPanel filter={filter} counts={counts} />
      <div className="search-results">
        <p className="found-count" role="status">
          {total !== undefined && status !== 'error' && (
            <>
              <strong>{countOf(total)}</strong> found{counts.all?.isComplete === false && total < 10_000 && ' (so far)'}
            </>
          )}{' '}
          {!filter.until && <small>Events of the last second may be missing.</small>}
        </p>
        {status === 'error' && error && events.length === 0 ? (
          <Refused error={error} onRetry={() => void refetch()} />
        ) : events.length > 0 ? (
          <Results
            events={events}
            runNameOf={search.runNameOf}
            isPrevious={search.isPrevious}
            text={text}
            isNextWanted={hasNextPage && !isFetchingNextPage && !error && !isStopped}
            fetchNextPage={fetchNext}
            isLeaving={isLeaving}
            onLeft={onLeft}
          />
        ) : status === 'success' && !isFetching ? (
          <NothingFound filter={filter} />
        ) : (
          <Skeleton>Searching</Skeleton>
        )}
        {status !== 'error' && (events.length > 0 || searchedTo !== null) && (
          <Extent
            filter={filter}
            options={options}
            searchedTo={hasNextPage ? searchedTo : null}
            hasNextPage={hasNextPage}
            isStopped={isStopped}
            onStop={(isNow) => setStopped(isNow ? options : null)}
          />
        )}
        {error && events.length > 0 && (
          <p className="more" role="alert">
            Further events could not be loaded: {error.message}.{' '}
            <button type="button" onClick={fetchNext}>
              Try again
            </button>
          </p>
        )}
      </div>
    </div>
  );
}

/** A facet counts the events that match the other facets: its own values are alternatives. */
function useFacetCounts(filter: SearchFilter, options: UseSearchOptions, isStopped: boolean): FacetCounts {
  const { types, projects, actors } = filter;
  const all = useCounts(options, true, isStopped);
  const ofTypes = useCounts({ ...options, types: undefined }, types.length > 0, isStopped);
  const ofProjects = useCounts({ ...options, projectId: undefined }, projects.length > 0, isStopped);
  const ofActors = useCounts({ ...options, actor: undefined }, actors.length > 0, isStopped);
  return {
    all,
    types: types.length > 0 ? ofTypes : all,
    projects: projects.length > 0 ? ofProjects : all,
    actors: actors.length > 0 ? ofActors : all,
  };
}

function FacetsPanel({ filter, counts }: { filter: SearchFilter; counts: FacetCounts }) {
  const isNarrow = useMedia(NARROW);
  const [isOpen, setIsOpen] = useState(false);
  const chosen = facetsChosen(filter);
  if (!isNarrow) {
    return (
      <section className="facets" aria-label="Filters">
        <Facets filter={filter} counts={counts} />
      </section>
    );
  }
  return (
    <>
      <button type="button" className="chip" onClick={() => setIsOpen(true)}>
        Filters{chosen > 0 && ` ${chosen}`}
      </button>
      <Dialog open={isOpen} onOpenChange={setIsOpen} title="Filters">
        <div className="facets">
          <Facets filter={filter} counts={counts} />
        </div>
        <button type="button" onClick={() => setIsOpen(false)}>
          Show events
        </button>
      </Dialog>
    </>
  );
}

/** The server's sentence for a search that it refuses. */
function Refused({ error, onRetry }: { error: Error; onRetry: () => void }) {
  if (codeOf(error) !== 'INVALID_INPUT') return <Problem error={error} onRetry={onRetry} />;
  return (
    <Notice title="This search is not possible">
      <p>{error.message}</p>
    </Notice>
  );
}

type ExtentProps = {
  filter: SearchFilter;
  options: UseSearchOptions;
  searchedTo: string | null;
  hasNextPage: boolean;
  isStopped: boolean;
  onStop: (isStopped: boolean) => void;
};

/** How far the search has looked through the log. */
function Extent({ filter, options, searchedTo, hasNextPage, isStopped, onStop }: ExtentProps) {
  const { since } = options;
  if (!hasNextPage) {
    return (
      <p className="more">
        That is everything
        {since !== undefined && (
          <>
            {' '}
            since <Time at={since} form="short" />
          </>
        )}
        .{' '}
        {filter.since !== 'all' && (
          <ParamLink params={paramsOf({ since: 'all', until: undefined })}>Search all time</ParamLink>
        )}
      </p>
    );
  }
  return (
    <p className="more">
      Looked through {filter.until ? <Time at={filter.until} form="short" /> : 'now'} to{' '}
      {searchedTo === null ? '…' : <Time at={searchedTo} form="short" />} ·{' '}
      {isStopped ? 'stopped' : 'searching further…'}{' '}
      <button type="button" onClick={() => onStop(!isStopped)}>
        {isStopped ? 'Search further' : 'Stop'}
      </button>
    </p>
  );
}

function NothingFound({ filter }: { filter: SearchFilter }) {
  const { text, since } = filter;
  const isNarrowed =
    filter.types.length + filter.projects.length + filter.actors.length > 0 || filter.runId !== undefined;
  return (
    <Notice title={`No events match${text.trim() === '' ? '' : ` “${text}”`} ${periodWords(filter)}`}>
      <p className="tools">
        {(since !== 'all' || filter.until) && (
          <ParamLink params={paramsOf({ since: 'all', until: undefined })}>Search all time</ParamLink>
        )}
        {isNarrowed && (
          <ParamLink params={paramsOf({ types: [], projects: [], actors: [], runId: undefined })}>
            Remove filters
          </ParamLink>
        )}
      </p>
    </Notice>
  );
}

function EmptySearch() {
  const { recent, clear } = useRecent();
  return (
    <div className="search-empty">
      {recent.length > 0 && (
        <section aria-labelledby="recent">
          <div className="section-title">
            <h2 id="recent">Recent searches</h2>
            <button type="button" onClick={clear}>
              Clear
            </button>
          </div>
          <ul>
            {recent.map((text) => (
              <li key={text}>
                <ParamLink params={{ q: text }} push>
                  {text}
                </ParamLink>
              </li>
            ))}
          </ul>
        </section>
      )}
      <section aria-labelledby="examples">
        <h2 id="examples">Search the text of every event that you can read</h2>
        <ul>
          {examples.map(([example, finds]) => (
            <li key={example}>
              <ParamLink params={searchOf(example)} push>
                <code>{example}</code>
              </ParamLink>{' '}
              <span className="soft">{finds}</span>
            </li>
          ))}
        </ul>
      </section>
    </div>
  );
}

const searchOf = (example: string) =>
  example.startsWith('type:') ? { type: 'stage.failed', actor: 'ci-bot' } : { q: example };
