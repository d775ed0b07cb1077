import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Role } from '../../server/auth/principal.ts';
import { signToken } from '../../server/auth/tokens.ts';
import { createRunServer } from '../../server/run-server.ts';
import type { Census } from '../chaos/census.ts';
import { Dice, seedOf } from '../chaos/random.ts';
import { ServerProcess } from '../chaos/server.ts';
import { Bystander } from './bystander.ts';
import { httpKinds } from './http.ts';
import { type HttpCase, playHttp } from './http-play.ts';
import type { World } from './inputs.ts';
import { canary } from './values.ts';
import { BOUND_MS, type Outcome, playWs, type WsCase, wsKinds } from './ws.ts';

/**
 * Sends random cases to a server in its own process, with default limits, over HTTP and WebSocket. Checks that the server
 * survives, answers, echoes nothing, serves a bystander, and holds no more at the end than at the beginning. A case
 * depends only on the seed and its number.
 */

export type Case = WsCase | HttpCase;
export type Problem = { n: number; what: string; given?: Case };
export type Report = {
  cases: number;
  inputs: number;
  /** Counts and outcomes by kind of case. */
  coverage: Map<string, { cases: number; inputs: number; outcomes: Map<string, number> }>;
  /** Events delivered to the bystander. */
  witnessed: number;
  /** Heap after garbage collection: after the warm-up, and at each census since. */
  heapBytes: number[];
  problems: Problem[];
};

export type FuzzOptions = {
  /** The path of the bundled server. */
  script: string;
  seed: number;
  seconds: number;
  /** Goes on after `seconds` until so many cases have been played: a busy machine plays fewer of them. */
  cases?: number | undefined;
  only?: 'ws' | 'http' | undefined;
  /** Plays only the case with this number. */
  at?: number | undefined;
  say: (text: string) => void;
};

const secret = 'a secret of the fuzzing, 32 bytes long or more';
/** Cases in parallel. */
const PARALLEL = 12;
/** Time between two censuses, which are taken while no case is running. */
const LOOK_MS = 60_000;
/** Until all code is compiled and all caches are full. */
const WARM_UP_SHARE = 0.25;
/** Allowed growth of the heap after the warm-up. */
const HEAP_BYTES = 24 * 1024 * 1024;
const MAX_PROBLEMS = 10;

