import { useEffect, useRef } from 'react';
import { useConnection } from '../react/index.tsx';
import { Help, openHelp } from './Help.tsx';
import { Link, navigate, runOfPath, usePath } from './location.tsx';
import { Notice } from './Notice.tsx';
import { RunPage } from './run/RunPage.tsx';
import { RunsPage } from './runs/RunsPage.tsx';
import { Shell } from './Shell.tsx';
import { step, useKeys } from './useKeys.ts';
import { LostAt, useSince } from './useStaleSince.ts';

export function App() {
  const path = usePath();
  const lastPath = useRef(path);
  const wantsSearch = useRef(false);
  useEffect(() => {
    // A screen reader begins with the new page, as it would with a page that the browser loaded.
    if (lastPath.current !== path) {
      const target = wantsSearch.current ? searchOfPage() : null;
      (target ?? document.querySelector('main'))?.focus({ preventScroll: true });
    }
    lastPath.current = path;
    wantsSearch.current = false;
  }, [path]);
  const search = () => {
    if (path === '/') return searchOfPage()?.focus();
    wantsSearch.current = true;
    navigate('/');
  };
  useKeys({ j: () => step(1), k: () => step(-1), '/': search, 'g r': () => navigate('/'), '?': openHelp });
  return (
    <LostAt value={useSince(useConnection().isConnected)}>
      <Page path={path} />
      <Help />
    </LostAt>
  );
}

const searchOfPage = () => document.querySelector<HTMLElement>('input[type="search"]');

function Page({ path }: { path: string }) {
  if (path === '/') return <RunsPage />;
  const run = runOfPath(path);
  if (run) return <RunPage key={path} {...run} />;
  return (
    <Shell title="No such page">
      <Notice title="There is no such page">
        <p>
          The address is not one of Runwire’s. <Link href="/">Go to all runs</Link>.
        </p>
      </Notice>
    </Shell>
  );
}
