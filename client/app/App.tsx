import { Suspense, useCallback, useEffect, useRef, useState } from 'react';
import { useConnection } from '../hooks/index.ts';
import { Access } from './components/Access.tsx';
import { Frame } from './components/Frame.tsx';
import { LiveRegions } from './components/LiveRegions.tsx';
import { Skeleton } from './components/Notice.tsx';
import { PageErrors } from './components/PageErrors.tsx';
import { PartErrors } from './components/PartErrors.tsx';
import { toasts } from './components/Toast.tsx';
import { ToastBox } from './components/ToastBox.tsx';
import { WaitingForMe } from './components/WaitingForMe.tsx';
import { KeysProvider, useKeys } from './hooks/useKeys.tsx';
import { stepList } from './hooks/useListFocus.ts';
import { useSession } from './hooks/useSession.ts';
import { LostAt, useSince } from './hooks/useStaleSince.ts';
import { type Command, commands } from './lib/commands.ts';
import { lazily } from './lib/lazily.tsx';
import { navigate, runOfPath, usePath, webhookOfPath } from './lib/navigation.tsx';
import { useNotifies } from './notifications/enabled.ts';
import { RunsPage } from './pages/runs/RunsPage.tsx';
import { SessionKeeper } from './session/SessionKeeper.tsx';

const RunPage = lazily(() => import('./pages/run/RunPage.tsx').then((page) => page.RunPage));
const ApprovalsPage = lazily(() => import('./pages/approvals/ApprovalsPage.tsx').then((page) => page.ApprovalsPage));
const SearchPage = lazily(() => import('./pages/search/SearchPage.tsx').then((page) => page.SearchPage));
const OperationsPage = lazily(() =>
  import('./pages/operations/OperationsPage.tsx').then((page) => page.OperationsPage),
);
const WebhooksPage = lazily(() => import('./pages/webhooks/WebhooksPage.tsx').then((page) => page.WebhooksPage));
const WebhookPage = lazily(() => import('./pages/webhooks/WebhookPage.tsx').then((page) => page.WebhookPage));
const SignInPage = lazily(() => import('./pages/sign-in/SignInPage.tsx').then((page) => page.SignInPage));
const NotFoundPage = lazily(() => import('./pages/not-found/NotFoundPage.tsx').then((page) => page.NotFoundPage));

const NotificationsDialog = lazily(() =>
  import('./notifications/NotificationsDialog.tsx').then((part) => part.NotificationsDialog),
);
const Notifications = lazily(() => import('./notifications/Notifications.tsx').then((part) => part.Notifications));
const Help = lazily(() => import('./components/Help.tsx').then((part) => part.Help));

export function App() {
  const path = usePath();
  usePrefetch();
  const { me, isRefused } = useSession();
  const isSigningIn = path === '/sign-in' || isRefused || (me && !(me.roles[0] && me.projects[0]));
  return (
    <>
      <SessionKeeper hasPage={!isSigningIn} />
      {isSigningIn ? (
        <PageErrors of={path}>
          <Content path="/sign-in" />
        </PageErrors>
      ) : (
        <Pages path={path} />
      )}
    </>
  );
}

function Pages({ path }: { path: string }) {
  const lostAt = useSince(useConnection().isConnected);
  return (
    <KeysProvider>
      <WaitingForMe>
        <LostAt value={lostAt}>
          <Frame>
            <PageErrors of={path}>
              <Access path={path}>
                <Content path={path} />
              </Access>
            </PageErrors>
          </Frame>
          <PageKeys path={path} />
          <Dialogs />
          <LiveRegions />
        </LostAt>
      </WaitingForMe>
    </KeysProvider>
  );
}

const Content = ({ path }: { path: string }) => (
  <Suspense fallback={<Skeleton>Loading the page</Skeleton>}>
    <Page path={path} />
  </Suspense>
);

/** The keys that work on every page, and the focus after a change of page. */
function PageKeys({ path }: { path: string }) {
  const lastPath = useRef(path);
  const wantsSearch = useRef(false);
  const lastList = useRef<HTMLElement | null>(null);
  useEffect(() => {
    // Screen readers read from the focused element. So a change of page moves the focus to the new page, as a page load
    // does. A list to which the Back button leads has the focus on its row already.
    if (lastPath.current !== path && !document.activeElement?.closest('main [data-row]')) {
      const target = wantsSearch.current ? searchOfPage() : null;
      (target ?? document.querySelector('main'))?.focus({ preventScroll: true });
    }
    lastPath.current = path;
    wantsSearch.current = false;
  }, [path]);
  useEffect(() => {
    const onFocusIn = ({ target }: FocusEvent) => {
      const list = target instanceof Element ? target.closest<HTMLElement>('[data-list]') : null;
      if (list) lastList.current = list;
    };
    document.addEventListener('focusin', onFocusIn);
    return () => document.removeEventListener('focusin', onFocusIn);
  }, []);
  const search = () => {
    const field = searchOfPage();
    if (field) return field.focus();
    wantsSearch.current = true;
    navigate('/');
  };
  const move = (by: 1 | -1) => stepList(lastList.current, by);
  const rows = 'Next, previous row';
  useKeys(
    {
      j: { does: rows, act: () => move(1) },
      k: { does: rows, act: () => move(-1) },
      '/': { does: 'Search field of the page', act: search },
      'g r': { does: 'Go to Runs', act: () => navigate('/') },
      'g a': { does: 'Go to Approvals', act: () => navigate('/approvals') },
      'g s': { does: 'Go to Search', act: () => navigate('/search') },
      'g o': { does: 'Go to Operations', act: () => navigate('/operations') },
      p: { does: 'Project menu', act: () => document.querySelector<HTMLElement>('.project-menu')?.click() },
      '?': { does: 'Keyboard shortcuts', act: () => commands.send('help') },
    },
    'everywhere',
  );
  return null;
}

const searchOfPage = () => document.querySelector<HTMLElement>('main input[type="search"]');

/** Dialogs that keys and menus open from any page, and toasts. */
function Dialogs() {
  const [opened, setOpened] = useState<Command | null>(null);
  useEffect(() => commands.listen(setOpened), []);
  const [toast, setToast] = useState<string | null>(null);
  useEffect(() => toasts.listen(setToast), []);
  const closeToast = useCallback(() => setToast(null), []);
  const notifies = useNotifies();
  const close = () => setOpened(null);
  return (
    <>
      {opened && (
        <PartErrors onClose={close}>
          {opened === 'help' ? <Help onClose={close} /> : <NotificationsDialog onClose={close} />}
        </PartErrors>
      )}
      <PartErrors>{notifies && <Notifications />}</PartErrors>
      {toast !== null && <ToastBox key={toast} text={toast} onClose={closeToast} />}
    </>
  );
}

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
  const Named = pages[path] ?? NotFoundPage;
  return <Named />;
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
