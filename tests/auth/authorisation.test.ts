import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { Action } from '../../server/auth/permissions.ts';
import type { Principal, Role } from '../../server/auth/principal.ts';
import { type ErrorCode, errorCodes } from '../../shared/errors.ts';
import type { RunEventDraft } from '../../shared/events.ts';
import { allRoles, everyone, startServer, tokenFor, Wire } from '../support/harness.ts';

/**
 * Every role on every procedure and route, over every transport. A new procedure or route needs a row in
 * {@link procedures} or {@link routes}; a test fails until the row exists.
 */

type Target = { projectId: string; runId: string };
const mine: Target = { projectId: 'mine', runId: 'run-mine' };
const theirs: Target = { projectId: 'theirs', runId: 'run-theirs' };
/** Another run of the same project. */
const sibling: Target = { projectId: 'mine', runId: 'run-sibling' };
/** As long as `theirs`, and absent. */
const absent: Target = { projectId: 'absent', runId: 'run-absent' };
/** Part of every text of a project, and of no other text. */
const canary = ({ projectId, runId }: Target) => `CANARY-${projectId}${runId === sibling.runId ? '-sibling' : ''}`;

type World = Awaited<ReturnType<typeof openWorld>>;
type Input = (target: Target, world: World) => object | undefined | Promise<object | undefined>;
type Entry = {
  type: 'query' | 'mutation' | 'subscription';
  /** The required permission; `none` needs a token only, and `everyone` no token over HTTP. */
  needs: Action | 'none' | 'everyone';
  input: Input;
  /**
   * The response without the permission: an error, or `silence`, a response without any text of the project.
   * `server`: the procedure concerns no project.
   */
  denied: ErrorCode | 'silence' | 'server' | ((mayRead: boolean, role: Role) => ErrorCode);
  /** Whether the permission also needs the project, where the action alone does not. */
  isOfProject?: true;
  /** It reads more than one run: nothing for a token of one run. */
  isOfAllRuns?: true;
  /** The response over transports that have no socket. */
  withoutSocket?: ErrorCode;
  /** Text of a permitted response, and of no other, in place of the text of the project. */
  shows?: string;
  hasNoText?: true;
};

/** The answer has positions and numbers, and no text of an event. */
const withoutText = { hasNoText: true } as const;
const query = (
  needs: Entry['needs'],
  denied: Entry['denied'],
  input: Input,
  more: { hasNoText?: true } = {},
): Entry => {
  return { type: 'query', needs, denied, input, ...more };
};
const mutation = (needs: Entry['needs'], denied: Entry['denied'], input: Input): Entry => {
  return { type: 'mutation', needs, denied, input };
};
const stream = (input: Input): Entry => ({ type: 'subscription', needs: 'read', denied: 'silence', input });
const isOfAllRuns = { isOfAllRuns: true } as const;
const nothing = () => undefined;
const pending: Input = async (target, world) => ({ ...target, approvalId: await world.ask(target) });
/** Erases an event made for it, because other cases need theirs. */
const erasable: Input = async (target, { bus }) => {
  const published = target === absent ? undefined : await bus.publish([drafts.progress(target)], { actor: 'ci' });
  return { seq: published?.seq ?? 1_000_000_000, reason: 'asked for' };
};
const readable: Input = async (target, { bus }) => {
  const eventId = randomUUID();
  if (target !== absent) await bus.publish([{ ...drafts.progress(target), eventId }], { actor: 'ci' });
  return { projectId: target.projectId, eventId };
};
const unerased = (_: boolean, role: Role) => (role === 'admin' ? 'EVENT_NOT_FOUND' : 'FORBIDDEN');
/** The connection of a user of the target's project, made for the case. */
const connected: Input = async (target, world) => ({ id: await world.join(target) });
const unconnected = (_: boolean, role: Role) => (role === 'admin' ? 'NOT_FOUND' : 'FORBIDDEN');
const undecided = (mayRead: boolean) => (mayRead ? 'NOT_ALLOWED_TO_DECIDE' : 'RUN_NOT_FOUND');

const unmanaged = (_: boolean, role: Role) => (role === 'admin' ? 'WEBHOOK_NOT_FOUND' : 'FORBIDDEN');
const settingsOf = ({ projectId }: Target) => ({
  name: `webhook of ${canary({ projectId, runId: '' })}`,
  url: 'https://127.0.0.1:9/',
  filter: { projects: [projectId], types: ['run.completed' as const] },
});
/** A procedure on a webhook of the project. */
const onWebhook = (type: 'query' | 'mutation', more: object = {}): Entry => ({
  ...{ type, needs: 'webhooks', denied: unmanaged, isOfProject: true },
  input: async (target, world) => ({ id: await world.webhookOf(target), ...more }),
});

