import { expect } from 'vitest';

/** The sign-in at an OpenID provider by a browser that is made of `fetch` and a jar of cookies. */

type Site = { server: { url: string } };

/** A browser: keeps cookies for each origin, and follows redirects one by one. */
export class Browser {
  readonly cookies = new Map<string, Map<string, string>>();
  /** Attributes of the cookies as they were set. */
  readonly setCookies: string[] = [];

  async send(url: string, init: RequestInit & { headers?: Record<string, string> } = {}): Promise<Response> {
    const { origin } = new URL(url);
    const jar = this.cookies.get(origin) ?? new Map<string, string>();
    this.cookies.set(origin, jar);
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
    const headers = { accept: 'text/html', ...(cookie ? { cookie } : {}), ...init.headers };
    const response = await fetch(url, { redirect: 'manual', ...init, headers });
    for (const text of response.headers.getSetCookie()) {
      this.setCookies.push(text);
      const [pair = ''] = text.split(';');
      const at = pair.indexOf('=');
      if (/max-age=0|expires=thu, 01 jan 1970/i.test(text)) jar.delete(pair.slice(0, at));
      else jar.set(pair.slice(0, at), pair.slice(at + 1));
    }
    return response;
  }

  /** Follows redirects until `done` says so of the next address, or there is none. Returns the last address. */
  async follow(url: string, done: (url: URL) => boolean = () => false): Promise<{ url: URL; response: Response }> {
    let at = new URL(url);
    for (let steps = 0; steps < 20; steps++) {
      const response = await this.send(at.href);
      const location = response.headers.get('location');
      if (location === null) return { url: at, response };
      at = new URL(location, at);
      if (done(at)) return { url: at, response };
    }
    throw new Error('too many redirects');
  }

  post(url: string, headers: Record<string, string> = {}, body?: string): Promise<Response> {
    return this.send(url, {
      method: 'POST',
      headers: { origin: new URL(url).origin, ...headers },
      ...(body ? { body } : {}),
    });
  }

  copy(): Browser {
    const copy = new Browser();
    for (const [origin, jar] of this.cookies) copy.cookies.set(origin, new Map(jar));
    return copy;
  }
}

const isCallback = ({ pathname }: URL) => pathname === '/auth/callback';

/** Goes from the app to the provider, signs in there, and returns the address of the callback, without opening it. */
export async function toCallback({ server }: Site, browser: Browser, user = 'vera', path = '/'): Promise<URL> {
  const { url, response } = await browser.follow(
    `${server.url}/auth/login?return=${encodeURIComponent(path)}`,
    isCallback,
  );
  if (isCallback(url)) return url;
  expect(await response.text()).toContain('Sign in at the provider');
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  const body = user === 'cancel' ? 'cancel=1' : `user=${encodeURIComponent(user)}`;
  const posted = await browser.send(url.href, { method: 'POST', headers, body });
  const next = new URL(posted.headers.get('location') ?? '', url);
  return (await browser.follow(next.href, isCallback)).url;
}

export async function signIn(world: Site, browser = new Browser(), user = 'vera', path = '/') {
  const callback = await toCallback(world, browser, user, path);
  const response = await browser.send(callback.href);
  return { browser, callback, location: response.headers.get('location'), response };
}

export const cookieOf = (browser: Browser, { server }: Site): string | undefined =>
  [...(browser.cookies.get(server.url) ?? [])].find(([name]) => /^runwire_(?!signin)/.test(name))?.join('=');
