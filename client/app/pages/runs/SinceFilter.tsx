import { useState } from 'react';
import { setParams } from '../../lib/navigation.tsx';
import { spans } from '../../lib/period.ts';
import { paramsOf, type RunsFilter } from './filters.ts';

/** Chooses the period in which the runs were created. */
export function SinceFilter({ filter: { since, until }, onClose }: { filter: RunsFilter; onClose: () => void }) {
  const [from, setFrom] = useState(fieldOf(since));
  const [to, setTo] = useState(fieldOf(until));
  const choose = (changes: { since: string | undefined; until: string | undefined }) => {
    setParams(paramsOf(changes));
    onClose();
  };
  return (
    <div className="choices">
      {spans.map(([span, name]) => (
        <button
          type="button"
          key={span}
          aria-pressed={since === span}
          onClick={() => choose({ since: since === span ? undefined : span, until: undefined })}
        >
          {name}
        </button>
      ))}
      <form
        className="period"
        onSubmit={(event) => {
          event.preventDefault();
          choose({ since: instantOf(from), until: instantOf(to) });
        }}
      >
        <label>
          From <input type="datetime-local" value={from} onChange={(event) => setFrom(event.target.value)} />
        </label>
        <label>
          To <input type="datetime-local" value={to} onChange={(event) => setTo(event.target.value)} />
        </label>
        <button type="submit">Apply</button>
      </form>
    </div>
  );
}

const instantOf = (value: string): string | undefined => (value === '' ? undefined : new Date(value).toISOString());

/** The value of a field for the local time. */
function fieldOf(instant: string | undefined): string {
  const ms = Date.parse(instant ?? '');
  if (Number.isNaN(ms)) return '';
  return new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