const procedures: Record<string, Entry> = {
  onRunEvent: stream((target) => ({ ...target, from: 'start' })),
  onProjectEvent: { ...stream(({ projectId }) => ({ projectId, from: 'start' })), ...isOfAllRuns },
  onUserEvent: stream(() => ({ from: 'start' })),
  onEvent: stream(() => ({ from: 'start' })),
  onRunSummary: stream(({ projectId }) => ({ projectId, from: 'start' })),
  'run.get': query('read', 'RUN_NOT_FOUND', (target) => target),
  'run.at': query('read', 'RUN_NOT_FOUND', (target) => ({ ...target, runSeq: 1 })),
  'run.list': query('read', 'silence', ({ projectId }) => ({ projectId })),
  'run.history': query('read', 'RUN_NOT_FOUND', (target) => target),
  'run.positions': query('read', 'RUN_NOT_FOUND', (target) => target, withoutText),
  'run.counts': query('read', 'RUN_NOT_FOUND', (target) => target, withoutText),
  'event.publish': mutation('publish', 'FORBIDDEN', (target) => ({ events: [drafts.progress(target)] })),
  'event.get': query('read', 'EVENT_NOT_FOUND', readable),
  'approval.list': query('read', 'silence', nothing),
  'approval.get': query('read', 'RUN_NOT_FOUND', pending),
  'approval.grant': mutation('decide', undecided, pending),
  'approval.deny': mutation('decide', undecided, async (...args) => ({ ...(await pending(...args)), reason: 'no' })),
  'run.activity': {
    ...query('read', 'silence', ({ projectId }) => ({ projectId, since: '2000-01-01T00:00:00Z', buckets: 3 })),
    shows: '"open":{"',
    ...isOfAllRuns,
  },
  'project.list': { ...query('read', 'silence', nothing, withoutText), ...isOfAllRuns },
  'event.facets': query('read', 'silence', ({ projectId }) => ({ projectId })),
  'event.search': query('read', 'silence', (target) => ({ projectId: target.projectId, text: canary(target) })),
  'audit.access': query('audit', 'server', nothing),
  'audit.run': query('read', 'RUN_NOT_FOUND', (target) => target, withoutText),
  'audit.verify': query('verify', 'server', nothing),
  'audit.checkpoint': query('verify', 'server', nothing),
  'audit.erase': mutation('erase', unerased, erasable),
  'audit.confirmClock': mutation('clock', 'server', () => ({ now: new Date().toISOString() })),
  'webhook.list': query('webhooks', 'server', nothing),
  'webhook.get': onWebhook('query'),
  'webhook.create': { ...mutation('webhooks', 'server', settingsOf), isOfProject: true },
  'webhook.update': onWebhook('mutation', { name: 'Another' }),
  'webhook.delete': onWebhook('mutation'),
  'webhook.pause': onWebhook('mutation'),
  'webhook.resume': onWebhook('mutation'),
  'webhook.rotateSecret': onWebhook('mutation'),
  'webhook.test': onWebhook('mutation'),
  'webhook.preview': {
    ...query('webhooks', 'server', (target) => ({ filter: settingsOf(target).filter })),
    isOfProject: true,
  },
  'webhook.deliveries': onWebhook('query'),
  'webhook.delivery': {
    ...onWebhook('query'),
    input: async (target, world) => {
      const id = await world.webhookOf(target);
      const [attempt] = (await world.log.webhooks.tries(id, { limit: 1 })).items;
      return { id, deliveryId: attempt?.id ?? 1_000_000_000 };
    },
  },
  'webhook.deadLetters': onWebhook('query'),
  'webhook.redeliver': onWebhook('mutation', { all: true }),
  'webhook.drop': onWebhook('mutation', { all: true }),
  'webhook.replay': onWebhook('mutation', { fromSeq: 1 }),
  'server.stats': query('stats', 'server', nothing),
  'server.history': query('stats', 'server', nothing),
  'server.record': query('stats', 'server', nothing),
  'server.drain': mutation('erase', unconnected, connected),
  'server.disconnect': mutation('erase', unconnected, connected),
  'auth.me': query('none', 'server', nothing),
  'auth.modes': query('everyone', 'server', nothing),
  'auth.refresh': { ...mutation('none', 'server', (_, { token }) => ({ token })), withoutSocket: 'INVALID_INPUT' },
  'auth.revoke': mutation('revoke', 'server', () => ({ jti: randomUUID() })),
};

type Route = {
  /** `everyone`: needs no token. */
  needs: Action | 'everyone';
  method?: 'POST';
  body?: (target: Target) => unknown;
  status: number;
  search?: (target: Target) => string;
  /** Publishes to the only project of its token, whatever the message contains. */
  isOfOnlyProject?: boolean;
};
const lineage = ({ projectId, runId }: Target) => ({
  eventType: 'START',
  eventTime: new Date().toISOString(),
  producer: 'https://example.org',
  schemaURL: 'https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent',
  run: { runId: `${runId}-${randomUUID()}` },
  job: { namespace: projectId, name: 'job' },
});

