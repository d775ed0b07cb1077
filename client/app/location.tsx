import type { AnchorHTMLAttributes, MouseEvent, ReactNode } from 'react';
import { useSyncExternalStore } from 'react';

/** Addresses of pages, kept in the browser's history. Two kinds of page need no router. */

const NAVIGATED = 'runwire:navigated';

function subscribe(listener: () => void): () => void {
  window.addEventListener('popstate', listener);
  window.addEventListener(NAVIGATED, listener);
  return () => {
    window.removeEventListener('popstate', listener);
    window.removeEventListener(NAVIGATED, listener);
  };
}

export const usePath = (): string => useSyncExternalStore(subscribe, () => window.location.pathname);

export const runPath = ({ projectId, runId }: { projectId: string; runId: string }): string =>
  `/runs/${encodeURIComponent(projectId)}/${encodeURIComponent(runId)}`;

/** The run that a path names; undefined for any other path. */
export function runOfPath(path: string): { projectId: string; runId: string } | undefined {
  const [, projectId, runId] = /^\/runs\/([^/]+)\/([^/]+)$/.exec(path) ?? [];
  if (projectId === undefined || runId === undefined) return undefined;
  try {
    return { projectId: decodeURIComponent(projectId), runId: decodeURIComponent(runId) };
  } catch {
    return undefined; // A stray % sign.
  }
}

/** A link within the app: a plain click stays in the page, any other one is the browser's. */
export function Link({
  href,
  ...rest
}: { href: string; children: ReactNode } & AnchorHTMLAttributes<HTMLAnchorElement>) {
  const onClick = (event: MouseEvent) => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    window.history.pushState(null, '', href);
    window.scrollTo(0, 0);
    window.dispatchEvent(new Event(NAVIGATED));
  };
  return <a href={href} onClick={onClick} {...rest} />;
}
