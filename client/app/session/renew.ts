/** The requests that renew a session and sign in. */

/** `ended`: the user must sign in again. `unavailable`: the same request may succeed later. `as before`: nothing was renewed. */
export type Renewal = 'renewed' | 'ended' | 'unavailable' | 'as before';

const SILENT_LIMIT_MS = 10_000;

/** Asks the server to renew the session, with the provider's refresh token, or else by a sign-in in a hidden frame. */
export async function renew(): Promise<Renewal> {
  const first = await askForRenewal();
  if (typeof first === 'string') return first;
  if (first.isRenewable) return 'renewed';
  await signInSilently();
  const second = await askForRenewal();
  if (typeof second === 'string') return second;
  return second.expiresAt === first.expiresAt ? 'as before' : 'renewed';
}

async function askForRenewal(): Promise<{ expiresAt: string; isRenewable: boolean } | 'ended' | 'unavailable'> {
  const response = await fetch('/auth/renew', { method: 'POST' }).catch(() => undefined);
  return response?.ok ? response.json() : response?.status === 401 ? 'ended' : 'unavailable';
}

/** Resolves when the hidden frame has an answer. Browsers that keep the provider's cookies out of frames get a refusal. */
function signInSilently(): Promise<void> {
  return new Promise((resolve) => {
    const frame = document.createElement('iframe');
    frame.hidden = true;
    const done = () => {
      clearTimeout(timer);
      frame.remove();
      resolve();
    };
    const timer = setTimeout(done, SILENT_LIMIT_MS);
    frame.addEventListener('load', done);
    frame.src = '/auth/login?silent=1';
    document.body.append(frame);
  });
}

/** Address of this page, for the parameter `return`. */
export const here = (): string => {
  const { pathname, search, hash } = window.location;
  return pathname + search + hash;
};

/**
 * Opens the sign-in in a small window, so that this page stays as it is. In the same window, with a way back, if the browser
 * blocks it. The window reports the sign-in to all tabs, and closes.
 */
export function openSignIn(isOidc: boolean): void {
  const to = (path: string) => `/${isOidc ? 'auth/login' : 'sign-in'}?return=${encodeURIComponent(path)}`;
  const opened = window.open(isOidc ? to(DONE) : DONE, 'runwire-sign-in', 'popup,width=520,height=680');
  if (!opened) window.location.assign(to(here()));
}

/** The page at which a small window closes once its user is signed in. */
const DONE = '/sign-in?window=1';