/** Rows for `/trpc/*` (see {@link procedures}) and for the web app. */
const unlisted = ['/trpc/*', '/*'];
const routes: Record<string, Route> = {
  '/healthz': { needs: 'everyone', status: 200 },
  '/readyz': { needs: 'everyone', status: 200 },
  '/metrics': { needs: 'everyone', status: 200 },
  '/login': { needs: 'everyone', status: 401 }, // The token is in the query string.
  '/auth/logout': { needs: 'everyone', method: 'POST', status: 204 },
  // Without OpenID Connect, there is no such path. tests/auth/oidc.test.ts has the others.
  '/auth/login': { needs: 'everyone', status: 404 },
  '/auth/callback': { needs: 'everyone', status: 404 },
  '/auth/renew': { needs: 'everyone', method: 'POST', status: 404 },
  '/auth/token': { needs: 'everyone', method: 'POST', body: () => ({ token: 'x' }), status: 401 }, // In the body.
  '/api/v1/events': { needs: 'publish', method: 'POST', body: (target) => drafts.progress(target), status: 200 },
  '/api/v1/export': { needs: 'read', search: ({ projectId }) => `?projectId=${projectId}`, status: 200 },
  '/api/v1/lineage': { needs: 'publish', method: 'POST', body: lineage, status: 200, isOfOnlyProject: true },
  '/api/v1/lineage/batch': {
    needs: 'publish',
    method: 'POST',
    body: (target) => [lineage(target)],
    status: 204,
    isOfOnlyProject: true,
  },
  '/api/v1/*': { needs: 'everyone', status: 404 },
};

/** The table of rule A3 in SPEC.md, written independently of the code. */
const rolesFor: Record<Action, Role[]> = {
  read: ['viewer', 'approver', 'admin'],
  publish: ['producer', 'admin'],
  decide: ['approver'],
  revoke: ['admin'],
  stats: ['admin'],
  audit: ['admin'],
  verify: ['admin'],
  erase: ['admin'],
  clock: ['admin'],
  webhooks: ['admin'],
};
type Holder = { role: Role; projects: string[] };
const holders: Holder[] = allRoles.flatMap((role) =>
  [['mine'], ['theirs'], ['mine', 'theirs'], ['*'], []].map((projects) => ({ role, projects })),
);
function may({ role, projects }: Holder, needs: Entry['needs'], target: Target): boolean {
  if (needs === 'none' || needs === 'everyone') return true;
  if (!rolesFor[needs].includes(role)) return false;
  if (needs === 'stats' || needs === 'audit' || needs === 'verify' || needs === 'webhooks') return true;
  return projects.includes('*') || (needs !== 'revoke' && needs !== 'clock' && projects.includes(target.projectId));
}

const drafts = {
  created: (target: Target): RunEventDraft => ({
    type: 'run.created',
    ...target,
    name: canary(target),
    createdBy: 'ada',
    labels: { of: canary(target) },
  }),
  progress: (target: Target): RunEventDraft => ({
    type: 'stage.progress',
    ...target,
    stageId: 's1',
    message: canary(target),
    audience: ['ada'],
  }),
  required: (target: Target, approvalId: string): RunEventDraft => ({
    type: 'governance.required',
    ...target,
    approvalId,
    title: canary(target),
  }),
};

/** A server with two projects of equal content, and a connected user of each. */
async function openWorld() {
  const limits = { publishedPerSecond: 1_000_000 };
  const server = await startServer({ quietMs: 50, webhookAllow: ['127.0.0.1'], limits });
  const token = await tokenFor({ sub: 'ada' });
  const world = {
    ...server,
    token,
    /** Publishes an approval request, and returns its id. */
    ask: async (target: Target): Promise<string> => {
      const approvalId = randomUUID();
      if (target !== absent) await server.bus.publish([drafts.required(target, approvalId)], { actor: 'ci' });
      return approvalId;
    },
    /** Connects a user of the target's project, and returns the id of the connection. */
    join: async (target: Target): Promise<number> => {
      if (target === absent) return 1_000_000_000;
      const sub = randomUUID();
      const wire = await Wire.open(server.url, { token: await tokenFor({ sub, projects: [target.projectId] }) });
      wires.push(wire);
      await wire.call('query', 'auth.me');
      return server.getStats().clients.find((client) => client.sub === sub)?.id ?? 0;
    },
    /** Creates a webhook with one try, and returns its id. */
    webhookOf: async (target: Target): Promise<string> => {
      const { webhook } = server.router.createCaller({ principal: everyone });
      const { id } = (await webhook.create(settingsOf(target))).webhook;
      const about = { kind: 'event', seq: 1, messageId: 'msg_1', type: 'run.created', attempt: 1 } as const;
      const attempt = { ...about, at: new Date().toISOString(), ms: 1, answer: canary(target) };
      const position = { epoch: server.log.epoch, scannedTo: server.log.head };
      await server.log.webhooks.advance(id, { position, tries: [attempt] });
      return id;
    },
    /** Publishes to both projects; resolves with the head. */
    stir: async (): Promise<number> => {
      await server.bus.publish([theirs, sibling, mine].map(drafts.progress), { actor: 'ci' });
      return server.log.head;
    },
    [Symbol.asyncDispose]: async () => {
      for (const wire of wires) await wire[Symbol.asyncDispose]();
      await server.close();
    },
  };
  const wires: Wire[] = [];
  for (const target of [mine, theirs, sibling]) {
    await server.bus.publish([drafts.created(target), drafts.progress(target)], { actor: canary(target) });
    await world.ask(target);
    if (target === sibling) continue;
    const user = await tokenFor({ sub: canary(target), projects: [target.projectId] });
    const wire = await Wire.open(server.url, { token: user });
    wires.push(wire);
    await wire.call('query', 'auth.me');
  }
  return world;
}

