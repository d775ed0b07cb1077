import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { AccessLogger } from '../../server/audit/access-logger.ts';
import type { TokenInvalidReason } from '../../server/auth/credentials.ts';
import type { Page } from '../../server/event-log/contract/log.ts';
import type { EventLog } from '../../server/event-log/contract/store.ts';
import { Health } from '../../server/health.ts';
import { createExport } from '../../server/http/export.ts';
import { closeWhenStalled } from '../../server/http/messages.ts';
import { type RunEvent, type RunEventDraft, runwireEvents } from '../../shared/events.ts';
import {
  created,
  everyone,
  keptLog,
  openServer,
  progress,
  startServer,
  temporaryFolder,
  tokenFor,
} from '../support/harness.ts';
import { type NodeOfLog, nodeOf, withMembers } from '../support/node-of-log.ts';

async function serve(options: Parameters<typeof startServer>[0] = {}) {
  const server = await startServer(options);
  onTestFinished(() => server.close());
  const token = await tokenFor();
  const get = (query: string, headers: Record<string, string> = { authorization: `Bearer ${token}` }) =>
    fetch(`${server.url}/api/v1/export${query}`, { headers });
  return { ...server, get };
}

const publishTo = async (
  server: { bus: { publish(drafts: never, by: { actor: string }): Promise<unknown> } },
  drafts: RunEventDraft[],
) => {
  for (let from = 0; from < drafts.length; from += 500) {
    await server.bus.publish(drafts.slice(from, from + 500) as never, { actor: 'ci' });
  }
};
const eventsOf = (text: string) =>
  text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as RunEvent);

test('[R9] [R20] an export selects by stage, attempt and text', async () => {
  const server = await serve();
  const failed = (attempt: number, message: string) =>
    ({ projectId: 'demo', runId: 'r1', type: 'stage.failed', stageId: 's1', attempt, error: { message } }) as const;
  await publishTo(server, [created('r1'), progress('r1', 5), failed(1, 'out of memory'), failed(2, 'no memory')]);
  const of = async (query: string) => {
    const answer = await server.get(query);
    expect(answer.status).toBe(200);
    return eventsOf(await answer.text()).map(({ runSeq }) => runSeq);
  };
  expect(await of('?stageId=s1')).toEqual([2, 3, 4]);
  expect(await of('?runId=r1&stageId=s1&attempt=2')).toEqual([4]);
  expect(await of('?runId=r1&text=MEMO')).toEqual([3, 4]);
  expect(await of('?runId=r1&text=%22of+memory%22&types=stage.failed')).toEqual([3]);
  expect(await of('?stageId=none')).toEqual([]);
  expect((await server.get('?attempt=x')).status).toBe(400);
});

test('[R9] NDJSON contains exactly the logged events, oldest first, and every filter narrows', async () => {
  const server = await serve();
  await publishTo(server, [
    created('r1', { name: 'Émile "x"\n' }),
    progress('r1', 5),
    created('r1', { projectId: 'other' }),
    created('r2'),
    progress('r2', 7),
  ]);
  const answer = await server.get('');
  expect(answer.status).toBe(200);
  expect(answer.headers.get('content-type')).toBe('application/x-ndjson; charset=utf-8');
  expect(answer.headers.get('content-disposition')).toBe('attachment; filename="runwire.ndjson"');
  const page: Page = await server.log.read({ scope: { kind: 'all' }, after: 0, limit: 9 });
  expect(await answer.text()).toBe(page.records.map(({ json }) => `${json}\n`).join(''));
  const of = async (query: string) => eventsOf(await (await server.get(query)).text()).map(({ seq }) => seq);
  expect(await of('?projectId=demo')).toEqual([1, 2, 4, 5]);
  expect(await of('?projectId=demo&runId=r1')).toEqual([1, 2]);
  expect(await of('?runId=r2&types=stage.progress,run.failed')).toEqual([5]);
  const [{ recordedAt }] = page.records.slice(4).map(({ event }) => event) as [RunEvent];
  expect(await of(`?until=${recordedAt}`)).toEqual(
    page.records.flatMap(({ seq, event }) => ((event as RunEvent).recordedAt < recordedAt ? [seq] : [])),
  );
  expect(await of('?since=2100-01-01T00:00:00Z')).toEqual([]);
  expect(await of('?projectId=unknown')).toEqual([]);
});

