import { connect } from 'node:net';
import { WebSocket } from 'ws';
import type { Dice } from '../chaos/random.ts';
import { drafts, inputOf, tokenOf, type World } from './inputs.ts';
import { judgeMessage, outcomeOf } from './judge.ts';
import { canary, mutated, oddText, oddValue } from './values.ts';

/** Generators of WebSocket cases: the messages of one socket, and the check that every request is answered. */

/** `text` and `base64` are messages; `raw` is written to the TCP socket unchanged. */
export type Step =
  | { text: string }
  | { base64: string }
  | { raw: string }
  | { act: 'ping' | 'pong' | 'close' | 'reset' };

export type WsCase = {
  face: 'ws';
  kind: string;
  path: string;
  headers: Record<string, string>;
  /** The token in its first message. */
  hello?: Step;
  steps: Step[];
};

export type Outcome = {
  /** Sent items: messages, requests in batches, raw pieces. */
  inputs: number;
  outcomes: string[];
  problem?: string;
};

/** Time limit for a response or a close, also on a busy machine. */
export const BOUND_MS = 60_000;
const PROBE = 'probe';
const methods = ['query', 'mutation', 'subscription'] as const;

const json = (value: unknown): Step => ({ text: JSON.stringify(value) });
const raw = (...bytes: number[]): Step => ({ raw: Buffer.from(bytes).toString('base64') });
const params = (token: string) => json({ method: 'connectionParams', data: { token } });

