import { type CSSProperties, type ReactNode, useRef } from 'react';
import type { RunView } from '../../../hooks/index.ts';
import { NARROW, useMedia } from '../../hooks/useMedia.ts';
import { formatCount } from '../../lib/format.ts';
import { ParamLink, useParams } from '../../lib/navigation.tsx';
import { MAX_SHARE, MIN_SHARE, useShare } from './useShare.ts';

/** From this width on, the events are beside the timeline. */
const WIDE = '(min-width: 75rem)';

type Props = { run: RunView; timeline: ReactNode; panel: ReactNode; events: ReactNode };

/**
 * The timeline, the panel of the selected stage, and the events. They are beside each other in a wide window, and below
 * each other in another. A narrow window shows either the stages or the events.
 */
export function Overview({ run, timeline, panel, events }: Props) {
  const isWide = useMedia(WIDE);
  const isNarrow = useMedia(NARROW);
  const params = useParams();
  const box = useRef<HTMLDivElement>(null);
  const [share, setShare] = useShare();
  if (isNarrow) {
    const shown = params.get('pane') ?? (params.has('event') ? 'events' : 'stages');
    return (
      <div className="overview narrow">
        <nav className="panes" aria-label="Overview">
          {(['stages', 'events'] as const).map((pane) => (
            <ParamLink key={pane} params={{ pane }} aria-current={shown === pane || undefined}>
              {pane === 'stages' ? 'Stages' : 'Events'} <small>{countOf(run, pane)}</small>
            </ParamLink>
          ))}
        </nav>
        {shown === 'events' ? events : timeline}
        {panel}
      </div>
    );
  }
  const style = isWide ? ({ '--left': `${share}fr`, '--right': `${100 - share}fr` } as CSSProperties) : undefined;
  return (
    <div className={`overview${isWide ? ' wide' : ''}${panel ? ' with-panel' : ''}`} ref={box} style={style}>
      {timeline}
      {panel}
      {isWide && <Separator share={share} onMove={setShare} widthOf={() => box.current?.clientWidth ?? 1} />}
      {events}
    </div>
  );
}

const countOf = (run: RunView, pane: 'stages' | 'events') =>
  formatCount(pane === 'stages' ? run.counts.stages : run.lastRunSeq);

type SeparatorProps = { share: number; onMove(share: number): void; widthOf(): number };

/** The border between timeline and events. It is moved by dragging, and by arrow keys. */
function Separator({ share, onMove, widthOf }: SeparatorProps) {
  const from = useRef<{ x: number; share: number } | undefined>(undefined);
  const steps: { [key: string]: number } = {
    ArrowLeft: share - 2,
    ArrowRight: share + 2,
    Home: MIN_SHARE,
    End: MAX_SHARE,
  };
  return (
    // biome-ignore lint/a11y/useSemanticElements: an `hr` takes no focus and no value.
    <div
      role="separator"
      className="separator"
      tabIndex={0}
      aria-orientation="vertical"
      aria-label="Width of the timeline"
      aria-valuenow={Math.round(share)}
      aria-valuemin={MIN_SHARE}
      aria-valuemax={MAX_SHARE}
      aria-valuetext={`${Math.round(share)} %`}
      onKeyDown={(event) => {
        const next = steps[event.key];
        if (next === undefined) return;
        event.preventDefault();
        onMove(next);
      }}
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        from.current = { x: event.clientX, share };
      }}
      onPointerMove={(event) => {
        if (from.current) onMove(from.current.share + (100 * (event.clientX - from.current.x)) / widthOf());
      }}
      onPointerUp={() => {
        from.current = undefined;
      }}
    />
  );
}
