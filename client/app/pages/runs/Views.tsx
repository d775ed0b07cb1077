import { useEffect, useState } from 'react';
import { Name } from '../../components/Name.tsx';
import { Popover } from '../../components/Popover.tsx';
import { Trigger } from '../../components/Trigger.tsx';
import { Link, navigate, setParams, useParams } from '../../lib/navigation.tsx';
import { filterSearch, MAX_NAME_CHARS, useViews } from './views.ts';

const hrefOf = ({ name, search }: { name: string; search: string }): string => {
  const params = new URLSearchParams(search);
  params.set('view', name);
  return `/?${params}`;
};

/** The saved views: opens one, or saves the filter under a name. */
export function Views({ isFiltered }: { isFiltered: boolean }) {
  const params = useParams();
  const { views, save, remove } = useViews();
  const current = params.get('view');
  const search = filterSearch(params);
  // An address with only the name of a view is that of the view in this browser.
  const named = search === '' ? views.find(({ name }) => name === current) : undefined;
  useEffect(() => {
    if (named && named.search !== '') navigate(hrefOf(named), { replace: true });
  }, [named]);
  const isKnown = views.some((view) => view.name === current);
  return (
    <Popover label="Saved views" trigger={<Trigger>{isKnown ? `View: ${current}` : 'Save view'}</Trigger>}>
      {(close) => (
        <div className="choices">
          {views.map((view) => (
            <div className="view" key={view.name}>
              <Link href={hrefOf(view)} aria-current={view.name === current ? 'true' : undefined} onClick={close}>
                <Name>{view.name}</Name>
              </Link>
              <button type="button" aria-label={`Delete view ${view.name}`} onClick={() => remove(view.name)}>
                ×
              </button>
            </div>
          ))}
          {isFiltered || search !== '' ? (
            <SaveView
              onSave={(name) => {
                save({ name, search });
                setParams({ view: name });
                close();
              }}
            />
          ) : (
            <p className="soft">Choose filters, then save them here under a name. Views are kept in this browser.</p>
          )}
        </div>
      )}
    </Popover>
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
