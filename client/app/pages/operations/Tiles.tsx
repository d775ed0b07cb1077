import { type ReactNode, useEffect, useRef } from 'react';
import { announce } from '../../lib/announce.ts';
import { formatBytes, formatCount } from '../../lib/format.ts';
import { type Excess, excessOf } from './limits.ts';
import { formatMs, type Window, windowNames, windows } from './series.ts';
import type { Sample } from './usePolls.ts';

/** Rates are averages over this number of samples. */
const RATE_SAMPLES = 10;

type Props = { samples: readonly Sample[]; window: Window };

/** The numbers of now, and how many gaps and refusals the window has. A tile over its limit states the limit. */
export function Tiles({ samples, window }: Props) {
  const last = samples.at(-1);
  const excess = excessOf(samples);
  useAnnounced(excess);
  if (!last) return <p className="soft">The first sample arrives after a second.</p>;
  const recent = samples.slice(-RATE_SAMPLES);
  const inWindow = samples.filter(({ at }) => at > last.at - windows[window]);
  const sum = (of: (sample: Sample) => number) => inWindow.reduce((total, sample) => total + of(sample), 0);
  const perSecond = (of: (sample: Sample) => number) =>
    `${formatCount(Math.round(recent.reduce((total, sample) => total + of(sample), 0) / recent.length))}/s`;
  const latest = (of: (sample: Sample) => number | null) => {
    const value = recent.map(of).findLast((one) => one !== null);
    return value == null ? '–' : formatMs(value);
  };
  const period = windowNames[window];
  const refusals = sum(({ refused }) => Object.values(refused).reduce((total, count) => total + count, 0));
  return (
    <dl className="tiles">
      <Tile name="Connections">{formatCount(last.connections)}</Tile>
      <Tile name="Subscriptions">{formatCount(last.subscriptions)}</Tile>
      <Tile name="Published">{perSecond(({ published }) => published)}</Tile>
      <Tile name="Delivered">{perSecond(({ delivered }) => delivered)}</Tile>
      <Tile name="p99 publish → send" over={excess.publishP99Ms}>
        {latest(({ publishP99Ms }) => publishP99Ms)}
      </Tile>
      <Tile name="p99 commit" over={excess.commitP99Ms}>
        {latest(({ commitP99Ms }) => commitP99Ms)}
      </Tile>
      <Tile name="Log" over={excess.walMiB}>
        {last.databaseBytes === 0 ? 'in memory' : formatBytes(last.databaseBytes)}
      </Tile>
      <Tile name="Gaps" note={`in ${period}`}>
        {formatCount(sum(({ gaps }) => gaps))}
      </Tile>
      <Tile name="Refused" note={`in ${period}`} over={excess.failures}>
        {formatCount(refusals)}
      </Tile>
    </dl>
  );
}

const Tile = (props: { name: string; note?: string; over?: string | undefined; children: ReactNode }) => (
  <div className={props.over === undefined ? 'tile' : 'tile over'}>
    <dt>{props.name}</dt>
    <dd>
      <strong>{props.children}</strong>
      {props.note !== undefined && <small>{props.note}</small>}
      {props.over !== undefined && <span className="limit">{props.over}</span>}
    </dd>
  </div>
);

/** Announces each limit once, when it is exceeded. */
function useAnnounced(excess: Excess): void {
  const known = useRef<readonly string[]>([]);
  useEffect(() => {
    const names = Object.keys(excess);
    const added = Object.entries(excess).find(([name]) => !known.current.includes(name));
    known.current = names;
    if (added) announce(added[1]);
  });
}
