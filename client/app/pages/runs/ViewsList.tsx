import { useState } from 'react';
import { Name } from '../../components/Name.tsx';
import { Link, setParams } from '../../lib/navigation.tsx';
import { writeStored } from '../../lib/storage.ts';
import { hrefOf, type SavedView, useViews } from './views.ts';

const MAX_NAME_CHARS = 60;

type Props = {
  /** Name of the view that is open. */
  current: string | null;
  /** Query parameters of the present filter. */
  search: string;
  onClose: () => void;
};

/** The saved views, and a field to save the present filter. */
export function ViewsList({ current, search, onClose }: Props) {
  const { key, views } = useViews();
  const othersOf = (name: string) => views.filter((view) => view.name !== name);
  const write = (next: readonly SavedView[]) => writeStored(key, JSON.stringify(next));
  return (
    <div className="choices">
      {views.map((view) => (
        <div className="view" key={view.name}>
          <Link href={hrefOf(view)} aria-current={view.name === current ? 'true' : undefined} onClick={onClose}>
            <Name>{view.name}</Name>
          </Link>
          <button type="button" aria-label={`Delete view ${view.name}`} onClick={() => write(othersOf(view.name))}>
            ×
          </button>
        </div>
      ))}
      {search !== '' ? (
        <SaveView
          onSave={(name) => {
            write([...othersOf(name), { name, search }]);
            setParams({ view: name });
            onClose();
          }}
        />
      ) : (
        <p className="soft">Choose filters, then save them here under a name. Views are kept in this browser.</p>
      )}
    </div>
  );
}

function SaveView({ onSave }: { onSave: (name: string) => void }) {
  const [name, setName] = useState('');
  const trimmed = name.trim();
  return (
    <form
      className="period"
      onSubmit={(event) => {
        event.preventDefault();
        if (trimmed !== '') onSave(trimmed);
      }}
    >
      <input
        type="text"
        aria-label="Name of the view"
        placeholder="Name of the view"
        maxLength={MAX_NAME_CHARS}
        value={name}
        onChange={(event) => setName(event.target.value)}
      />
      <button type="submit">Save</button>
    </form>
  );
}