/** One generator for each kind of request to each procedure, and one for everything else that a socket can send. */
export function wsKinds(world: World): Record<string, (dice: Dice) => WsCase> {
  const signedIn = (kind: string, make: (dice: Dice) => Step[]) => (dice: Dice) => {
    const path = '/ws?connectionParams=1';
    return { face: 'ws' as const, kind, path, headers: {}, hello: params(tokenOf(dice, world)), steps: make(dice) };
  };
  const procedure = (dice: Dice) => dice.pick(world.procedures);
  const anId = (dice: Dice): unknown => dice.pick([1, 2, 3, 4, 'a', '__proto__', 0, -1, 0.5, 'x'.repeat(200)]);
  const request = (
    dice: Dice,
    { method = dice.pick(methods) as string, path = procedure(dice), id = anId(dice) } = {},
  ) => {
    const input = inputOf(dice, world, path);
    return {
      id,
      ...(dice.chance(0.2) ? { jsonrpc: '2.0' } : {}),
      method,
      params: {
        path,
        input: dice.chance(0.6) ? mutated(dice, input) : input,
        ...(dice.chance(0.1) ? { lastEventId: dice.pick([`${world.epoch}.1`, oddText(dice)]) } : {}),
      },
    };
  };
  const stop = (id: unknown) => ({ id, method: 'subscription.stop' });
  const requests = (dice: Dice, most: number, like: object = {}) =>
    dice.list(dice.between(1, most), () => request(dice, like));

  const kinds: Record<string, (dice: Dice) => Step[]> = {
    batch: (dice) => [json(requests(dice, dice.pick([3, 50, 300])))],
    'not JSON': (dice) => {
      const text = JSON.stringify(request(dice));
      const at = dice.between(0, text.length);
      return [
        { text: dice.pick([text.slice(0, at), text.slice(0, at) + oddText(dice) + text.slice(at), oddText(dice), '']) },
      ];
    },
    'any JSON': (dice) => dice.list(3, () => json(oddValue(dice))),
    envelope: (dice) => dice.list(3, () => json(mutated(dice, request(dice)))),
    'envelope in a batch': (dice) => [
      json(dice.list(4, () => (dice.chance(0.3) ? mutated(dice, request(dice)) : request(dice)))),
    ],
    ids: (dice) => dice.list(4, () => json({ ...request(dice), id: oddValue(dice) })),
    'the same id': (dice) => dice.list(6, () => json({ ...request(dice, { method: 'subscription' }), id: 7 })),
    'an unknown path': (dice) =>
      dice.list(3, () =>
        json(request(dice, { path: dice.pick([oddText(dice), `${procedure(dice)}.${canary}`, 'run', '_def']) })),
      ),
    'an unknown method': (dice) => dice.list(3, () => json({ ...request(dice), method: oddValue(dice) })),
    'stop before start': (dice) => {
      const id = anId(dice);
      const start = json({ ...request(dice, { method: 'subscription' }), id });
      return [json(stop(id)), start, json(stop(id)), start, json(stop(id))];
    },
    'starts and stops': (dice) =>
      dice.list(60, () => json(dice.chance(0.5) ? stop(anId(dice)) : request(dice, { method: 'subscription' }))),
    'stops in a batch': (dice) => [json(dice.list(20, () => (dice.chance(0.5) ? stop(anId(dice)) : request(dice))))],
    'params again': (dice) => [params(oddText(dice)), json(request(dice)), params(oddText(dice))],
    PING: (dice) => dice.list(20, () => ({ text: dice.pick(['PING', 'PONG', 'ping', 'PING ', '"PING"']) })),
    'WebSocket ping': (dice) => dice.list(20, () => ({ act: dice.pick(['ping', 'pong'] as const) })),
    binary: (dice) =>
      dice.list(3, () => ({
        base64: Buffer.from(dice.pick([JSON.stringify(request(dice)), oddText(dice), 'PING'])).toString('base64'),
      })),
    'bad UTF-8': (dice) => [raw(0x81, 0x84, 0, 0, 0, 0, ...dice.list(4, () => dice.between(0x80, 0xff)))],
    huge: (dice) => [json({ ...request(dice), padding: canary.repeat(dice.pick([1_000, 80_000, 100_000])) })],
    'a huge draft': (dice) => [
      json({
        id: 1,
        method: 'mutation',
        params: {
          path: 'event.publish',
          input: { events: drafts(dice).map((draft) => ({ ...(draft as object), name: canary.repeat(6_000) })) },
        },
      }),
    ],
    deep: (dice) => {
      const levels = dice.pick([100, 1_000, 20_000, 200_000]);
      const [open, close] = dice.pick([
        ['[', ']'],
        ['{"a":', '}'],
        ['[{"b":', '}]'],
      ] as const);
      const value = `${open.repeat(levels)}1${close.repeat(levels)}`;
      return [
        {
          text: dice.pick([
            value,
            `{"id":1,"method":"mutation","params":{"path":"event.publish","input":{"events":[${value}]}}}`,
          ]),
        },
      ];
    },
    __proto__: (dice) => {
      const proto = JSON.stringify({
        path: procedure(dice),
        method: 'query',
        isAdmin: true,
        roles: ['admin'],
        projects: ['*'],
      });
      const text = JSON.stringify(request(dice)).replaceAll(
        '"input":{',
        `"__proto__":${proto},"input":{"__proto__":${proto},`,
      );
      return [{ text: text.replace('{', `{"__proto__":${proto},"constructor":{"prototype":${proto}},`) }];
    },
    'numbers beyond': (dice) =>
      ['1e400', '-0', '9007199254740993', '1E+2', '00', '.5', '1'.repeat(1_000)].map((text) => ({
        text: JSON.stringify({
          ...request(dice),
          id: 'NUMBER',
          params: { path: 'run.list', input: { limit: 'NUMBER' } },
        }).replaceAll('"NUMBER"', text),
      })),
    'a broken frame': (dice) => [json(request(dice)), brokenFrame(dice)],
    'a frame in pieces': (dice) => piecesOf(dice, JSON.stringify(request(dice, { id: 1 }))),
    leaves: (dice) => [...requests(dice, 10).map(json), { act: dice.pick(['close', 'reset'] as const) }],
  };

  const all: Record<string, (dice: Dice) => WsCase> = {};
  for (const method of methods) {
    for (const path of world.procedures) {
      const kind = `ws ${method} ${path}`;
      all[kind] = signedIn(kind, (dice) => requests(dice, 4, { method, path }).map(json));
    }
  }
  for (const [name, make] of Object.entries(kinds)) all[`ws ${name}`] = signedIn(`ws ${name}`, make);
  const unsigned = (kind: string, make: (dice: Dice) => Partial<WsCase>) => {
    all[kind] = (dice) => {
      const steps = requests(dice, 3).map(json);
      return { face: 'ws', kind, path: '/ws?connectionParams=1', headers: {}, steps, ...make(dice) };
    };
  };
  unsigned('ws connectionParams', (dice) => {
    const said = { method: 'connectionParams', data: { token: dice.pick(Object.values(world.tokens).flat()) } };
    return {
      hello: dice.pick([
        json(mutated(dice, said)),
        json(oddValue(dice)),
        { text: oddText(dice) },
        params(oddText(dice)),
      ]),
    };
  });
  unsigned('ws without params', (dice) => ({
    path: dice.pick(['/ws', '/ws?connectionParams=0', '/ws?', `/ws?x=${canary}`]),
  }));
  unsigned('ws headers', (dice) => {
    const clean = oddText(dice).replace(/[^\x20-\x7e]/g, '');
    return {
      path: dice.pick(['/ws', '/ws?connectionParams=1&connectionParams=0', '/ws?%', `/ws?connectionParams=${canary}`]),
      headers: {
        ...(dice.chance(0.5) ? { origin: dice.pick(['null', 'https://evil.example', clean]) } : {}),
        ...(dice.chance(0.5)
          ? { cookie: dice.pick([`runwire_${world.epoch}=${clean}`, `${clean};=;;a`, '='.repeat(2_000)]) }
          : {}),
        ...(dice.chance(0.3) ? { authorization: `Bearer ${clean}` } : {}),
      },
    };
  });
  return all;
}

