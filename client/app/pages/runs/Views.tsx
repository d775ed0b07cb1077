import { useEffect } from 'react';
import { Popover } from '../../components/Popover.tsx';
import { Trigger } from '../../components/Trigger.tsx';
import { lazily } from '../../lib/lazily.tsx';
import { navigate, useParams } from '../../lib/navigation.tsx';
import { filterSearch, hrefOf, useViews } from './views.ts';

const ViewsList = lazily(() => import('./ViewsList.tsx').then((part) => part.ViewsList));

/** The saved views: opens one, or saves the filter under a name. */
export function Views() {
  const params = useParams();
  const { views } = useViews();
  const current = params.get('view');
  const search = filterSearch(params);
  // An address with only the name of a view is that of the view in this browser.
  const named = search === '' ? views.find(({ name }) => name === current) : undefined;
  useEffect(() => {
    if (named && named.search !== '') navigate(hrefOf(named), { replace: true });
  }, [named]);
  const isKnown = views.some((view) => view.name === current);
  return (
    <Popover
      label="Saved views"
      trigger={<Trigger>{isKnown ? `View: ${current}` : 'Save view'}</Trigger>}
      onPreload={() => void ViewsList.preload()}
    >
      {(close) => <ViewsList current={current} search={search} onClose={close} />}
    </Popover>
  );
}