type Answer = { code: ErrorCode | 'ok'; text: string };
/** Calls a procedure over one transport. A subscription runs until it has delivered a later event. */
type Face = (path: string, entry: Entry, input: object | undefined) => Promise<Answer>;

const answerOf = (body: { error?: { data: { runwireCode: ErrorCode } } }): Answer => {
  return { code: body.error?.data.runwireCode ?? 'ok', text: JSON.stringify(body) };
};
const positionIn = (text: string) =>
  Math.max(0, ...[...text.matchAll(/"(?:seq|lastSeq)":(\d+)/g)].map((match) => Number(match[1])));

const faces: Record<string, (world: World, token: string, principal: Principal) => Promise<Face & AsyncDisposable>> = {
  WebSocket: async (world, token) => {
    const wire = await Wire.open(world.url, { token });
    const face: Face = async (path, { type }, input) => {
      if (type !== 'subscription') return answerOf((await wire.call(type, path, input)) as never);
      const asked = wire.subscribe(path, input);
      const text = () => JSON.stringify(asked.messages);
      await wire.until(() => text().includes('stream.live') || text().includes('"error"'));
      const head = await world.stir();
      await wire.until(() => positionIn(text()) >= head);
      asked.stop();
      return { code: 'ok', text: text() };
    };
    return Object.assign(face, { [Symbol.asyncDispose]: () => wire[Symbol.asyncDispose]() });
  },
  HTTP: async (world, token) => {
    const face: Face = async (path, { type }, input) => {
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
      const body = JSON.stringify(input ?? {});
      if (type === 'mutation') {
        const response = await fetch(`${world.url}/trpc/${path}`, { method: 'POST', headers, body });
        return checked(response);
      }
      const search = input === undefined ? '' : `?input=${encodeURIComponent(body)}`;
      if (type === 'query') return checked(await fetch(`${world.url}/trpc/${path}${search}`, { headers }));
      const stop = new AbortController();
      const accept = { ...headers, accept: 'text/event-stream' };
      const response = await fetch(`${world.url}/trpc/${path}${search}`, { headers: accept, signal: stop.signal });
      const decoder = new TextDecoder();
      let text = '';
      let head: number | undefined;
      for await (const chunk of response.body ?? []) {
        text += decoder.decode(chunk, { stream: true });
        if (text.includes('stream.live')) head ??= await world.stir();
        if (head !== undefined && positionIn(text) >= head) break;
      }
      stop.abort();
      const code = /"runwireCode":"(\w+)"/.exec(text)?.[1] as ErrorCode | undefined;
      return { code: code ?? 'ok', text };
    };
    return Object.assign(face, { [Symbol.asyncDispose]: async () => undefined });
  },
  caller: async (world, _token, principal) => {
    const caller = world.router.createCaller({ principal });
    const face: Face = async (path, { type }, input) => {
      const call = path.split('.').reduce<unknown>((of, name) => (of as Record<string, unknown>)[name], caller);
      try {
        const answer = await (call as (input: unknown) => Promise<unknown>)(input);
        if (type !== 'subscription') return { code: 'ok', text: JSON.stringify(answer) };
        const items: unknown[] = [];
        let head: number | undefined;
        for await (const item of answer as AsyncIterable<unknown>) {
          items.push(item);
          const text = JSON.stringify(items);
          if (text.includes('stream.live')) head ??= await world.stir();
          if (head !== undefined && positionIn(text) >= head) break;
        }
        return { code: 'ok', text: JSON.stringify(items) };
      } catch (error) {
        const { cause, message } = error as { cause: { code: ErrorCode }; message: string };
        return { code: cause.code, text: message };
      }
    };
    return Object.assign(face, { [Symbol.asyncDispose]: async () => undefined });
  },
};

/** Checks that the status matches the error code. */
async function checked(response: Response): Promise<Answer> {
  const answer = answerOf((await response.json()) as never);
  expect(response.status).toBe(answer.code === 'ok' ? 200 : errorCodes[answer.code]);
  return answer;
}

