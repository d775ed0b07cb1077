import { readFileSync } from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import { createRunwireHooks, eventMatcher } from '../client/hooks/index.ts';
import { createConnection, createRunwireClient, fetchRun, prefetchRun, prefetchRuns } from '../client/index.ts';
import { createPublisher } from '../client/publisher/index.ts';
import { createRunwireReact } from '../client/react/index.ts';
import { createRunwireTanstack } from '../client/tanstack/index.ts';
import { can, createRunServer, signToken } from '../server/index.ts';
import {
  categoriesOf,
  defineEvent,
  draftSchemaOf,
  eventSchemaOf,
  foldEvent,
  foldOf,
  isSignal,
  RunMemory,
  RunwireError,
} from '../shared/index.ts';
import { created, everyone, openServer, secret } from './support/harness.ts';

/** Arguments of public functions that the types refuse, as a caller in JavaScript may give them. */

const ours = { databaseUrl: 'memory:', authSecret: secret };
const ofServer = async () => {
  const server = await openServer();
  onTestFinished(() => server.close());
  return server;
};

/** For each argument of a public function, by the path of its error: a call with a value in its place. */
const calls: { [call: string]: [path: string, (value: never) => unknown] } = {
  'createRunServer(…)': ['options', (value) => createRunServer(value)],
  'bus.publish(…, publisher)': ['events', async (value) => (await ofServer()).bus.publish(value, { actor: 'ada' })],
  'bus.publish(drafts, …)': ['publisher', async (value) => (await ofServer()).bus.publish([created('r1')], value)],
  'approvals.wait(…)': ['options', async (value) => (await ofServer()).approvals.wait(value)],
  'can(…, action)': ['principal', (value) => can(value, 'read')],
  'can(principal, …)': ['action', (value) => can(everyone, value)],
  'can(principal, action, …)': ['resource', (value) => can(everyone, 'read', value)],
  'signToken(…, claims)': ['options', (value) => signToken(value, { sub: 'ada', projects: ['*'], roles: [] })],
  'signToken(options, …)': ['claims', (value) => signToken({ secret }, value)],
  'createConnection(…)': ['options', (value) => createConnection(value)],
  'createRunwireClient(…)': ['options', (value) => createRunwireClient(value)],
  'fetchRun(…, options)': ['client', (value) => fetchRun(value, { runId: 'r1' })],
  'fetchRun(client, …)': ['options', (value) => fetchRun({} as never, value)],
  'prefetchRun(…, runwire, run)': ['queryClient', (value) => prefetchRun(value, {} as never, { runId: 'r1' })],
  'prefetchRun(queryClient, …, run)': ['runwire', (value) => prefetchRun({} as never, value, { runId: 'r1' })],
  'prefetchRun(queryClient, runwire, …)': ['run', (value) => prefetchRun({} as never, {} as never, value)],
  'prefetchRuns(queryClient, …)': ['runwire', (value) => prefetchRuns({} as never, value)],
  'prefetchRuns(queryClient, runwire, …)': ['query', (value) => prefetchRuns({} as never, {} as never, value)],
  'createPublisher(…)': ['options', (value) => createPublisher(value)],
  'createPublisher({ url: … })': ['url', (value) => createPublisher({ url: value, token: 'a token' })],
  'createRunwireClient({ url: … })': ['url', (value) => createRunwireClient({ url: value })],
  'eventMatcher(…)': ['filter', (value) => eventMatcher(value)],
  'defineEvent(…)': ['definition', (value) => defineEvent(value)],
  'draftSchemaOf(…)': ['registry', (value) => draftSchemaOf(value)],
  'eventSchemaOf({ x: … })': ['registry.x', (value) => eventSchemaOf({ x: value })],
  'categoriesOf(…)': ['registry', (value) => categoriesOf(value)],
  'foldOf(…)': ['table', (value) => foldOf(value)],
  'foldEvent(…, event)': ['rows', (value) => foldEvent(value, {} as never)],
  'foldEvent(rows, …)': ['event', (value) => foldEvent(new RunMemory(), value)],
  'isSignal(…)': ['item', (value) => isSignal(value)],
  'createRunServer({ events: … })': ['registry', (value) => createRunServer({ ...ours, events: value })],
  'createRunwireHooks(…)': ['registry', (value) => createRunwireHooks(value)],
  'createRunwireReact({ x: … })': ['registry.x', (value) => createRunwireReact({ x: value })],
  'createRunwireTanstack(…)': ['registry', (value) => createRunwireTanstack(value)],
};
/** Where an argument may be absent. */
const optional = new Set([
  ...['createRunServer(…)', 'can(principal, action, …)', 'prefetchRuns(queryClient, runwire, …)'],
  ...['createRunwireClient({ url: … })', 'createRunServer({ events: … })'],
]);

test.for(Object.entries(calls))(
  '[K40] an argument of the wrong kind is refused by its name, and its value is in no error: %s',
  async ([call, [path, refusedBy]]) => {
    for (const value of [null, 7, true, Symbol('jane.doe'), 'jane.doe', ...(optional.has(call) ? [] : [undefined])]) {
      if (path === 'url' && typeof value === 'string') continue;
      const error = await (async () => refusedBy(value as never))().then(
        () => 'accepted',
        (thrown) => thrown,
      );
      expect(error).toBeInstanceOf(RunwireError);
      expect(error).toMatchObject({ code: 'INVALID_INPUT', path, message: expect.stringMatching(/must be an? \w+$/) });
      expect(String(error)).not.toContain('jane.doe');
    }
  },
);

/** Functions that accept every value, and tRPC's object for its hooks, which is a function. */
const others = new Set(['isValidWebSocketEvent', 'runwireErrorOf', 'trpc', 'RunwireProvider']);
const isHookOrClass = (name: string, value: unknown) => /^use[A-Z]/.test(name) || /^class\b/.test(String(value));

test('[K40] each public function of each entry of the package has a line above', async () => {
  const { exports } = JSON.parse(readFileSync('package.json', 'utf8')) as { exports: object };
  const files = Object.values(exports).flatMap((entry: string | object) =>
    typeof entry === 'string' ? [] : Object.values(entry).filter((path) => path.endsWith('.js')),
  );
  const names = new Set<string>();
  for (const file of files) {
    const source = `../${file.replace('./dist/', '').replace(/js$/, 'ts')}`;
    for (const [name, value] of Object.entries((await import(source)) as object)) {
      if (typeof value === 'function' && !isHookOrClass(name, value) && !others.has(name)) names.add(name);
    }
  }
  const tested = new Set(Object.keys(calls).map((call) => call.split('(')[0]));
  expect([...names].filter((name) => !tested.has(name))).toEqual([]);
  expect(names.size).toBeGreaterThan(15);
});