function brokenFrame(dice: Dice): Step {
  const noise = dice.list(dice.between(1, 40), () => dice.between(0, 255));
  return dice.pick([
    raw(...noise),
    raw(dice.pick([0xc1, 0xb1, 0x83, 0x8b, 0x80, 0x09, 0x01]), 0x80 + (noise.length & 0x3f), ...noise),
    raw(0x81, noise.length & 0x7f, ...noise), // Not masked.
    raw(0x81, 0xff, ...noise),
    raw(0x88, 0x80 + Math.min(noise.length, 125), 0, 0, 0, 0, ...noise),
    raw(0x89, 0xfe, 0x00, 0x7e, ...noise),
  ]);
}

/** Splits a message into several frames, with a ping in between. */
function piecesOf(dice: Dice, text: string): Step[] {
  const bytes = Buffer.from(text);
  const size = dice.between(1, 120);
  const steps: Step[] = [];
  for (let at = 0; at < bytes.length; at += size) {
    const piece = bytes.subarray(at, at + size);
    const isLast = at + size >= bytes.length;
    const head = [(isLast ? 0x80 : 0) | (at === 0 ? 1 : 0), 0x80 | piece.length, 0, 0, 0, 0];
    steps.push(raw(...head, ...piece));
    if (!isLast && dice.chance(0.2)) steps.push({ act: 'ping' });
  }
  return steps;
}

/** The request ids that need an answer, as tRPC parses the message: all of a batch or none. */
export function asked(text: string): string[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return [];
  }
  const ids: string[] = [];
  for (const each of Array.isArray(parsed) ? parsed : [parsed]) {
    const { id, jsonrpc, method, params } = (each ?? {}) as Record<string, unknown>;
    const isId = id === null || (typeof id === 'string' ? id.length <= 200 : typeof id === 'number');
    if (!isId || Array.isArray(each) || (jsonrpc !== undefined && jsonrpc !== '2.0')) return [];
    if (method === 'subscription.stop') continue;
    const { path, lastEventId } = (params ?? {}) as Record<string, unknown>;
    const isWhole =
      (methods as readonly unknown[]).includes(method) && typeof path === 'string' && !Array.isArray(params);
    if (!isWhole || (lastEventId !== undefined && typeof lastEventId !== 'string')) return [];
    if (id !== null && JSON.stringify(id) !== 'null') ids.push(JSON.stringify(id));
  }
  return ids;
}