describe('the tables of this file', () => {
  test('[A15] contain every procedure of the router', async () => {
    await using world = await openWorld();
    expect(Object.keys(procedures).sort()).toEqual(Object.keys(world.router._def.procedures).sort());
    for (const [path, { type }] of Object.entries(procedures)) {
      const procedure = world.router._def.procedures[path as never] as { _def: { type: string } };
      expect(procedure._def.type, path).toBe(type);
    }
  });

  test('[A15] contain every HTTP route', async () => {
    await using world = await openWorld();
    expect(world.routes.map(({ path }) => path).sort()).toEqual([...Object.keys(routes), ...unlisted].sort());
    for (const { path, auth } of world.routes) {
      if (unlisted.includes(path)) continue;
      const isOpen = auth === 'none' || auth === 'link' || auth === 'page';
      expect(routes[path]?.needs === 'everyone', path).toBe(isOpen);
    }
  });

  test('[A15] docs/protocol.md lists every route of the library with its method', async () => {
    await using world = await openWorld();
    const page = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8');
    const table = page.slice(page.indexOf('## The endpoints')).split('\n## ', 2).join();
    const listed = world.routes.filter(({ isAttachable, auth }) => isAttachable && auth !== 'none');
    expect(listed.length).toBeGreaterThan(3);
    for (const { methods, path } of listed) {
      const row = table.split('\n').find((line) => line.includes(`${path.replace('*', '<procedure>')}\``));
      expect(row, path).toBeDefined();
      if (methods !== 'any') expect(row, path).toContain(`\`${methods[0]} `);
    }
  });
});

describe.each(Object.keys(faces))('over %s', (name) => {
  test.concurrent.each(holders)(
    '[A15] $role of $projects: every procedure gives the expected response on a readable and on a foreign project',
    async (holder) => {
      await using world = await openWorld();
      const { role, projects } = holder;
      const principal: Principal = { sub: 'ada', projects, roles: [role] };
      const token = await tokenFor({ sub: 'ada', projects, roles: [role] });
      await using face = await (faces[name] as (typeof faces)[string])(world, token, principal);
      const asked = Object.entries(procedures).flatMap(([path, entry]) =>
        [mine, theirs].map((target) => ({ path, entry, target })),
      );
      await Promise.all(
        asked.map(async ({ path, entry, target }) => {
          const input = await entry.input(target, { ...world, token });
          const { code, text } = await face(path, entry, input);
          const covers = projects.includes('*') || projects.includes(target.projectId);
          const is = may(holder, entry.needs, target) && (covers || !entry.isOfProject);
          const where = `${path} on ${target.projectId}`;
          if (entry.withoutSocket && name !== 'WebSocket') expect(code, where).toBe(entry.withoutSocket);
          else if (is) expect(code, where).toBe('ok');
          else if (entry.denied === 'silence') expect(code, where).toBe('ok');
          else if (entry.denied === 'server') expect(code, where).toBe('FORBIDDEN');
          else if (typeof entry.denied === 'string') expect(code, where).toBe(entry.denied);
          else expect(code, where).toBe(entry.denied(may(holder, 'read', target), role));
          // A permitted caller sees the text of the project; no other response contains it, replayed or live.
          if (!is && entry.shows) expect(text, where).not.toContain(entry.shows);
          if (is && entry.needs === 'read' && !entry.hasNoText)
            expect(text, where).toContain(entry.shows ?? canary(target));
          for (const project of [mine, theirs]) {
            const isStats =
              entry.needs === 'stats' && is && (projects.includes('*') || projects.includes(project.projectId));
            if (may(holder, 'read', project) || isStats) continue;
            expect(text, `${where}: what is said of ${project.projectId}`).not.toContain(canary(project));
          }
        }),
      );
    },
  );
});

/** What a token of the run `mine` may do, by role: the actions of the run alone. */
const rolesOfRun: Partial<Record<Entry['needs'], Role[]>> = {
  read: rolesFor.read,
  publish: rolesFor.publish,
  decide: rolesFor.decide,
};

