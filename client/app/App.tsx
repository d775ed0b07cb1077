import { Suspense, useEffect, useRef } from 'react';
import { useConnection } from '../hooks/index.ts';
import { Frame } from './components/Frame.tsx';
import { Help, openHelp } from './components/Help.tsx';
import { Notice, Skeleton } from './components/Notice.tsx';
import { PageErrors } from './components/PageErrors.tsx';
import { Shell } from './components/Shell.tsx';
import { step, useKeys } from './hooks/useKeys.ts';
import { LostAt, useSince } from './hooks/useStaleSince.ts';
import { lazily } from './lib/lazily.tsx';
import { Link, navigate, runOfPath, usePath, webhookOfPath } from './lib/navigation.tsx';
import { RunsPage } from './pages/runs/RunsPage.tsx';

const RunPage = lazily(() => import('./pages/run/RunPage.tsx').then((page) => page.RunPage));
const ApprovalsPage = lazily(() => import('./pages/approvals/ApprovalsPage.tsx').then((page) => page.ApprovalsPage));
const SearchPage = lazily(() => import('./pages/search/SearchPage.tsx').then((page) => page.SearchPage));
const OperationsPage = lazily(() =>
  import('./pages/operations/OperationsPage.tsx').then((page) => page.OperationsPage),
);
const WebhooksPage = lazily(() => import('./pages/webhooks/WebhooksPage.tsx').then((page) => page.WebhooksPage));
const WebhookPage = lazily(() => import('./pages/webhooks/WebhookPage.tsx').then((page) => page.WebhookPage));
const SignInPage = lazily(() => import('./pages/sign-in/SignInPage.tsx').then((page) => page.SignInPage));

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
  usePrefetch();
  const lostAt = useSince(useConnection().isConnected);
  if (path === '/sign-in') {
    return (
      <PageErrors of={path}>
        <Suspense>
          <SignInPage />
        </Suspense>
      </PageErrors>
    );
  }
  return (
    <LostAt value={lostAt}>
      <Frame>
        <PageErrors of={path}>
          <Suspense fallback={<Skeleton>Loading</Skeleton>}>
            <Page path={path} />
          </Suspense>
        </PageErrors>
      </Frame>
      <Help />
    </LostAt>
  );
}

const searchOfPage = () => document.querySelector<HTMLElement>('input[type="search"]');

const pages: { readonly [path: string]: ReturnType<typeof lazily<object>> } = {
  '/approvals': ApprovalsPage,
  '/search': SearchPage,
  '/operations': OperationsPage,
  '/settings/webhooks': WebhooksPage,
  '/sign-in': SignInPage,
};

function Page({ path }: { path: string }) {
  if (path === '/') return <RunsPage />;
  const run = runOfPath(path);
  if (run) return <RunPage key={path} {...run} />;
  const webhookId = webhookOfPath(path);
  if (webhookId !== undefined) return <WebhookPage key={path} webhookId={webhookId} />;
  const Named = pages[path];
  if (Named) return <Named />;
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

/** Loads the code of a page when the pointer or the focus is on a link to it. */
function usePrefetch(): void {
  useEffect(() => {
    const prefetch = ({ target }: Event) => {
      const link = target instanceof Element ? target.closest('a[href^="/"]') : null;
      if (!(link instanceof HTMLAnchorElement)) return;
      const { pathname } = link;
      const page = runOfPath(pathname)
        ? RunPage
        : webhookOfPath(pathname) !== undefined
          ? WebhookPage
          : pages[pathname];
      void page?.preload();
    };
    const events = ['pointerover', 'focusin', 'touchstart'] as const;
    for (const type of events) document.addEventListener(type, prefetch, { passive: true });
    return () => {
      for (const type of events) document.removeEventListener(type, prefetch);
    };
  }, []);
}
