import { useRef } from 'react';
import { Menu, MenuChoice } from '../../../components/Menu.tsx';
import { useKeys } from '../../../hooks/useKeys.tsx';
import { formatCount } from '../../../lib/format.ts';
import { setParams } from '../../../lib/navigation.tsx';
import { type Listed, type Order, orders, type Show, shows } from './rows.ts';

const names: Record<Show, string> = {
  all: 'All',
  running: 'Running',
  failed: 'Failed',
  waiting: 'Waiting',
  done: 'Done',
  'not-run': 'Not run',
};
const orderNames = orders.map((order) => [order, order[0]?.toUpperCase() + order.slice(1)] as const);

type Props = {
  counts: Listed['counts'];
  listed: number;
  show: Show;
  text: string;
  order: Order;
  /** Undefined where the run has too few stages to be grouped. */
  isGrouped: boolean | undefined;
  /** Undefined where there is nothing to fold. */
  isFolded: boolean | undefined;
  /** Undefined where nothing runs. */
  isFollowing: boolean | undefined;
  isFitted: boolean;
  onFollow: () => void;
  zoomBy: (factor: number) => void;
  fit: () => void;
};

/** The title of the timeline: counts that filter, search, order, groups, folding and zoom. */
export function TimelineHead(props: Props) {
  const { counts, listed, show, text, order, isGrouped, isFolded, isFollowing, isFitted, zoomBy, fit } = props;
  const search = useRef<HTMLInputElement>(null);
  const showOnly = (next: Show) => setParams({ show: next === 'all' || next === show ? undefined : next });
  useKeys({
    f: { does: 'Search stages', act: () => search.current?.focus() },
    e: { does: 'Failed stages only', act: () => showOnly('failed') },
    '+': { does: 'Zoom in, out', act: () => zoomBy(2) },
    '-': { does: 'Zoom in, out', act: () => zoomBy(0.5) },
    '0': { does: 'Zoom to the whole run', act: fit },
  });
  return (
    <div className="section-title timeline-head">
      <h2 id="stages">Stages</h2>
      <fieldset className="chips">
        <legend className="unseen">Show stages</legend>
        {shows
          .filter((one) => one === 'all' || one === show || counts[one] > 0 || one === 'running' || one === 'failed')
          .map((one) => (
            <button key={one} type="button" className="chip" aria-pressed={one === show} onClick={() => showOnly(one)}>
              {names[one]} <span className="count">{formatCount(counts[one])}</span>
            </button>
          ))}
      </fieldset>
      <span className="tools">
        {counts.all > 8 && (
          <label className="stage-search">
            <span className="unseen">Search stages</span>
            <input
              ref={search}
              type="search"
              placeholder="Search stages"
              value={text}
              onChange={(event) => setParams({ stages: event.target.value || undefined })}
              onKeyDown={(event) => {
                if (event.key !== 'Escape') return;
                event.stopPropagation();
                if (text === '') event.currentTarget.blur();
                else setParams({ stages: undefined });
              }}
            />
            {(text !== '' || show !== 'all') && (
              <small role="status">
                {formatCount(listed)} of {formatCount(counts.all)}
              </small>
            )}
          </label>
        )}
        {counts.all > 1 && (
          <Menu
            label="Order of the stages"
            trigger={
              <button type="button" className="chip">
                Order: {order} ▾
              </button>
            }
          >
            <MenuChoice
              label="Order"
              value={order}
              options={orderNames}
              onChange={(next) => setParams({ order: next === 'plan' ? undefined : next })}
            />
          </Menu>
        )}
        {isGrouped !== undefined && (
          <Toggle isOn={isGrouped} onChange={() => setParams({ group: isGrouped ? undefined : '1' })}>
            Group
          </Toggle>
        )}
        {isFolded !== undefined && (
          <Toggle isOn={isFolded} onChange={() => setParams({ fold: isFolded ? '0' : undefined })}>
            Fold idle
          </Toggle>
        )}
        {isFollowing !== undefined && (
          <Toggle isOn={isFollowing} onChange={props.onFollow}>
            Follow running
          </Toggle>
        )}
        <span className="zoom">
          <button type="button" aria-label="Zoom out" onClick={() => zoomBy(0.5)} disabled={isFitted}>
            −
          </button>
          <button type="button" onClick={fit} aria-pressed={isFitted}>
            Fit
          </button>
          <button type="button" aria-label="Zoom in" onClick={() => zoomBy(2)}>
            +
          </button>
        </span>
      </span>
    </div>
  );
}

type ToggleProps = { isOn: boolean; onChange: () => void; children: string };
const Toggle = ({ isOn, onChange, children }: ToggleProps) => (
  <button type="button" className="chip" aria-pressed={isOn} onClick={onChange}>
    {children}
  </button>
);