describe.each(Object.keys(faces))('over %s', (name) => {
  test.concurrent.each(allRoles)(
    '[A50] %s with a token of one run: every procedure gives that run, and nothing of another run of the project',
    async (role) => {
      await using world = await openWorld();
      const claims = { sub: 'ada', projects: ['mine'], roles: [role], runId: mine.runId };
      const token = await tokenFor(claims);
      await using face = await (faces[name] as (typeof faces)[string])(world, token, claims);
      const asked = Object.entries(procedures).flatMap(([path, entry]) =>
        [mine, sibling, theirs].map((target) => ({ path, entry, target })),
      );
      await Promise.all(
        asked.map(async ({ path, entry, target }) => {
          const { needs, denied } = entry;
          const { code, text } = await face(path, entry, await entry.input(target, { ...world, token }));
          const mayRead = target === mine && rolesFor.read.includes(role);
          const isOpen = needs === 'none' || needs === 'everyone';
          const is = isOpen || (target === mine && !entry.isOfAllRuns && rolesOfRun[needs]?.includes(role) === true);
          const where = `${path} on ${target.runId}`;
          if (entry.withoutSocket && name !== 'WebSocket') expect(code, where).toBe(entry.withoutSocket);
          else if (is || denied === 'silence') expect(code, where).toBe('ok');
          else if (!rolesOfRun[needs] || denied === 'server') expect(code, where).toBe('FORBIDDEN');
          else expect(code, where).toBe(typeof denied === 'string' ? denied : denied(mayRead, role));
          if (is && needs === 'read' && !entry.hasNoText) expect(text, where).toContain(canary(mine));
          if (entry.isOfAllRuns || !mayRead) expect(text, where).not.toContain(entry.shows ?? canary(target));
          for (const other of [sibling, theirs]) {
            expect(text, where).not.toContain(canary(other));
            expect(text, where).not.toContain(other.runId);
          }
        }),
      );
    },
  );
});

describe('routes', () => {
  test.each(allRoles)(
    '[A50] %s with a token of one run: every route gives that run, and nothing of another run of the project',
    async (role) => {
      await using world = await openWorld();
      const token = await tokenFor({ projects: ['mine'], roles: [role], runId: mine.runId });
      const headers = { authorization: `Bearer ${token}` };
      for (const [path, route] of Object.entries(routes)) {
        for (const target of [mine, sibling, theirs]) {
          const where = `${path} on ${target.runId}`;
          const ofRun = route.needs === 'read' ? { ...route, search: searchOf } : route;
          const { head: after } = world.log;
          const { status, text } = await request(world, path, ofRun, target, headers);
          const isAllowed = route.needs === 'everyone' || rolesOfRun[route.needs]?.includes(role) === true;
          // The run of an OpenLineage message is another one here.
          const is = isAllowed && (route.needs === 'everyone' || (target === mine && !route.isOfOnlyProject));
          if (is) expect(status, where).toBe(route.status);
          else if (path.endsWith('/batch') && status === 200) expect(text, where).toContain('"successful":0');
          else if (route.needs === 'read' && isAllowed) expect(status, where).toBe(404);
          else expect(status, where).toBe(403);
          if (is && route.needs === 'read') expect(text, where).toContain(canary(mine));
          const { records } = await world.log.read({ scope: { kind: 'all' }, after, limit: 100 });
          expect(records.length > 0, where).toBe(is && route.needs === 'publish');
          for (const other of [sibling, theirs]) expect(text, where).not.toContain(canary(other));
        }
      }
      for (const search of ['', '?projectId=mine', '?limit=1000', '?projectId=mine&limit=1000']) {
        const text = await (await fetch(`${world.url}/api/v1/export${search}`, { headers })).text();
        for (const other of [sibling, theirs]) expect(text, search).not.toContain(canary(other));
        const isNarrowed = rolesFor.read.includes(role) && search !== '?projectId=mine';
        expect(text.includes(canary(mine)), search).toBe(isNarrowed);
      }
    },
  );

  test.each(holders)(
    '[A15] $role of $projects: every route gives the expected response on a readable and on a foreign project',
    async (holder) => {
      await using world = await openWorld();
      const token = await tokenFor({ sub: 'ada', projects: holder.projects, roles: [holder.role] });
      for (const [path, route] of Object.entries(routes)) {
        for (const target of [mine, theirs]) {
          const where = `${path} on ${target.projectId}`;
          const { head: after } = world.log;
          const { status, text } = await request(world, path, route, target, { authorization: `Bearer ${token}` });
          const [only, ...others] = holder.projects;
          const isOfOnly = route.isOfOnlyProject && only !== undefined && others.length === 0 && only !== '*';
          const into = isOfOnly ? { ...target, projectId: only } : target;
          const is = route.needs === 'everyone' || may(holder, route.needs, into);
          if (is) expect(status, where).toBe(route.status);
          // Each event of a batch is checked by itself.
          else if (path.endsWith('/batch') && status === 200) expect(text, where).toContain('"successful":0');
          else if (route.needs === 'read' && rolesFor.read.includes(holder.role)) expect(status, where).toBe(200);
          else expect(status, where).toBe(403);
          if (is && route.needs === 'read') expect(text, where).toContain(canary(target));
          const { records } = await world.log.read({ scope: { kind: 'all' }, after, limit: 100 });
          expect(records.length > 0, where).toBe(is && route.needs === 'publish');
          for (const record of records) expect(may(holder, 'publish', record), where).toBe(true);
          if (!may(holder, 'read', theirs)) expect(text, where).not.toContain(canary(theirs));
          if (!may(holder, 'read', mine)) expect(text, where).not.toContain(canary(mine));
        }
      }
    },
  );
});

