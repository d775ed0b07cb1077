import { useMemo, useState } from 'react';
import type { RunHeader } from '../../../hooks/index.ts';
import { Name } from '../../components/Name.tsx';
import { setParams } from '../../lib/navigation.tsx';
import { paramsOf } from './filters.ts';

const MAX_SHOWN = 30;

type Props = { labels: readonly string[]; runs: readonly RunHeader[]; onClose: () => void };

/** Adds a label to the filter: one of the runs in the list, or one that is typed. */
export function LabelFilter({ labels, runs, onClose }: Props) {
  const [typed, setTyped] = useState('');
  const add = (label: string) => {
    setParams(paramsOf({ labels: [...labels, label] }));
    onClose();
  };
  const known = useMemo(() => labelsOf(runs), [runs]);
  const isLabel = /^[^=]+=/.test(typed);
  const offered = known.filter((label) => !labels.includes(label) && label.toLowerCase().includes(typed.toLowerCase()));
  return (
    <div className="choices">
      <form
        className="period"
        onSubmit={(event) => {
          event.preventDefault();
          const [only] = offered;
          if (isLabel) add(typed);
          else if (only !== undefined && offered.length === 1) add(only);
        }}
      >
        <input
          type="text"
          aria-label="Label, as name=value"
          placeholder="name=value"
          maxLength={301}
          value={typed}
          onChange={(event) => setTyped(event.target.value)}
        />
        <button type="submit">Add</button>
      </form>
      {offered.slice(0, MAX_SHOWN).map((label) => (
        <button type="button" key={label} onClick={() => add(label)}>
          <Name>{label}</Name>
        </button>
      ))}
      {offered.length === 0 && typed === '' && <p className="soft">The runs in the list have no further labels.</p>}
    </div>
  );
}

/** Returns `name=value` of the runs, the most frequent first. */
function labelsOf(runs: readonly RunHeader[]): string[] {
  const counts = new Map<string, number>();
  for (const { labels } of runs) {
    for (const [name, value] of Object.entries(labels)) {
      counts.set(`${name}=${value}`, (counts.get(`${name}=${value}`) ?? 0) + 1);
    }
  }
  return [...counts].sort(([, a], [, b]) => b - a).map(([label]) => label);
}
