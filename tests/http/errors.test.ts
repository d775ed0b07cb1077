import { readFileSync } from 'node:fs';
import { TRPCError } from '@trpc/server';
import { getHTTPStatusCodeFromError } from '@trpc/server/http';
import { describe, expect, test } from 'vitest';
import { ZodError, z } from 'zod';
import { toRunwireError } from '../../server/errors.ts';
import { errorTable } from '../../shared/error-table.ts';
import { type ErrorCode, RunwireError } from '../../shared/errors.ts';
import { created, everyone, keptLog, openServer, progress, startServer, tokenFor, Wire } from '../support/harness.ts';

const canary = 'CANARY-e7d0';
const codes = Object.keys(errorTable) as ErrorCode[];

describe('the error table', () => {
  test.each(codes)('[Q7] %s: its tRPC code maps to the HTTP status of the table', (code) => {
    const { http, trpc, advice } = errorTable[code];
    expect(getHTTPStatusCodeFromError(new TRPCError({ code: trpc }))).toBe(http);
    expect(advice).toMatch(/^[A-Z].*\.$/);
  });

  test('[Q7] the retryable codes are those of temporary failures: rates, unavailability and internal errors', () => {
    expect(codes.filter((code) => errorTable[code].retryable)).toEqual(['RATE_LIMITED', 'UNAVAILABLE', 'INTERNAL']);
  });

  test('[Q7] docs/protocol.md contains the table, row by row', () => {
    const page = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8');
    const rows = codes.map((code) => {
      const { http, retryable, advice } = errorTable[code];
      return `| \`${code}\` | ${http} | ${retryable ? 'yes' : 'no'} | ${advice} |`;
    });
    expect(page.match(/^\| `[A-Z_]+` \| \d{3} \| (?:yes|no) \| .*\|$/gm)).toEqual(rows);
  });
});

describe('every error becomes a RunwireError', () => {
  test.each([
    new Error(canary),
    new TypeError(canary),
    canary,
    undefined,
    null,
    { code: canary, message: canary },
    new TRPCError({ code: 'INTERNAL_SERVER_ERROR', message: canary }),
    new TRPCError({ code: 'BAD_REQUEST', message: canary }),
    new TRPCError({ code: 'PARSE_ERROR', message: canary, cause: new SyntaxError(canary) }),
    new TRPCError({ code: 'NOT_FOUND', message: canary }),
    new TRPCError({ code: 'TOO_MANY_REQUESTS', message: canary }),
    new ZodError([]),
    z.strictObject({ a: z.string() }).safeParse({ a: { [canary]: canary } }).error,
    z.strictObject({}).safeParse({ [`${canary} with blanks`]: 1 }).error,
  ])('[Q6] %#: with a code of the table, and nothing of what it said', (error) => {
    const known = toRunwireError(error);
    expect(known).toBeInstanceOf(RunwireError);
    expect(codes).toContain(known.code);
    expect(JSON.stringify(known)).not.toContain(canary);
    expect(known.message).not.toContain(canary);
    expect(Object.keys(known.toJSON().error).sort()).toEqual(
      known.path === undefined ? ['code', 'message'] : ['code', 'message', 'path'],
    );
  });
});