const searchOf = ({ projectId, runId }: Target) => `?projectId=${projectId}&runId=${runId}`;

async function request(world: World, path: string, route: Route, target: Target, headers: Record<string, string>) {
  const { method = 'GET', body, search } = route;
  const response = await fetch(`${world.url}${path}${search?.(target) ?? ''}`, {
    method,
    redirect: 'manual',
    headers: { ...headers, 'content-type': 'application/json' },
    ...(body ? { body: JSON.stringify(body(target)) } : {}),
  });
  return { status: response.status, text: await response.text(), headers: response.headers };
}

describe('invalid credentials', () => {
  const bad: Record<string, { token: () => Promise<string | null>; close: number }> = {
    none: { token: async () => null, close: 4401 },
    expired: { token: () => tokenFor({ ttlSeconds: -1 }), close: 4401 },
    revoked: { token: () => tokenFor({ sub: 'gone' }), close: 4403 },
    'of another server': { token: () => tokenFor({ secret: 'another secret that is also long enough' }), close: 4401 },
  };

  test.each(Object.entries(bad))(
    '[A15] %s: no procedure and no route responds with data',
    async (_name, { token: make, close }) => {
      await using world = await openWorld();
      const token = await make();
      await world.router.createCaller({ principal: everyone }).auth.revoke({ sub: 'gone' });
      const authorization: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
      const inputs = new Map<string, object | undefined>();
      for (const [path, { input }] of Object.entries(procedures)) inputs.set(path, await input(mine, world));
      const { head } = world.log;
      for (const [path, { type }] of Object.entries(procedures)) {
        const body = JSON.stringify(inputs.get(path) ?? {});
        const isMutation = type === 'mutation';
        const accept: Record<string, string> = type === 'subscription' ? { accept: 'text/event-stream' } : {};
        const response = await fetch(
          `${world.url}/trpc/${path}${isMutation ? '' : `?input=${encodeURIComponent(body)}`}`,
          {
            method: isMutation ? 'POST' : 'GET',
            headers: { ...authorization, ...accept, 'content-type': 'application/json' },
            ...(isMutation ? { body } : {}),
          },
        );
        const text = await response.text();
        expect(text, path).not.toContain('CANARY');
        if (procedures[path]?.needs === 'everyone') {
          expect(response.status, path).toBe(200);
          continue;
        }
        expect(text, path).toContain('UNAUTHENTICATED');
        if (type !== 'subscription') expect(response.status, path).toBe(401);
      }
      for (const [path, route] of Object.entries(routes)) {
        const { status, text } = await request(world, path, route, mine, authorization);
        expect(status, path).toBe(route.needs === 'everyone' ? route.status : 401);
        expect(text, path).not.toContain('CANARY');
      }
      await using wire = await Wire.open(world.url, { token });
      let id = 0;
      for (const [path, { type }] of Object.entries(procedures)) {
        wire.send({ id: ++id, method: type, params: { path, input: inputs.get(path) } });
      }
      expect((await wire.closed).code).toBe(close);
      expect(wire.messages).toEqual([]);
      expect(world.log.head).toBe(head);
    },
  );
});

