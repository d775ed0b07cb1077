const MAX_CHARS = 2_000;
const BASE = 'http://own.invalid';

/**
 * Returns the page to open after a sign-in: `value` if it is a path of this site, else `/`. Anybody can write the
 * parameter `return` of a link, and browsers read `//host`, `/\host` and `/<tab>/host` as addresses of other sites. So the
 * value is parsed as a browser parses it, and checked again as it is sent.
 */
export function returnPathOf(value: string | null | undefined): string {
  if (!value?.startsWith('/') || value.length > MAX_CHARS) return '/';
  try {
    const { origin, pathname, search, hash } = new URL(value, BASE);
    const isPage = !/^\/(?:auth|login|trpc|api)(?:\/|$)/.test(pathname);
    // The path of `/.//host` is `//host`.
    return origin === BASE && isPage && !pathname.startsWith('//') ? pathname + search + hash : '/';
  } catch {
    return '/';
  }
}
