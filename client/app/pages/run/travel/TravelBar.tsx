import { type CSSProperties, type RefObject, useEffect, useLayoutEffect, useRef, useState } from 'react';
import type { RunEvent, RunView } from '../../../../hooks/index.ts';
import { Name } from '../../../components/Name.tsx';
import { Time } from '../../../components/Time.tsx';
import { useKeys } from '../../../hooks/useKeys.tsx';
import { useSetting } from '../../../hooks/useSetting.ts';
import { formatCount, formatEventClock } from '../../../lib/format.ts';
import { type Mark, markSigns, spread, useMarks } from './marks.ts';
import type { Travel } from './useTravel.ts';
import '../../../styles/pages/travel.css';

/** The wait of a moved slider before its position is loaded. */
const REST_MS = 80;
const speeds = [1, 4, 16] as const;
/** Playing skips idle time: it waits at most this long for the next event. */
const MAX_WAIT_MS = 1_000;
const MIN_WAIT_MS = 30;

/** The bar of time travel: the position in the run, and the ways to move it. `live` is the run as it is now. */
export function TravelBar({ live, travel }: { live: RunView; travel: Travel }) {
  const { at, event, firstRunSeq = 1, isLoading, error, go, leave } = travel;
  const { lastRunSeq } = live;
  const marks = useMarks(live);
  const toMark = (by: 1 | -1) => {
    const next = by === 1 ? marks.find(({ runSeq }) => runSeq > at) : marks.findLast(({ runSeq }) => runSeq < at);
    if (next) go(next.runSeq);
  };
  const back = { does: 'Previous, next event', act: () => go(at - 1) };
  useKeys({
    ',': back,
    '.': { does: back.does, act: () => go(at + 1) },
    '<': { does: 'Previous, next mark', act: () => toMark(-1) },
    '>': { does: 'Previous, next mark', act: () => toMark(1) },
    Home: { does: 'First, latest event', act: () => go(firstRunSeq) },
    End: { does: 'First, latest event', act: () => go(lastRunSeq) },
    t: { does: 'Return to live', act: leave },
    Escape: { does: 'Return to live', act: leave },
  });
  /** The text of the field while it has the focus: also one that is no position. */
  const [typed, setTyped] = useState<string | null>(null);
  const box = useRef<HTMLElement>(null);
  useHeights(box);
  const newer = lastRunSeq - at;
  const seenBy = deciderOf(live, at);
  return (
    <section ref={box} className="travel" aria-label="Time travel" aria-busy={isLoading}>
      <p className="where">
        <strong>Time travel</strong>
        <span>
          event {formatCount(at)} of {formatCount(lastRunSeq)}
        </span>
        {event && <Time at={event.timestamp} form="full" />}
        {event && (
          <span className="ago">
            <Time at={event.timestamp} form="ago" />
          </span>
        )}
        {seenBy !== undefined && (
          <span className="seen">
            As <Name>{seenBy}</Name> saw it
          </span>
        )}
        <span className="soft">
          {newer > 0 && `${formatCount(newer)} newer ${newer === 1 ? 'event' : 'events'}`}
          {firstRunSeq > 1 &&
            ` · Events 1–${formatCount(firstRunSeq - 1)} were removed by retention; the state at ${formatCount(firstRunSeq)} is not known in full`}
        </span>
        {error && <span className="problem">{problemOf(at, error.code, error.message)}</span>}
        <button type="button" className="leave" onClick={leave}>
          Return to live <kbd>Esc</kbd>
        </button>
      </p>
      <div className="controls">
        <Steps travel={travel} firstRunSeq={firstRunSeq} lastRunSeq={lastRunSeq} />
        <Slider travel={travel} live={live} firstRunSeq={firstRunSeq} marks={marks} />
        <label className="go-to">
          Go to event
          <input
            type="number"
            min={firstRunSeq}
            max={lastRunSeq}
            value={typed ?? at}
            onChange={({ target }) => {
              setTyped(target.value);
              if (target.value !== '' && target.validity.valid) go(target.valueAsNumber);
            }}
            onBlur={() => setTyped(null)}
          />
        </label>
      </div>
    </section>
  );
}

/** Gives the heights of both bars to the styles, so that what is scrolled into view is not below them. */
function useHeights(box: RefObject<HTMLElement | null>): void {
  const { style } = document.documentElement;
  const measure = useRef(() => {
    const bar = document.querySelector('.bar');
    style.setProperty('--bar-height', `${bar?.getBoundingClientRect().height ?? 0}px`);
    style.setProperty('--travel-height', `${box.current?.getBoundingClientRect().height ?? 0}px`);
  }).current;
  // An effect of another part may scroll after the same render, before the observer is called.
  useLayoutEffect(measure);
  useEffect(() => {
    const observer = new ResizeObserver(measure);
    for (const each of [box.current, document.querySelector('.bar')]) if (each) observer.observe(each);
    return () => {
      observer.disconnect();
      for (const name of ['--bar-height', '--travel-height']) style.removeProperty(name);
    };
  }, [box, measure, style]);
}