export async function fuzz({ script, seed, seconds, cases = 0, only, at, say }: FuzzOptions): Promise<Report> {
  const folder = mkdtempSync(join(tmpdir(), 'runwire-fuzz-'));
  const start = () => startServer(script, join(folder, `${Math.random()}.db`));
  let server = await start();
  const report: Report = { cases: 0, inputs: 0, coverage: new Map(), witnessed: 0, heapBytes: [], problems: [] };
  try {
    const world = await worldOf(server.ready.epoch);
    const kinds = kindsOf(world, only);
    const caseOf = (n: number): Case => {
      const dice = new Dice(seedOf(seed, n));
      // In turn, so that every kind is played.
      return (kinds[n % kinds.length] as (dice: Dice) => Case)(dice);
    };
    if (at !== undefined) {
      const given = caseOf(at);
      say(JSON.stringify(given, undefined, 1).slice(0, 5_000));
      note(report, at, given, await play(server.ready.port, given));
      collect(report, server, at, given);
      return report;
    }

    const bystander = await openBystander(server);
    const until = performance.now() + seconds * 1_000;
    const warmAt = performance.now() + seconds * 1_000 * WARM_UP_SHARE;
    const isOver = () =>
      (performance.now() >= until && report.cases >= cases) || report.problems.length >= MAX_PROBLEMS || !server.lives;
    let first: Census | undefined;
    let n = 0;
    const recent: { n: number; given: Case }[] = [];
    while (!isOver()) {
      const lookAt = first ? performance.now() + LOOK_MS : warmAt;
      const work = async () => {
        while (performance.now() < lookAt && !isOver()) {
          const mine = n++;
          const given = caseOf(mine);
          recent.push({ n: mine, given });
          if (recent.length > 4 * PARALLEL) recent.shift();
          const outcome = await play(server.ready.port, given);
          if (server.lives) note(report, mine, given, outcome);
          collect(report, server, mine);
        }
      };
      const watching = new AbortController();
      const watch = watchWith(bystander, watching.signal);
      await Promise.all(Array.from({ length: PARALLEL }, work));
      watching.abort();
      await watch;
      if (bystander.problem !== undefined) report.problems.push({ n, what: bystander.problem });
      if (!server.lives || bystander.problem !== undefined) break;
      const census = await settled(server);
      first ??= census;
      report.heapBytes.push(census.heapBytes);
      const grown = grownBetween(first, census);
      if (grown !== undefined) report.problems.push({ n, what: grown });
      // Keeps the log small, and makes old cursors expire.
      await server.process.ask<'trim'>({ trim: { share: 0.5 } });
      say(`${report.cases} cases, ${report.inputs} inputs, heap ${Math.round(census.heapBytes / 1024)} KiB`);
    }
    collect(report, server, n);
    report.witnessed = bystander.received;
    bystander.close();
    if (!server.lives) {
      report.problems.unshift({
        n,
        what: `the server ended: ${server.process.complaints.join(' | ').slice(0, 2_000)}`,
      });
      say('the server exited; replaying the last cases to find the cause');
      for (const { n: suspect, given } of recent) {
        await server.process.stop('SIGKILL');
        server = await start();
        await play(server.ready.port, given);
        await delay(200);
        if (!server.lives) {
          report.problems.unshift({ n: suspect, what: 'the server exits', given });
          break;
        }
      }
    }
    for (const problem of report.problems.slice(0, 3)) {
      if (problem.given) problem.given = await shrunk(problem.given, (given) => isBad(given));
    }
    return report;

    async function isBad(given: Case): Promise<boolean> {
      if (!server.lives) {
        await server.process.stop('SIGKILL');
        server = await start();
      }
      const { problem } = await play(server.ready.port, given);
      await delay(50);
      return problem !== undefined || !server.lives;
    }
  } finally {
    await server.process.stop('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
}

export const play = (port: number, given: Case): Promise<Outcome> =>
  given.face === 'ws' ? playWs(port, given) : playHttp(port, given);

/** Removes messages that the failure does not need, one by one. */
async function shrunk(given: Case, isBad: (given: Case) => Promise<boolean>): Promise<Case> {
  if (given.face === 'http') return given;
  let least = given;
  for (let at = given.steps.length - 1; at >= 0 && given.steps.length <= 60; at--) {
    const fewer = { ...least, steps: least.steps.filter((_, index) => index !== at) };
    if (await isBad(fewer)) least = fewer;
  }
  return least;
}

type Running = { process: ServerProcess; ready: { port: number; epoch: string }; readonly lives: boolean };

async function startServer(script: string, path: string): Promise<Running> {
  const server = new ServerProcess(script, {
    path,
    port: 0,
    secret,
    delivery: 'direct',
    clockMs: 0,
    heartbeatMs: 30_000,
    quietMs: 30_000,
  });
  const ready = await server.start();
  return {
    process: server,
    ready,
    get lives() {
      return !server.complaints.some((line) => line.startsWith('the server ended'));
    },
  };
}

/** Tokens of many users: a single user would soon exceed its rate limits. */
async function worldOf(epoch: string): Promise<World> {
  const make = (projects: string[], roles: Role[], of = secret, ttlSeconds = 86_400) =>
    Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        signToken({ secret: of }, { sub: `${roles[0]}-${index}`, projects, roles, ttlSeconds }),
      ),
    );
  await using server = await createRunServer({ databaseUrl: 'memory:', authSecret: secret });
  const procedures = server.router._def.procedures as unknown as Record<string, { _def: { type: string } }>;
  return {
    epoch,
    procedures: Object.keys(procedures),
    fitting: new Set(Object.entries(procedures).map(([path, { _def }]) => `${_def.type} ${path}`)),
    tokens: {
      everything: await make(['*'], ['admin', 'approver', 'viewer', 'producer']),
      admin: await make(['demo'], ['admin']),
      viewer: await make(['demo'], ['viewer']),
      approver: await make(['demo', 'other'], ['approver']),
      producer: await make(['demo'], ['producer']),
      nobody: await make([], []),
      forged: await make(['*'], ['admin'], 'another secret that is also long enough'),
    },
  };
}

