import { useMemo, useState } from 'react';
import { Time } from '../../components/Time.tsx';
import { ParamLink, useParams } from '../../lib/navigation.tsx';
import { Plot } from './Plot.tsx';
import { plotsOf, rowsOf, type Window, windowNames, windows } from './series.ts';
import { Tiles } from './Tiles.tsx';
import type { Sample } from './usePolls.ts';

type Props = { samples: readonly Sample[]; pausedAt: number | null; onPause: (isPaused: boolean) => void };

/** The server now and in the last minutes. */
export function Overview({ samples, pausedAt, onPause }: Props) {
  const window: Window = useParams().get('window') === '1h' ? '1h' : '10m';
  const rows = useMemo(() => rowsOf(samples, windows[window]), [samples, window]);
  const plots = useMemo(
    () =>
      plotsOf(
        rows.samples.filter((one) => one !== null),
        window,
      ),
    [rows, window],
  );
  const [cursorMs, setCursorMs] = useState<number | null>(null);
  return (
    <>
      <div className="overview-tools">
        <nav aria-label="Window" className="choice">
          {(Object.keys(windows) as Window[]).map((name) => (
            <ParamLink
              key={name}
              params={{ window: name === '10m' ? undefined : name }}
              aria-current={name === window ? 'true' : undefined}
            >
              {windowNames[name]}
            </ParamLink>
          ))}
        </nav>
        <button type="button" onClick={() => onPause(pausedAt === null)}>
          {pausedAt === null ? 'Pause' : 'Resume'}
        </button>
        {pausedAt !== null && (
          <span className="paused" role="status">
            Paused since <Time at={pausedAt} form="clock" />. The server keeps the samples of an hour.
          </span>
        )}
      </div>
      <Tiles samples={samples} window={window} />
      <div className="plots">
        {plots.map((plot) => (
          <Plot key={plot.id} plot={plot} rows={rows} cursorMs={cursorMs} onCursor={setCursorMs} />
        ))}
      </div>
      <p className="soft">
        One sample a second, for an hour. For longer, let Prometheus read <code>/metrics</code> of this server.
      </p>
    </>
  );
}