/** Plays a case against a server, and returns the outcome. */
export function playWs(port: number, given: WsCase): Promise<Outcome> {
  const { hello, steps } = given;
  const isRaw = steps.some((step) => 'raw' in step);
  const leaves = steps.some((step) => 'act' in step && (step.act === 'close' || step.act === 'reset'));
  const waiting = new Set<string>(leaves || isRaw ? [] : [JSON.stringify(PROBE)]);
  const outcomes: string[] = [];
  let inputs = 0;
  return new Promise((resolve) => {
    const ws = new WebSocket(`ws://127.0.0.1:${port}${given.path}`, {
      headers: given.headers,
      createConnection: () => connect(port, '127.0.0.1'),
    } as never);
    let problem: string | undefined;
    const done = () => {
      clearTimeout(patience);
      resolve({ inputs, outcomes: [...outcomes], ...(problem === undefined ? {} : { problem }) });
      ws.terminate();
    };
    const patience = setTimeout(
      () => {
        if (!isRaw) problem ??= `not answered within ${BOUND_MS} ms: ${[...waiting].slice(0, 5).join()}`;
        done();
      },
      isRaw ? 1_000 : BOUND_MS,
    );
    ws.on('error', () => undefined);
    ws.on('unexpected-response', (request, { statusCode = 0 }) => {
      request.destroy();
      outcomes.push(String(statusCode));
      if (statusCode >= 500) problem = `the upgrade was answered ${statusCode}`;
      done();
    });
    ws.on('close', (code) => {
      outcomes.push(`closed ${code}`);
      const isKnown = [1000, 1002, 1003, 1005, 1007, 1009, 4401, 4403, 4408, 4429].includes(code);
      if (!isKnown && !isRaw && !leaves) problem ??= `closed with ${code}`;
      done();
    });
    ws.on('message', (data) => {
      const { id, error, problem: found } = judgeMessage(data.toString());
      problem ??= found;
      if (error !== undefined) outcomes.push(outcomeOf(error));
      else if (id !== undefined && waiting.has(JSON.stringify(id)) && id !== PROBE) outcomes.push('result');
      waiting.delete(JSON.stringify(id));
      if (problem !== undefined || (waiting.size === 0 && !leaves && !isRaw)) done();
      // Raw bytes may have been the start or the end of a frame: the server answers, or waits for more.
      if (isRaw && given.kind.endsWith('pieces')) done();
    });
    ws.on('open', () => {
      const socket = (ws as unknown as { _socket: { write(bytes: Buffer): void; resetAndDestroy(): void } })._socket;
      const send = (step: Step) => {
        inputs++;
        if ('text' in step) {
          if (step !== hello) for (const id of isRaw || leaves ? [] : asked(step.text)) waiting.add(id);
          if (ws.readyState === ws.OPEN) ws.send(step.text);
        } else if ('base64' in step) ws.send(Buffer.from(step.base64, 'base64'));
        else if ('raw' in step) socket.write(Buffer.from(step.raw, 'base64'));
        else if (step.act === 'ping' || step.act === 'pong') ws[step.act](canary);
        else if (step.act === 'close') ws.close();
        else socket.resetAndDestroy();
      };
      if (hello) send(hello);
      for (const step of steps) send(step);
      if (!isRaw && !leaves) ws.send(JSON.stringify({ id: PROBE, method: 'query', params: { path: 'auth.me' } }));
    });
  });
}