/** Kinds with deeper code behind them are played more often. */
function kindsOf(world: World, only: 'ws' | 'http' | undefined): ((dice: Dice) => Case)[] {
  const all = { ...(only === 'http' ? {} : wsKinds(world)), ...(only === 'ws' ? {} : httpKinds(world)) };
  return Object.entries<(dice: Dice) => Case>(all).flatMap(([kind, make]) => {
    const isDeep =
      world.fitting.has(kind.replace('ws ', '')) || kind.startsWith('http POST /api') || kind === 'http NDJSON';
    return Array.from({ length: isDeep ? 6 : 1 }, () => make);
  });
}

async function openBystander({ ready: { port } }: Running): Promise<Bystander> {
  const claims = { sub: 'bystander', projects: ['*'], roles: ['viewer', 'producer'] as const, ttlSeconds: 86_400 };
  return Bystander.open(port, await signToken({ secret }, claims));
}

async function watchWith(bystander: Bystander, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && bystander.problem === undefined) {
    await bystander.check(BOUND_MS);
    await delay(200, undefined, { signal }).catch(() => undefined);
  }
}

function note(report: Report, n: number, given: Case, { inputs, outcomes, problem }: Outcome): void {
  report.cases++;
  report.inputs += inputs;
  const covered = report.coverage.get(given.kind) ?? { cases: 0, inputs: 0, outcomes: new Map<string, number>() };
  report.coverage.set(given.kind, covered);
  covered.cases++;
  covered.inputs += inputs;
  for (const outcome of outcomes) covered.outcomes.set(outcome, (covered.outcomes.get(outcome) ?? 0) + 1);
  if (problem !== undefined) report.problems.push({ n, what: `${given.kind}: ${problem}`, given });
}

/** Collects the error output of the server since the last call, and reports the unexpected lines. */
function collect(report: Report, { process: { complaints }, lives }: Running, n: number, given?: Case): void {
  if (!lives) return;
  for (const line of complaints.splice(0)) {
    // The log names a refused origin, for the operator to allow it.
    const isOrigin = line.includes('WebSocket refused');
    const isWarning = line.includes('"level":40') && (isOrigin || !line.includes(canary));
    if (!isWarning) report.problems.push({ n, what: `unexpected log line: ${line}`, ...(given ? { given } : {}) });
  }
}

/** Takes a census once only the bystander is connected. */
async function settled({ process: server }: Running): Promise<Census> {
  for (let waitedMs = 0; waitedMs < BOUND_MS; waitedMs += 200) {
    // The socket of the bystander, and the one of its publishing, which the server keeps open for a while.
    if ((await server.ask<'sockets'>({ sockets: true })) <= 2) break;
    await delay(200);
  }
  await delay(500);
  return server.ask<'census'>({ census: true });
}

function grownBetween(first: Census, now: Census): string | undefined {
  const counts = ({ connections, subscriptions, waiting, objects, listeners, resources }: Census) => {
    const { TCPSocketWrap: sockets = 0, ...rest } = resources;
    return { connections, subscriptions, waiting, listeners, sockets: Math.max(2, sockets), ...objects, ...rest };
  };
  const was = counts(first) as Record<string, number>;
  const grown = Object.entries(counts(now)).filter(([name, count]) => count > (was[name] ?? 0) + SLACK);
  const heapBytes = now.heapBytes - first.heapBytes;
  if (heapBytes > HEAP_BYTES) grown.push(['heapBytes', heapBytes]);
  return grown.length === 0
    ? undefined
    : `the server holds more: ${JSON.stringify(Object.fromEntries(grown))} than ${JSON.stringify(was)}`;
}
/** Tolerance for timers. */
const SLACK = 3;