test('[R24] an export of a search has what event.search finds, newest first, up to its limit', async () => {
  const server = await serve();
  await publishTo(server, [
    ...Array.from({ length: 1_200 }, (_, at) => progress('r1', 1, { message: at % 2 ? 'disk full' : 'all well' })),
    created('r1', { projectId: 'other', name: 'Disk' }),
  ]);
  const of = async (query: string) => eventsOf(await (await server.get(query)).text()).map(({ seq }) => seq);
  const odd = Array.from({ length: 600 }, (_, index) => 1_200 - 2 * index);
  expect(await of('?text=disk')).toEqual([1_201, ...odd]);
  expect(await of('?text=disk&projectId=demo&actor=ci&actor=nobody')).toEqual(odd);
  expect(await of('?text=disk&limit=3')).toEqual([1_201, 1_200, 1_198]);
  expect(await of('?limit=2')).toEqual([1_201, 1_200]);
  expect(await of('?actor=nobody')).toEqual([]);
  expect(await of('?projectId=demo&projectId=other&types=run.created')).toEqual([1_201]);
  expect(await of('?runId=r1&projectId=other&text=disk')).toEqual([1_201]);
  const csv = await (await server.get('?text=disk&limit=1&format=csv')).text();
  expect(csv).toMatch(/^seq,[^\r\n]*\r\n1201,[^\r\n]*\r\n$/);
  const viewer = { authorization: `Bearer ${await tokenFor({ projects: ['other'], roles: ['viewer'] })}` };
  const found = await (await server.get('?text=disk&projectId=demo&projectId=other', viewer)).text();
  expect(eventsOf(found).map(({ seq }) => seq)).toEqual([1_201]);
  expect((await server.get('?limit=100001')).status).toBe(400);
  expect((await server.get('?text=a&text=b')).status).toBe(400);
});

test('[R10] CSV has a header and one line per event', async () => {
  const server = await serve();
  await publishTo(server, [created('r1', { name: '=HYPERLINK("x")' })]);
  const answer = await server.get('?format=csv&runId=r1');
  expect(answer.headers.get('content-type')).toBe('text/csv; charset=utf-8; header=present');
  expect(answer.headers.get('content-disposition')).toBe('attachment; filename="runwire-demo-r1.csv"');
  const text = await answer.text();
  expect(text).toMatch(/^seq,runSeq,eventId,type,[\w,]+,event\r\n1,1,[^\r\n]*\r\n$/);
  expect(text).toContain(`"'=HYPERLINK(""x"")"`);
  expect(await (await server.get('?format=csv&projectId=none')).text()).toMatch(/^seq,[^\r\n]*\r\n$/);
});

test('[R12] an export contains only readable events, and an unreadable run looks like an absent one', async () => {
  const server = await serve();
  await publishTo(server, [
    created('r1'),
    created('r1', { projectId: 'other' }),
    created('r2', { projectId: 'other' }),
  ]);
  const as = async (claims: Parameters<typeof tokenFor>[0], query: string) =>
    server.get(query, { authorization: `Bearer ${await tokenFor(claims)}` });
  const viewer = { projects: ['demo'], roles: ['viewer' as const] };
  expect(eventsOf(await (await as(viewer, '')).text()).map(({ seq }) => seq)).toEqual([1]);
  expect(eventsOf(await (await as(viewer, '?runId=r1')).text()).map(({ seq }) => seq)).toEqual([1]);
  for (const query of ['?projectId=other', '?projectId=unknown'])
    expect(await (await as(viewer, query)).text()).toBe('');
  const statuses = async (queries: string[], claims = viewer as Parameters<typeof tokenFor>[0]) =>
    Promise.all(
      queries.map(async (query) => {
        const { error } = (await (await as(claims, query)).json()) as { error: { code: string; path?: string } };
        return [error.code, error.path];
      }),
    );
  expect(await statuses(['?runId=r2', '?runId=unknown', '?projectId=other&runId=r2'])).toEqual(
    Array(3).fill(['RUN_NOT_FOUND', undefined]),
  );
  expect(await statuses(['?runId=r1'], {})).toEqual([['RUN_AMBIGUOUS', 'projectId']]);
  expect(await statuses([''], { roles: ['producer'] })).toEqual([['FORBIDDEN', undefined]]);
  expect(
    await statuses(['?types=nonsense', '?since=yesterday', '?format=xml', '?runId=a&runId=b', '?secret=4111']),
  ).toMatchObject([
    ['INVALID_INPUT', 'types.0'],
    ['INVALID_INPUT', 'since'],
    ['INVALID_INPUT', 'format'],
    ['INVALID_INPUT', undefined],
    ['INVALID_INPUT', undefined],
  ]);
});