describe('data of other projects', () => {
  const holder = { sub: 'eve', projects: ['mine'] };
  /** Replaces the ids of one target by those of the other. */
  const alike = (text: string) => text.replaceAll('absent', 'theirs').replace(/[0-9a-f-]{36}/g, 'id');

  test.each(allRoles)('[A4] a %s receives byte for byte the response for absent data', async (role) => {
    await using world = await openWorld();
    const token = await tokenFor({ ...holder, roles: [role] });
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const ask = async (target: Target, path: string, { type, input }: Entry) => {
      const body = JSON.stringify((await input(target, { ...world, token })) ?? {});
      const isMutation = type === 'mutation';
      const search = isMutation ? '' : `?input=${encodeURIComponent(body)}`;
      const init = isMutation ? { method: 'POST', headers, body } : { headers };
      return wholeOf(await fetch(`${world.url}/trpc/${path}${search}`, init));
    };
    for (const [path, entry] of Object.entries(procedures)) {
      if (entry.type === 'subscription' || entry.denied === 'server') continue;
      const [there, not] = [await ask(theirs, path, entry), await ask(absent, path, entry)];
      // Positions advance with every event in the log, and are allowed to differ.
      const still = (text: string) => alike(text).replace(/"position":"[^"]*"/, '');
      expect(still(there), path).toBe(still(not));
    }
    for (const [path, route] of Object.entries(routes)) {
      if (route.needs === 'everyone') continue;
      const [there, not] = await Promise.all(
        [theirs, absent].map(async (target) => {
          const { status, text, headers: got } = await request(world, path, route, target, headers);
          return alike(`${status} ${text} ${got.get('content-length')}`);
        }),
      );
      expect(there, path).toBe(not);
    }
  });

  test('[A4] a cursor of a permitted user gives no access', async () => {
    await using world = await openWorld();
    const all = world.router.createCaller({ principal: everyone });
    const cursors: string[] = [];
    for await (const [cursor, item] of await all.onProjectEvent({ projectId: 'theirs', from: 'start' })) {
      cursors.push(cursor);
      if (item.type === 'stream.live') break;
    }
    const { cursor } = await all.run.get(theirs);
    const [list, history, approvals] = [
      await all.run.list({ limit: 1 }),
      await all.run.history({ ...theirs, limit: 1 }),
      await all.approval.list({ limit: 1 }),
    ];
    await using wire = await Wire.open(world.url, { token: await tokenFor({ ...holder, roles: ['viewer'] }) });
    for (const lastEventId of [...cursors, cursor]) {
      for (const [path, { type, input }] of Object.entries(procedures)) {
        if (type !== 'subscription') continue;
        for (const target of [mine, theirs]) {
          const asked = wire.subscribe(path, await input(target, world), lastEventId);
          await wire.until(() => JSON.stringify(asked.messages).includes('stream.live'));
          const head = await world.stir();
          await wire.until(() => positionIn(JSON.stringify(asked.messages)) >= head);
          asked.stop();
        }
      }
    }
    const answers = [
      await wire.call('query', 'run.list', { cursor: list.nextCursor }),
      await wire.call('query', 'run.history', { ...theirs, cursor: history.nextCursor }),
      await wire.call('query', 'run.history', { ...mine, cursor: history.nextCursor }),
      await wire.call('query', 'approval.list', { cursor: approvals.nextCursor }),
    ];
    expect(answers.map(({ error }) => error?.data.runwireCode ?? 'ok')).toEqual(['ok', 'RUN_NOT_FOUND', 'ok', 'ok']);
    expect(wire.texts.join()).toContain(canary(mine));
    expect(wire.texts.join()).not.toContain(canary(theirs));
  });

  test('[A4] the response takes as long as for absent data', async () => {
    await using world = await openWorld();
    // A read of this large run before the check would show in the times.
    const stages = Array.from({ length: 2_000 }, (_, index) => ({ stageId: `s${index}`, name: `Stage ${index}` }));
    const [begin, end] = [stages.slice(0, 500), stages.slice(500, 1_000)];
    await world.bus.publish([{ ...drafts.created(theirs), stages: begin } as RunEventDraft], { actor: 'ci' });
    await world.bus.publish(
      end.map(({ stageId }) => ({ type: 'stage.started', ...theirs, stageId })),
      { actor: 'ci' },
    );
    const more = Array.from({ length: 900 }, (_, index) => drafts.created({ ...theirs, runId: `run-${index}` }));
    await world.bus.publish(more, { actor: 'ci' });
    const caller = world.router.createCaller({ principal: { ...holder, roles: ['viewer', 'approver'] } });
    const calls: Record<string, (target: Target) => Promise<unknown>> = {
      'run.get': ({ runId }) => caller.run.get({ runId }),
      'run.get, by project': (target) => caller.run.get(target),
      'run.history': (target) => caller.run.history(target),
      'run.list': ({ projectId }) => caller.run.list({ projectId, text: 'nowhere' }),
      'approval.grant': (target) => caller.approval.grant({ ...target, approvalId: 'a' }),
      onRunEvent: async ({ runId }) => {
        for await (const _ of await caller.onRunEvent({ runId, from: 'start' })) break;
      },
      'onRunEvent, by project': async (target) => {
        for await (const _ of await caller.onRunEvent({ ...target, from: 'start' })) break;
      },
    };
    for (const [name, call] of Object.entries(calls)) {
      const took = { theirs: [] as number[], absent: [] as number[] };
      for (let round = 0; round < 330; round++) {
        for (const target of round % 2 === 0 ? [theirs, absent] : [absent, theirs]) {
          const begun = performance.now();
          await call(target).catch(() => undefined);
          if (round >= 30) took[target.projectId as 'theirs' | 'absent'].push(performance.now() - begun);
        }
      }
      // The share of pairs in which the one call takes longer: about a half when both are equal, under any load.
      const share = shareOfGreater(took.theirs, took.absent);
      expect(share, name).toBeGreaterThan(0.4);
      expect(share, name).toBeLessThan(0.6);
    }
  });
});

/** The Mann–Whitney U as a share: with 300 of each and no difference, outside 0.4–0.6 once in 10,000 runs. */
function shareOfGreater(some: number[], others: number[]): number {
  let greater = 0;
  for (const one of some) for (const other of others) greater += one > other ? 1 : one === other ? 0.5 : 0;
  return greater / (some.length * others.length);
}

/** Status, headers and body, without the headers that state the time. */
async function wholeOf(response: Response): Promise<string> {
  const headers = [...response.headers].filter(([name]) => name !== 'date' && name !== 'runwire-time');
  return JSON.stringify([response.status, headers, await response.text()]);
}
