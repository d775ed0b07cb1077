import { errorCodes } from '../../shared/errors.ts';
import { canary } from './values.ts';

/** Judges responses: an error may contain no input, no code and no path of the machine. */

const leaks = new RegExp(`${canary}|node_modules|\\n\\s+at |\\bat [\\w.]+ \\(|\\.[cm]?[jt]s:\\d|/tmp/|/root/|SQLITE_`);
const codes = new Set<unknown>(Object.keys(errorCodes));

/** Judges one error, as formatted by tRPC or HTTP. */
export function judgeError(error: unknown): string | undefined {
  const text = JSON.stringify(error) ?? '';
  const [leak] = leaks.exec(text) ?? [];
  if (leak !== undefined) return `an error has ${JSON.stringify(leak)} in it: ${text.slice(0, 300)}`;
  const { code, data } = (error ?? {}) as { code?: unknown; data?: { runwireCode?: unknown } };
  const said = data?.runwireCode ?? code;
  if (!codes.has(said)) return `an error has no code of the table: ${text.slice(0, 300)}`;
  return said === 'INTERNAL' ? `an internal error: ${text.slice(0, 300)}` : undefined;
}

/** The outcome of a request in one word, for the coverage table. */
export const outcomeOf = (error: unknown): string => {
  const { code, data } = (error ?? {}) as { code?: unknown; data?: { runwireCode?: unknown } };
  return String(data?.runwireCode ?? code);
};

/** Judges a WebSocket message. */
export function judgeMessage(text: string): { id?: unknown; error?: unknown; problem?: string | undefined } {
  if (text === 'PONG') return {};
  try {
    const { id, error } = JSON.parse(text) as { id?: unknown; error?: unknown };
    return error === undefined ? { id } : { id, error, problem: judgeError(error) };
  } catch {
    return { problem: `a message that is not JSON: ${text.slice(0, 200)}` };
  }
}

export type HttpAnswer = { status: number; headers: Record<string, string>; body: string };

/** `isRouted`: the request reached a route, and the response must have its headers. */
export function judgeAnswer({ status, headers, body }: HttpAnswer, isRouted: boolean): string | undefined {
  const name = `${status} ${body.slice(0, 300)}`;
  if (status >= 500 && status !== 503) return `a server error: ${name}`;
  if (isRouted && headers['x-content-type-options'] !== 'nosniff') return `an answer without its headers: ${name}`;
  // A preflight names the headers that it was asked for (N6).
  const { 'access-control-allow-headers': _, ...own } = headers;
  const head = JSON.stringify(own);
  if (head.includes(canary) && !head.includes('access-control-allow-origin')) return `an echo in the headers: ${head}`;
  if (status >= 400 && leaks.test(body)) return `an error has what it should not: ${name}`;
  if (headers['content-type']?.startsWith('text/event-stream')) {
    return body.includes('event: serialized-error') && leaks.test(body) ? `an echo in a stream: ${name}` : undefined;
  }
  if (!headers['content-type']?.startsWith('application/json') || body === '') return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    return headers['content-type'].includes('jsonl') ? undefined : `an answer that is not JSON: ${name}`;
  }
  for (const each of [parsed].flat() as ({ error?: unknown; failed_events?: unknown } | null)[]) {
    if (each?.error !== undefined) {
      const problem = judgeError(each.error);
      if (problem !== undefined) return problem;
    } else if (status >= 400) return `an error without one: ${name}`;
    if (each?.failed_events !== undefined && leaks.test(body)) return `an echo in what failed: ${name}`;
  }
  return undefined;
}