test('[R12] an export takes a bearer token or a cookie, allows only GET, and has a safe file name', async () => {
  const server = await serve();
  await publishTo(server, [created('../..\\"a;b', { projectId: 'p/../q' })]);
  expect((await server.get('', {})).status).toBe(401);
  expect((await server.get('', { authorization: 'Bearer nonsense' })).status).toBe(401);
  expect(
    (await server.get('', { authorization: `Bearer ${await tokenFor()}`, origin: 'https://evil.example' })).status,
  ).toBe(403);
  const cookie = `runwire_${server.log.epoch}=${await tokenFor()}`;
  expect((await server.get('', { cookie })).status).toBe(401);
  expect((await server.get('', { cookie, 'sec-fetch-site': 'same-origin' })).status).toBe(200);
  const posted = await fetch(`${server.url}/api/v1/export`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await tokenFor()}` },
  });
  expect(posted.status).toBe(404);
  const named = await server.get(
    `?projectId=${encodeURIComponent('p/../q')}&runId=${encodeURIComponent('../..\\"a;b')}`,
  );
  expect(named.headers.get('content-disposition')).toBe('attachment; filename="runwire-p_._q-._.__a_b.ndjson"');
});

test('[R9] an attached server exports too', async () => {
  const server = await openServer();
  const host = createHttpServer((_request, response) => response.end('theirs'));
  server.attach(host);
  host.listen(0, '127.0.0.1');
  await once(host, 'listening');
  onTestFinished(async () => {
    await server.close();
    host.close();
  });
  await publishTo(server, [created('r1')]);
  const { port } = host.address() as AddressInfo;
  const answer = await fetch(`http://127.0.0.1:${port}/api/v1/export`, {
    headers: { authorization: `Bearer ${await tokenFor()}` },
  });
  expect(eventsOf(await answer.text())).toMatchObject([{ seq: 1 }]);
});

