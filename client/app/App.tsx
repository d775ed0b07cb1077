import { useEffect, useRef } from 'react';
import { useConnection } from '../hooks/index.ts';
import { Help, openHelp } from './components/Help.tsx';
import { Notice } from './components/Notice.tsx';
import { Shell } from './components/Shell.tsx';
import { step, useKeys } from './hooks/useKeys.ts';
import { LostAt, useSince } from './hooks/useStaleSince.ts';
import { Link, navigate, runOfPath, usePath } from './lib/navigation.tsx';
import { RunPage } from './pages/run/RunPage.tsx';
import { RunsPage } from './pages/runs/RunsPage.tsx';

export function App() {
  const path = usePath();
  const lastPath = useRef(path);
  const wantsSearch = useRef(false);
  useEffect(() => {
    // Screen readers read from the focused element. So a change of page moves the focus to the new page, as a page load
    // does.
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
    <Shell title="Page not found">
      <Notice title="Page not found">
        <p>
          Check the address, or <Link href="/">go to Runs</Link>.
        </p>
      </Notice>
    </Shell>
  );
}
