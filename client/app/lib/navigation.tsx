import { type AnchorHTMLAttributes, type MouseEvent, type ReactNode, useMemo, useSyncExternalStore } from 'react';
import { signal } from './signal.ts';

/** Addresses of the app, in the browser's history. */

/** Sent after each change of the address. The browser itself reports only steps through the history. */
const moved = signal<void>();
globalThis.addEventListener?.('popstate', () => moved.send());

function go(href: string, { replace, state = null }: { replace: boolean; state?: unknown }): void {
  window.history[replace ? 'replaceState' : 'pushState'](state, '', href);
  moved.send();
}

export const usePath = (): string => useSyncExternalStore(moved.listen, () => window.location.pathname);

/** Returns the query parameters of the URL, as the same object until they change. */
export function useParams(): URLSearchParams {
  const search = useSyncExternalStore(moved.listen, () => window.location.search);
  return useMemo(() => new URLSearchParams(search), [search]);
}

/** New values of query parameters by name. Undefined removes a parameter; a list sets it several times. */
export type ParamChanges = { [name: string]: string | readonly string[] | undefined };

export function hrefWith(changes: ParamChanges): string {
  const params = new URLSearchParams(window.location.search);
  for (const [name, value] of Object.entries(changes)) {
    params.delete(name);
    for (const one of typeof value === 'string' ? [value] : (value ?? [])) params.append(name, one);
  }
  const search = params.toString();
  return `${window.location.pathname}${search && `?${search}`}`;
}

export type FocusedRow = { list: string; key: string; index: number };

/** The row that had the focus when this entry of the history was left; see `useListFocus`. */
export const focusedRow = (): FocusedRow | undefined => (window.history.state as { row?: FocusedRow } | null)?.row;

function keepFocusedRow(): void {
  const row = document.activeElement?.closest<HTMLElement>('[data-row]');
  const list = row?.closest<HTMLElement>('[data-list]')?.dataset.list;
  if (list === undefined) return;
  const kept: FocusedRow = { list, key: row?.dataset.row ?? '', index: Number(row?.dataset.index) };
  go(window.location.href, { replace: true, state: { ...window.history.state, row: kept } });
}

/** Opens a page of the app. With `replace`, the Back button skips the page that is left. */
export function navigate(href: string, { replace = false }: { replace?: boolean } = {}): void {
  if (!replace) keepFocusedRow();
  go(href, { replace });
  window.scrollTo(0, 0);
}

/**
 * Changes query parameters of this page. By default the Back button skips the change; with `push` it undoes the change.
 */
export function setParams(changes: ParamChanges, { push = false }: { push?: boolean | undefined } = {}): void {
  go(hrefWith(changes), { replace: !push, state: push ? null : window.history.state });
}

export const runPath = ({ projectId, runId }: { projectId: string; runId: string }): string =>
  `/runs/${encodeURIComponent(projectId)}/${encodeURIComponent(runId)}`;

/** Returns the run of a path; undefined for any other path. */
export function runOfPath(path: string): { projectId: string; runId: string } | undefined {
  const [projectId, runId] = /^\/runs\/([^/]+)\/([^/]+)$/.exec(path)?.slice(1).map(decode) ?? [];
  return projectId === undefined || runId === undefined ? undefined : { projectId, runId };
}

/** Returns the webhook of the path of its page; undefined for any other path. */
export const webhookOfPath = (path: string): string | undefined =>
  decode(/^\/settings\/webhooks\/([^/]+)$/.exec(path)?.[1]);

function decode(part: string | undefined): string | undefined {
  try {
    return part === undefined ? undefined : decodeURIComponent(part);
  } catch {
    return undefined; // The percent-encoding is invalid.
  }
}

type LinkProps = { children: ReactNode } & AnchorHTMLAttributes<HTMLAnchorElement>;

/** Returns a click handler that calls `act` for a plain click. The browser handles other clicks, such as Ctrl+click. */
function onPlainClick(act: () => void, before: LinkProps['onClick']) {
  return (event: MouseEvent<HTMLAnchorElement>) => {
    before?.(event);
    if (event.defaultPrevented) return;
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    act();
  };
}

/** A link to another page of the app. */
export const Link = ({ href, onClick, ...rest }: LinkProps & { href: string }) => (
  <a href={href} {...rest} onClick={onPlainClick(() => navigate(href), onClick)} />
);

/** A link that changes query parameters of this page. A click keeps the other parameters that the URL then has. */
export const ParamLink = ({ params, push, onClick, ...rest }: LinkProps & { params: ParamChanges; push?: boolean }) => (
  <a href={hrefWith(params)} {...rest} onClick={onPlainClick(() => setParams(params, { push }), onClick)} />
);
