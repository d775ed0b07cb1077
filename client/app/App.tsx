import { useEffect, useRef } from 'react';
import { Link, runOfPath, usePath } from './location.tsx';
import { Notice } from './Notice.tsx';
import { RunPage } from './RunPage.tsx';
import { RunsPage } from './RunsPage.tsx';

export function App() {
  const path = usePath();
  const main = useRef<HTMLElement>(null);
  const lastPath = useRef(path);
  useEffect(() => {
    // A screen reader begins with the new page, as it would with a page that the browser loaded.
    if (lastPath.current !== path) main.current?.focus({ preventScroll: true });
    lastPath.current = path;
  }, [path]);
  return (
    <>
      <header className="bar">
        <Link href="/" className="brand">
          <img src="/icon.svg" alt="" width="22" height="22" />
          Runwire
        </Link>
        {path !== '/' && (
          <nav aria-label="Breadcrumb">
            <Link href="/">All runs</Link>
          </nav>
        )}
      </header>
      <main ref={main} tabIndex={-1}>
        <Page path={path} />
      </main>
    </>
  );
}

function Page({ path }: { path: string }) {
  if (path === '/') return <RunsPage />;
  const run = runOfPath(path);
  if (run) return <RunPage key={path} {...run} />;
  return (
    <Notice title="There is no such page">
      <p>
        The address is not one of Runwire’s. <Link href="/">Go to all runs</Link>.
      </p>
    </Notice>
  );
}
