/** The texts of the sign-in page that depend on its address. */

const minute = new Intl.DateTimeFormat(undefined, {
  day: 'numeric',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
});

/** `example.org` of `login.example.org`: the name of an organisation, without that of its sign-in page. */
export function organisationOf(host: string): string {
  const name = host.replace(/:\d+$/, '');
  const labels = name.split('.');
  const isAddress = name.startsWith('[') || labels.every((label) => /^\d+$/.test(label));
  if (isAddress || name === 'localhost') return host;
  return labels.length > 2 ? labels.slice(1).join('.') : name;
}

/** Why the last attempt failed. `code`: for a report to an administrator. */
export type Failure = { text: string; code?: string };

/** Returns the failure that the server names in the parameters of the address; undefined without one. */
export function failureOf(params: URLSearchParams, provider: string | undefined): Failure | undefined {
  const who = provider === undefined ? 'The identity provider' : organisationOf(provider);
  switch (params.get('reason')) {
    case null:
      return undefined;
    case 'expired': {
      const at = Number(params.get('at'));
      const when = at > 0 && at < 8.64e15 ? ` (${minute.format(at)})` : '';
      return { text: `This link has expired${when}. Links are valid for a day.` };
    }
    case 'invalid':
      return { text: 'This link was made by another server or before a restart.' };
    case 'revoked':
      return { text: 'This link was revoked.' };
    case 'state':
      return { text: 'This sign-in was not finished in time, or was begun in another browser. Sign in again.' };
    case 'provider': {
      const given = params.get('code') ?? '';
      const code = /^[a-z_]{1,60}$/.test(given) ? given : 'unknown';
      return { text: `${who} did not sign you in: ${code.replaceAll('_', ' ')}.`, code };
    }
    default:
      return { text: `${who} cannot be reached now. Try again in a moment.` };
  }
}

/** A difference of clocks that makes a sign-in fail. */
const MIN_OFFSET_MS = 120_000;

/** Returns how far this device's clock is off; undefined if it is right. */
export function clockTextOf(serverTimeOffsetMs: number): string | undefined {
  const minutes = Math.round(Math.abs(serverTimeOffsetMs) / 60_000);
  if (Math.abs(serverTimeOffsetMs) < MIN_OFFSET_MS) return undefined;
  const hours = Math.round(minutes / 60);
  return `Your computer's clock is ${minutes < 120 ? `${minutes} min` : `${hours} h`} off.`;
}
