import { useEffect, useRef } from 'react';
import { useConnection } from '../react.tsx';
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
  useEffect(() => {
    // A screen reader begins with the new page, as it would with a page that the browser loaded.
    if (lastPath.current !== path) document.querySelector('main')?.focus({ preventScroll: true });
    lastPath.current = path;
  }, [path]);
  useKeys({ j: () => step(1), k: () => step(-1), 'g r': () => navigate('/'), '?': openHelp });
  return (
    <LostAt value={useSince(useConnection().isConnected)}>
      <Page path={path} />
      <Help />
    </LostAt>
  );
}

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
