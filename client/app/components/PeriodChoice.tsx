import { useState } from 'react';

type Props = {
  /** Names of the spans that are offered, by their text in addresses. */
  spans: readonly (readonly [span: string, name: string])[];
  since: string | undefined;
  until: string | undefined;
  onChoose: (since: string | undefined, until: string | undefined) => void;
};

/** Chooses a period: a span up to now, or two instants in local time. */
export function PeriodChoice({ spans, since, until, onChoose }: Props) {
  const [from, setFrom] = useState(fieldOf(since));
  const [to, setTo] = useState(fieldOf(until));
  return (
    <div className="choices">
      {spans.map(([span, name]) => (
        <button
          type="button"
          key={span}
          aria-pressed={since === span}
          onClick={() => onChoose(since === span ? undefined : span, undefined)}
        >
          {name}
        </button>
      ))}
      <form
        className="period"
        onSubmit={(event) => {
          event.preventDefault();
          onChoose(instantOf(from), instantOf(to));
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