describe('errors over the wire', () => {
  const requests: [string, unknown, ErrorCode][] = [
    ['run.get', { runId: canary }, 'RUN_NOT_FOUND'],
    ['run.get', { runId: `${canary} x` }, 'INVALID_INPUT'],
    ['run.get', { runId: 'r1', [`${canary} x`]: 1 }, 'INVALID_INPUT'],
    ['run.get', canary, 'INVALID_INPUT'],
    ['run.history', { runId: 'r1', cursor: canary }, 'CURSOR_INVALID'],
    ['run.list', { cursor: canary }, 'CURSOR_INVALID'],
    ['run.list', { status: [canary] }, 'INVALID_INPUT'],
    ['run.list', { limit: 501 }, 'INVALID_INPUT'],
    ['run.list', { since: canary }, 'INVALID_INPUT'],
    ['approval.list', { status: canary }, 'INVALID_INPUT'],
    ['approval.list', { cursor: canary }, 'CURSOR_INVALID'],
    ['server.stats', undefined, 'FORBIDDEN'],
    [canary, undefined, 'NOT_FOUND'],
    ['__proto__', undefined, 'NOT_FOUND'],
  ];
  const mutations: [string, unknown, ErrorCode][] = [
    ['event.publish', { events: [{ ...progress('r1', 1), message: { canary } }] }, 'INVALID_EVENT'],
    ['event.publish', { events: [{ ...created('r1'), projectId: 'secret', name: canary }] }, 'FORBIDDEN'],
    ['event.publish', { events: Array(1_001).fill({ canary }) }, 'TOO_LARGE'],
    ['event.publish', { events: canary }, 'INVALID_INPUT'],
    ['approval.grant', { runId: canary, approvalId: 'a1' }, 'RUN_NOT_FOUND'],
    ['approval.grant', { runId: 'r1', approvalId: canary, comment: canary }, 'APPROVAL_NOT_FOUND'],
    ['approval.deny', { runId: 'r1', approvalId: 'a1', reason: canary.repeat(500) }, 'INVALID_INPUT'],
    ['auth.refresh', { token: canary }, 'UNAUTHENTICATED'],
  ];

  test('[Q6] over HTTP and WebSocket, a tRPC error has a code, a matching status, and no value or stack', async () => {
    const { logger, lines } = keptLog();
    await using server = await startServer({ logger });
    await server.bus.publish([created('r1')], { actor: 'ada' });
    const token = await tokenFor({ projects: ['demo'], roles: ['viewer', 'producer'] });
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    await using wire = await Wire.open(server.url, { token });
    for (const [method, list] of [
      ['query', requests],
      ['mutation', mutations],
    ] as const) {
      for (const [path, input, code] of list) {
        const { error } = await wire.call(method, path, input);
        const name = `${path} ${code}`;
        expect(error?.data.runwireCode, name).toBe(code);
        expect(error?.data, name).toMatchObject({ httpStatus: errorTable[code].http });
        if (path === 'auth.refresh') continue; // Over HTTP there is no socket to refresh.

        const response = await fetch(`${server.url}/trpc/${path}`, {
          method: 'POST',
          headers,
          body: JSON.stringify(input),
        });
        const text = await response.text();
        const body = JSON.parse(text) as { error: NonNullable<typeof error> };
        expect(body.error.data.runwireCode, name).toBe(code);
        expect([response.status, body.error.data], name).toMatchObject([
          errorTable[code].http,
          { httpStatus: errorTable[code].http },
        ]);
        expect(Object.keys(body.error.data).sort().join(), name).toMatch(
          /^code(,field)?,httpStatus(,issues)?(,path)?,runwireCode$/,
        );
        expect(text, name).not.toMatch(new RegExp(`${canary}|stack|node_modules|\\.ts`));
      }
    }
    expect(wire.texts.join()).not.toContain(canary);
    expect(lines.join()).not.toContain(canary);
  });

  test('[Q6] responses to malformed requests to /trpc quote nothing', async () => {
    const { logger, lines } = keptLog();
    await using server = await startServer({ logger });
    const headers = { authorization: `Bearer ${await tokenFor()}`, 'content-type': 'application/json' };
    const post = (path: string, body: string, more: object = {}) =>
      fetch(`${server.url}/trpc/${path}`, { method: 'POST', headers: { ...headers, ...more }, body });
    const get = (path: string) => fetch(`${server.url}/trpc/${path}`, { headers });
    for (const [name, response] of Object.entries({
      'a body that is not JSON': await post('run.get', `{"a": ${canary}`),
      'an input that is not JSON': await get(`run.get?input=${canary}`),
      'a batch that is not an object': await get(`run.get,run.get?batch=1&input=${canary}`),
      'a batch of the wrong form': await post('run.get,run.get?batch=1', JSON.stringify([canary])),
      'another media type': await post('event.publish', canary, { 'content-type': `text/${canary}` }),
      'an unsupported media type': await post('event.publish', canary, {
        'content-type': 'multipart/form-data; boundary=x',
      }),
      'a path with a line break': await get(`run.get%0a${canary}`),
      'connection params that are not JSON': await get(`auth.${canary}?connectionParams=${canary}`),
      'a mutation by GET': await get('event.publish?input=%7B%7D'),
      'a batch that is too long': await get(`${Array(51).fill('auth.me').join(',')}?batch=1`),
      'a body that is too large': await post('event.publish', `"${canary.repeat(800_000)}"`),
    })) {
      const text = await response.text();
      expect(response.status, name).toBeGreaterThanOrEqual(400);
      expect(response.status, `${name}: ${text}`).toBeLessThan(500);
      expect(text, name).not.toMatch(new RegExp(`${canary}|stack|node_modules|\\.ts`));
      const [first] = [JSON.parse(text)].flat() as { error: { data: { runwireCode: string; httpStatus: number } } }[];
      const code = first?.error.data.runwireCode as ErrorCode;
      expect(codes, name).toContain(code);
      expect([response.status, first?.error.data.httpStatus], name).toEqual(Array(2).fill(errorTable[code].http));
    }
    const undecodable = await get(`run.get%${canary}`);
    expect([undecodable.status, await undecodable.json()]).toEqual([
      404,
      { error: { code: 'NOT_FOUND', message: 'no such procedure' } },
    ]);
    expect(lines.join()).not.toContain(canary);
  });

  test('[Q6] [Q8] a defect in the server is INTERNAL, with its cause in one line a minute of the log only', async () => {
    const { logger, lines } = keptLog();
    const secretOf = (): never => {
      throw new TypeError(canary);
    };
    await using server = await startServer({ logger, authenticate: secretOf });
    for (const _ of [1, 2, 3]) {
      const response = await fetch(`${server.url}/api/v1/events`, {
        method: 'POST',
        headers: { authorization: 'Bearer x' },
        body: '{}',
      });
      expect([response.status, await response.json()]).toEqual([
        500,
        { error: { code: 'INTERNAL', message: 'an internal error' } },
      ]);
    }
    expect(lines.filter((line) => line.includes('a request failed'))).toHaveLength(1);
  });

  test('[Q6] an error of a caller has the RunwireError as its cause', async () => {
    await using server = await openServer();
    const caller = server.router.createCaller({ principal: everyone });
    await expect(caller.run.get({ runId: 'r1' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
      cause: { code: 'RUN_NOT_FOUND' },
    });
  });
});