const problemOf = (at: number, code: string, message: string): string =>
  code === 'EVENT_NOT_FOUND' ? `The run has no event ${formatCount(at)}, or retention has removed it.` : message;

/** The decider of an approval with a screen that was complete up to this event. */
function deciderOf(live: RunView, at: number): string | undefined {
  const decisions = live.approvals.flatMap((approval) => approval.decisions);
  return decisions.find((decision) => (decision as { seenRunSeq?: number }).seenRunSeq === at)?.decidedBy;
}

type StepsProps = { travel: Travel; firstRunSeq: number; lastRunSeq: number };

function Steps({ travel, firstRunSeq, lastRunSeq }: StepsProps) {
  const { at, go } = travel;
  const [speed, setSpeed] = useState<(typeof speeds)[number]>(1);
  const [isPlaying, setIsPlaying] = useState(false);
  usePlay(travel, speed, isPlaying && at < lastRunSeq);
  if (isPlaying && at >= lastRunSeq) setIsPlaying(false);
  const step = (label: string, sign: string, to: number) => (
    <button
      type="button"
      aria-label={label}
      title={label}
      disabled={to < firstRunSeq || to > lastRunSeq || to === at}
      onClick={() => go(to)}
    >
      <span aria-hidden="true">{sign}</span>
    </button>
  );
  return (
    <div className="steps">
      {step('First event', '«', firstRunSeq)}
      {step('Previous event', '‹', at - 1)}
      {step('Next event', '›', at + 1)}
      {step('Latest event', '»', lastRunSeq)}
      <button
        type="button"
        aria-pressed={isPlaying}
        disabled={at >= lastRunSeq}
        onClick={() => setIsPlaying(!isPlaying)}
      >
        {isPlaying ? 'Pause' : 'Play'}
      </button>
      <select
        aria-label="Speed"
        value={speed}
        onChange={({ target }) => setSpeed(Number(target.value) as typeof speed)}
      >
        {speeds.map((each) => (
          <option key={each} value={each}>
            {each}×
          </option>
        ))}
      </select>
    </div>
  );
}

/** Moves on event by event, with the pauses between the events divided by the speed. */
function usePlay({ at, event, isLoading, go }: Travel, speed: number, isPlaying: boolean): void {
  const [previous, setPrevious] = useState<RunEvent | undefined>(undefined);
  useEffect(() => {
    if (!isPlaying || isLoading || !event) return;
    const pauseMs = previous ? Date.parse(event.timestamp) - Date.parse(previous.timestamp) : 0;
    const timer = setTimeout(
      () => {
        setPrevious(event);
        go(at + 1);
      },
      Math.min(MAX_WAIT_MS, Math.max(MIN_WAIT_MS, pauseMs / speed)),
    );
    return () => clearTimeout(timer);
  }, [at, event, isLoading, isPlaying, previous, speed, go]);
}

type SliderProps = { travel: Travel; live: RunView; firstRunSeq: number; marks: readonly Mark[] };

function Slider({ travel: { at, event, go }, live: { lastRunSeq }, firstRunSeq, marks }: SliderProps) {
  const [moved, setMoved] = useState<number | null>(null);
  useEffect(() => {
    if (moved === null) return;
    const timer = setTimeout(() => {
      go(moved);
      setMoved(null);
    }, REST_MS);
    return () => clearTimeout(timer);
  }, [moved, go]);
  const isUtc = useSetting('times')[0] === 'utc';
  const value = moved ?? at;
  const placeOf = (runSeq: number) => (lastRunSeq === 1 ? 0 : ((runSeq - 1) / (lastRunSeq - 1)) * 100);
  const mark = marks.find(({ runSeq }) => runSeq === value);
  const clock = event && event.runSeq === value ? `, ${formatEventClock(Date.parse(event.timestamp), isUtc)}` : '';
  return (
    <div className="slider" style={{ '--removed': `${placeOf(firstRunSeq)}%` } as CSSProperties}>
      <span className="removed" aria-hidden="true" />
      <input
        type="range"
        aria-label="Event"
        aria-valuetext={`Event ${value}${mark ? `, ${mark.text}` : ''}${clock}`}
        min={1}
        max={lastRunSeq}
        value={value}
        onChange={({ target }) => setMoved(Math.max(firstRunSeq, target.valueAsNumber))}
      />
      {spread(marks, lastRunSeq).map(({ runSeq, kind, text }) => (
        <span
          key={runSeq}
          className={`mark mark-${kind}`}
          style={{ left: `${placeOf(runSeq)}%` }}
          title={`Event ${runSeq}: ${text}`}
          aria-hidden="true"
        >
          {markSigns[kind]}
        </span>
      ))}
    </div>
  );
}