/** Starts an export of a large log over a socket, and counts reads of the log. */
async function bigExport(
  read: (log: EventLog, reads: number) => Promise<void> = async () => undefined,
  invalidReasonOf: () => TokenInvalidReason | undefined = () => undefined,
  stalledMs = 60_000,
  logFor = (log: EventLog) => log,
) {
  const folder = temporaryFolder();
  const server = await openServer({ databaseUrl: `file:${folder.path}/runwire.db`, retentionDays: 1 });
  await publishTo(
    server,
    Array.from({ length: 20_000 }, (_, at) => progress('r1', at % 100, { message: 'm'.repeat(500) })),
  );
  const { log } = server;
  let reads = 0;
  const counted = withMembers(log, {
    read: async (query) => {
      await read(log, ++reads);
      return log.read(query);
    },
  });
  const { logger } = keptLog();
  const access = new AccessLogger({ log, health: new Health(logger), isRefused: () => false });
  const write = createExport({
    registry: runwireEvents,
    log: logFor(counted),
    access,
    credentials: { invalidReasonOf: invalidReasonOf },
  });
  const served: { response: ServerResponse; done: Promise<unknown> }[] = [];
  const http = createHttpServer((message: IncomingMessage, response) => {
    closeWhenStalled(response, stalledMs);
    const done = Promise.resolve(write(message, response, everyone, undefined as never)).catch((error: unknown) => {
      response.destroy();
      return error;
    });
    served.push({ response, done });
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  onTestFinished(async () => {
    http.closeAllConnections();
    http.close();
    await server.close();
    folder[Symbol.dispose]();
  });
  const { port } = http.address() as AddressInfo;
  return { server, port, served, reads: () => reads };
}

/** Resolves in the first turn of the event loop in which `holds` returns true. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
}

test('[R11] the server reads only as much as the socket takes, and a client that resumes reading receives everything', async () => {
  const { port, served, reads } = await bigExport();
  const client = connect(port, '127.0.0.1');
  client.write('GET /api/v1/export HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
  await once(client, 'readable'); // Paused mode: received bytes stay in the socket.
  await until(() => served[0]?.response.writableNeedDrain === true);
  let quiet = 0;
  for (let seen = reads(); quiet < 500; quiet = reads() === seen ? quiet + 1 : 0, seen = reads()) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  // Of 14 MB: the kernel buffers and one page.
  expect(reads()).toBeLessThan(30);
  let text = '';
  for await (const chunk of client) text += chunk;
  expect(text.match(/"seq":\d+/g)?.length).toBe(20_000);
  expect(text.endsWith('\r\n0\r\n\r\n')).toBe(true);
});

test('[R11] the server stops reading when the client disconnects', async () => {
  const { port, served, reads } = await bigExport();
  const client = connect(port, '127.0.0.1');
  client.write('GET /api/v1/export HTTP/1.1\r\nhost: x\r\n\r\n');
  await once(client, 'readable');
  client.destroy();
  await served[0]?.done;
  expect(reads()).toBeLessThan(30);
});

test('[R11] a client that takes nothing for the stall limit is disconnected', async () => {
  const { port, served } = await bigExport(undefined, undefined, 300);
  const client = connect(port, '127.0.0.1');
  client.write('GET /api/v1/export HTTP/1.1\r\nhost: x\r\n\r\n');
  await once(client, 'readable');
  expect(await served[0]?.done).toBeUndefined();
  expect(served[0]?.response.destroyed).toBe(true);
  expect(served[0]?.response.writableFinished).toBe(false);
  client.destroy();
});

test('[R11] a client is not disconnected while the server has nothing to send', async () => {
  const stalledMs = 100;
  const slowly = async () => new Promise<void>((resolve) => setTimeout(resolve, 3 * stalledMs));
  const { port } = await bigExport(slowly, undefined, stalledMs);
  const answer = await fetch(`http://127.0.0.1:${port}/?types=run.failed`);
  expect([answer.status, await answer.text()]).toEqual([200, '']);
});

test('[R11] an export ends when its token is revoked or expires', async () => {
  let lapse: TokenInvalidReason | undefined;
  const onRead = async (_log: EventLog, reads: number) => {
    if (reads === 5) lapse = 'revoked';
  };
  const { port, served, reads } = await bigExport(onRead, () => lapse);
  await expect(fetch(`http://127.0.0.1:${port}/`).then((cut) => cut.text())).rejects.toThrow('terminated');
  expect(await served[0]?.done).toMatchObject({ code: 'UNAUTHENTICATED' });
  expect(reads()).toBe(5);
});

test('[R11] an export ends at the head of its start, and breaks off when unread events are trimmed', async () => {
  const late = { isPublished: false };
  const whole = await bigExport(async (log, reads) => {
    if (reads !== 2 || late.isPublished) return;
    late.isPublished = true;
    await log.append({
      actor: 'ci',
      drafts: [{ ...progress('r1', 1), eventId: 'late', timestamp: '2026-01-01T00:00:00.000Z' } as never],
    });
  });
  const answer = await fetch(`http://127.0.0.1:${whole.port}/`);
  expect(eventsOf(await answer.text()).at(-1)).toMatchObject({ seq: 20_000 });
  expect(whole.server.log.head).toBe(20_001);

  const broken = await bigExport(async (log, reads) => {
    if (reads === 5) await log.trim(Date.now() + 60_000);
  });
  await expect(fetch(`http://127.0.0.1:${broken.port}/`).then((cut) => cut.text())).rejects.toThrow('terminated');
  expect(await broken.served[0]?.done).toMatchObject({ code: 'UNAVAILABLE' });
});

test('[D38] an export on a node that is behind has every event that was acknowledged before it', async () => {
  let node: NodeOfLog | undefined;
  const behind = await bigExport(undefined, undefined, undefined, (log) => {
    node = nodeOf(log); // It has none of the events, and cannot read beyond its head.
    node.known.head = 10;
    return node;
  });
  const answer = fetch(`http://127.0.0.1:${behind.port}/`).then((response) => response.text());
  await until(() => behind.served.length > 0);
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
  expect(behind.reads()).toBe(0);
  node?.catchUp();
  expect(eventsOf(await answer)).toHaveLength(20_000);
});

test('[R11] a failure before the first page is an error with its status; a later failure resets the connection', async () => {
  const server = await serve({ logger: keptLog().logger });
  await publishTo(
    server,
    Array.from({ length: 20_000 }, () => progress('r1', 1, { message: 'm'.repeat(500) })),
  );
  const headers = { authorization: `Bearer ${await tokenFor()}` };
  const outcome = new Promise<string>((resolve) => {
    const call = request(`${server.url}/api/v1/export`, { headers }, (answer) => {
      answer.once('readable', () => {
        void server.log.close().then(() => {
          answer.on('data', () => undefined);
          answer.on('end', () => resolve('ended'));
          answer.on('error', () => resolve('broke'));
        });
      });
    });
    call.on('error', () => resolve('broke'));
    call.end();
  });
  expect(await outcome).toBe('broke');
  expect((await server.get('')).status).toBe(503);
});
