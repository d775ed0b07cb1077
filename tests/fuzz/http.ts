import { gzipSync } from 'node:zlib';
import type { Dice } from '../chaos/random.ts';
import type { HttpCase } from './http-play.ts';
import { draft, drafts, inputOf, lineage, tokenOf, type World } from './inputs.ts';
import { canary, mutated, oddText, oddValue } from './values.ts';

/** Generators of HTTP cases: requests byte by byte, well-formed or not. */

type Request = {
  method: string;
  target: string;
  headers: [string, string][];
  body: Buffer;
};

const routes = [
  '/',
  '/healthz',
  '/readyz',
  '/metrics',
  '/login',
  '/api/v1/events',
  '/api/v1/export',
  '/api/v1/lineage',
  '/api/v1/lineage/batch',
];
const verbs = ['GET', 'POST', 'HEAD', 'OPTIONS', 'PUT', 'PATCH', 'DELETE', 'PROPFIND', 'TRACE'];
const publishing = ['/api/v1/events', '/api/v1/lineage', '/api/v1/lineage/batch'];

/**
 * Headers allow no control characters, and are written as latin1. Twelve of them stay below Node's limit of 16 KiB for all
 * headers: Node itself refuses a longer request, before any route.
 */
const forHeader = (text: string) =>
  text
    .replace(/[^\x20-\x7e\xa0-\xff]/g, '')
    .trim()
    .slice(0, 1_000);
const bytes = (request: Request): Buffer =>
  Buffer.concat([
    Buffer.from(
      `${request.method} ${request.target} HTTP/1.1\r\n${request.headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`,
      'latin1',
    ),
    request.body,
  ]);
const chunked = (dice: Dice, body: Buffer): Buffer => {
  const pieces: Buffer[] = [];
  for (let at = 0; at < body.length; ) {
    const piece = body.subarray(at, at + dice.between(1, Math.max(1, body.length)));
    const extension = dice.chance(0.1) ? `;${canary}="x"` : '';
    pieces.push(Buffer.from(`${piece.length.toString(16)}${extension}\r\n`), piece, Buffer.from('\r\n'));
    at += piece.length;
  }
  return Buffer.concat([...pieces, Buffer.from(`0\r\n${dice.chance(0.1) ? `x-trailer: ${canary}\r\n` : ''}\r\n`)]);
};

export function httpKinds(world: World): Record<string, (dice: Dice) => HttpCase> {
  const bearer = (dice: Dice): [string, string] => {
    return ['authorization', `Bearer ${tokenOf(dice, world)}`];
  };
  const plain = (
    method: string,
    target: string,
    more: [string, string][] = [],
    body: string | Buffer = '',
  ): Request => {
    const sent = Buffer.isBuffer(body) ? body : Buffer.from(body);
    const length: [string, string][] = sent.length > 0 ? [['content-length', String(sent.length)]] : [];
    return { method, target, headers: [['host', 'localhost'], ...more, ...length], body: sent };
  };
  const last: [string, string] = ['connection', 'close'];
  /** Bodies for routes that take one. */
  const said = (dice: Dice, path: string): unknown => {
    const value = path.endsWith('events')
      ? drafts(dice)
      : path.endsWith('batch')
        ? dice.list(3, () => lineage(dice))
        : lineage(dice);
    return dice.chance(0.6) ? mutated(dice, value) : value;
  };
  const onlyJson: [string, string] = ['content-type', 'application/json'];
  const publish = (dice: Dice, more: [string, string][] = [], body?: string | Buffer): Request => {
    const path = dice.pick(publishing);
    return plain('POST', path, [bearer(dice), onlyJson, last, ...more], body ?? JSON.stringify(said(dice, path)));
  };
  const one =
    (kind: string, make: (dice: Dice) => Request) =>
    (dice: Dice): HttpCase => ({
      face: 'http',
      kind,
      pieces: [bytes(make(dice)).toString('base64')],
      expects: { answers: 1 },
    });
  const any =
    (kind: string, make: (dice: Dice) => (string | Buffer)[], expects: HttpCase['expects'] = 'any') =>
    (dice: Dice): HttpCase => ({
      face: 'http',
      kind,
      pieces: make(dice).map((piece) =>
        (Buffer.isBuffer(piece) ? piece : Buffer.from(piece, 'latin1')).toString('base64'),
      ),
      expects,
    });
  /** The HTTP parser rejects heads over 16 KiB. */
  const query = (value: unknown) => encodeURIComponent(JSON.stringify(value) ?? '').slice(0, 9_000);

  const all: Record<string, (dice: Dice) => HttpCase> = {};
  for (const route of routes) {
    for (const verb of verbs) {
      const kind = `http ${verb} ${route}`;
      all[kind] = one(kind, (dice) => {
        const target = dice.chance(0.7)
          ? route
          : `${route}?${dice.pick(['token', 'onPhi', 'receipts', 'input', canary])}=${encodeURIComponent(oddText(dice).toWellFormed()).slice(0, 9_000)}`;
        const body = verb === 'GET' || verb === 'HEAD' || dice.chance(0.4) ? '' : JSON.stringify(said(dice, route));
        return plain(verb, target, [...(dice.chance(0.8) ? [bearer(dice)] : []), onlyJson, last], body);
      });
    }
  }
  for (const path of world.procedures) {
    const kind = `http /trpc/${path}`;
    all[kind] = one(kind, (dice) => {
      const valid = inputOf(dice, world, path);
      const input = dice.chance(0.6) ? mutated(dice, valid) : valid;
      const more: [string, string][] = [
        ...(dice.chance(0.9) ? [bearer(dice)] : []),
        ...(dice.chance(0.1) ? [['trpc-accept', dice.pick(['application/jsonl', canary])] as [string, string]] : []),
        ...(dice.chance(0.2) ? [['last-event-id', forHeader(oddText(dice))] as [string, string]] : []),
        ...(dice.chance(0.3) ? [['accept', dice.pick(['text/event-stream', '*/*', canary])] as [string, string]] : []),
        last,
      ];
      if (dice.chance(0.5)) return plain('GET', `/trpc/${path}?input=${query(input)}`, more);
      const type = dice.pick([
        'application/json',
        'application/json',
        'application/octet-stream',
        'multipart/form-data; boundary=x',
        'text/plain',
        'application/x-www-form-urlencoded',
        canary,
      ]);
      return plain(dice.pick(verbs), `/trpc/${path}`, [...more, ['content-type', type]], JSON.stringify(input) ?? '');
    });
  }

  const kinds: Record<string, (dice: Dice) => Request> = {
    'an export': (dice) => {
      const fields = {
        format: dice.pick(['csv', 'ndjson', canary]),
        // Not the canary: the file name of an export contains the requested project.
        projectId: dice.pick(['demo', 'other', '../..', 'a"b', 'x'.repeat(dice.between(1, 300))]),
        ...(dice.chance(0.3) ? { runId: dice.pick(['r1', canary]) } : {}),
        ...(dice.chance(0.3) ? { types: dice.pick(['stage.progress', 'run.created,run.failed', canary]) } : {}),
        ...(dice.chance(0.3) ? { since: dice.pick(['2026-01-01T00:00:00Z', canary]) } : {}),
      };
      return plain('GET', `/api/v1/export?${new URLSearchParams(fields)}`, [bearer(dice), last]);
    },
    'a batch': (dice) => {
      const paths = dice.list(dice.pick([2, 10, 51]), () => dice.pick(world.procedures));
      const input = Object.fromEntries(paths.map((path, index) => [index, inputOf(dice, world, path)]));
      return plain('GET', `/trpc/${paths.join(',')}?batch=1&input=${query(mutated(dice, input))}`, [
        bearer(dice),
        last,
      ]);
    },
    'a batch by POST': (dice) => {
      const paths = dice.list(dice.between(1, 5), () => dice.pick(world.procedures));
      const input = Object.fromEntries(paths.map((path, index) => [index, inputOf(dice, world, path)]));
      return plain(
        'POST',
        `/trpc/${paths.join(',')}?batch=${dice.pick(['1', '0', canary])}`,
        [bearer(dice), onlyJson, last],
        JSON.stringify(mutated(dice, input)),
      );
    },
    'a path': (dice) => {
      const piece = () =>
        dice.pick([
          '..',
          '.',
          '%2e%2e',
          '%2f',
          'runs',
          'assets',
          'trpc',
          'api',
          'v1',
          '%00',
          '%',
          '%c0%af',
          canary,
          '',
          ';x',
          '~',
          '.env',
          'index.html',
          '__proto__',
        ]);
      return plain(dice.pick(['GET', 'POST']), `/${dice.list(dice.between(0, 6), piece).join('/')}`, [
        bearer(dice),
        last,
      ]);
    },
    'a query string': (dice) => {
      const pairs = dice.list(
        dice.between(0, 8),
        () =>
          `${dice.pick(['input', 'batch', 'token', 'onPhi', 'receipts', 'connectionParams', '__proto__', '', canary])}=${dice.pick(['1', '%', '%ff', '%7B', canary, 'true', 'null', '[]'])}`,
      );
      return plain(
        dice.pick(['GET', 'POST']),
        `${dice.pick([...routes, '/trpc/auth.me', '/trpc/run.get'])}?${pairs.join(dice.pick(['&', '&&', ';']))}`,
        [bearer(dice), last],
      );
    },
    headers: (dice) => {
      const names = [
        'accept',
        'accept-encoding',
        'cookie',
        'origin',
        'referer',
        'range',
        'if-none-match',
        'if-modified-since',
        'x-forwarded-proto',
        'x-forwarded-host',
        'forwarded',
        'sec-fetch-site',
        'access-control-request-method',
        'access-control-request-headers',
        'content-language',
        'te',
        'via',
        'trpc-accept',
        'x-http-method-override',
        '__proto__',
        'constructor',
        'accept-language',
        'user-agent',
      ];
      const odd = dice.list(dice.between(1, 12), (): [string, string] => [dice.pick(names), forHeader(oddText(dice))]);
      return plain(dice.pick(['GET', 'OPTIONS']), dice.pick([...routes, '/trpc/auth.me', '/runs/demo/r1']), [
        ...(dice.chance(0.5) ? [bearer(dice)] : []),
        ...odd,
        last,
      ]);
    },
    'a bad credential': (dice) => {
      const token = dice.pick(Object.values(world.tokens).flat());
      const cut = dice.between(0, token.length);
      const value = dice.pick([
        `Bearer ${token.slice(0, cut)}`,
        `Bearer ${token.slice(0, cut)}x${token.slice(cut)}`,
        `bearer  ${forHeader(oddText(dice))}`,
        `Basic ${canary}`,
        forHeader(oddText(dice)),
      ]);
      return plain(
        'POST',
        dice.pick([...publishing, '/trpc/event.publish']),
        [['authorization', value], onlyJson, last],
        JSON.stringify(drafts(dice)),
      );
    },
    'a Host': (dice) => ({
      ...plain('GET', dice.pick(['/', '/trpc/auth.me']), []),
      headers: [
        ['host', dice.pick(['evil.example', '[', 'a b', 'localhost:99999', 'evil.example:1'])],
        bearer(dice),
        last,
      ],
    }),
    NDJSON: (dice) => {
      const [noise, wrong] = dice.pick([
        [0, 0],
        [0, 0.2],
        [0.2, 0.3],
      ] as const);
      const lines = dice.list(dice.between(0, 20), () =>
        dice.chance(noise)
          ? oddText(dice).toWellFormed()
          : JSON.stringify(dice.chance(wrong) ? mutated(dice, draft(dice)) : draft(dice)),
      );
      const type = dice.pick(['application/x-ndjson', 'application/jsonl; charset=utf-8', 'application/NDJSON']);
      return plain(
        'POST',
        '/api/v1/events',
        [bearer(dice), ['content-type', type], last],
        lines.join(dice.pick(['\n', '\r\n', '\n\n'])),
      );
    },
    'bytes that are not UTF-8': (dice) => publish(dice, [], Buffer.from(dice.list(50, () => dice.between(0, 255)))),
    'JSON that is none': (dice) => {
      const text = JSON.stringify(drafts(dice));
      return publish(dice, [], text.slice(0, dice.between(0, text.length)) + dice.pick(['', canary, '{', '\u0000']));
    },
    'any JSON': (dice) => publish(dice, [], JSON.stringify(oddValue(dice)) ?? ''),
    'deep JSON': (dice) => {
      const levels = dice.pick([400, 501, 20_000, 400_000]);
      const [open, close] = dice.pick([
        ['[', ']'],
        ['{"a":', '}'],
      ] as const);
      return publish(dice, [], `${open.repeat(levels)}1${close.repeat(levels)}`);
    },
    'a huge body': (dice) =>
      publish(dice, [], JSON.stringify({ ...draft(dice), name: canary.repeat(dice.pick([7_000, 100_000, 800_000])) })),
    'a gzipped body': (dice) => {
      const body = gzipSync(JSON.stringify(drafts(dice)));
      const cut = dice.chance(0.4) ? body.subarray(0, dice.between(0, body.length)) : body;
      const encoding = dice.pick(['gzip', 'gzip', 'GZIP', 'x-gzip', 'deflate', 'br', 'gzip, gzip', canary]);
      return publish(
        dice,
        [['content-encoding', encoding]],
        dice.chance(0.2) ? Buffer.concat([cut, Buffer.from(canary)]) : cut,
      );
    },
    'a gzip bomb': (dice) =>
      publish(
        dice,
        [['content-encoding', 'gzip']],
        gzipSync(Buffer.alloc(dice.pick([1, 9, 40]) * 1024 * 1024, dice.pick(['[', ' ', '"']))),
      ),
    'a chunked body': (dice) => {
      const path = dice.pick(publishing);
      const body = Buffer.from(JSON.stringify(said(dice, path)) ?? '');
      return {
        method: 'POST',
        target: path,
        headers: [['host', 'localhost'], bearer(dice), onlyJson, last, ['transfer-encoding', 'chunked']],
        body: chunked(dice, body),
      };
    },
    'Expect: 100-continue': (dice) => publish(dice, [['expect', '100-continue']]),
  };
  for (const [name, make] of Object.entries(kinds)) all[`http ${name}`] = one(`http ${name}`, make);

  all['http several in one'] = (dice) => {
    const requests = dice.list(dice.between(2, 6), () =>
      plain('GET', dice.pick(['/healthz', '/trpc/auth.me', '/nowhere']), [bearer(dice)]),
    );
    requests.push(plain('GET', '/healthz', [last]));
    const sent = Buffer.concat(requests.map(bytes));
    const cut = dice.between(1, sent.length - 1);
    const pieces = [sent.subarray(0, cut), sent.subarray(cut)].map((piece) => piece.toString('base64'));
    return { face: 'http', kind: 'http several in one', pieces, expects: { answers: requests.length } };
  };
  all['http slowly'] = (dice) => {
    const sent = bytes(publish(dice));
    const size = Math.ceil(sent.length / 20);
    const pieces = dice.list(20, (index) => sent.subarray(index * size, (index + 1) * size).toString('base64'));
    return {
      face: 'http',
      kind: 'http slowly',
      pieces: pieces.filter((piece) => piece !== ''),
      expects: { answers: 1 },
    };
  };
  all['http broken'] = any('http broken', (dice) => {
    const sent = bytes(publish(dice));
    const at = dice.between(0, sent.length);
    return dice.pick<(string | Buffer)[]>([
      [sent.subarray(0, at)],
      [sent.subarray(0, at), oddText(dice), sent.subarray(at)],
      [Buffer.from(dice.list(200, () => dice.between(0, 255)))],
      [`GET / HTTP/${dice.pick(['0.9', '1.0', '2.0', '9.9', ''])}\r\n\r\n`],
      [`GET /${canary.repeat(3_000)} HTTP/1.1\r\nhost: x\r\n\r\n`],
      [`GET / HTTP/1.1\r\nhost: x\r\n${'a: b\r\n'.repeat(3_000)}\r\n`],
      ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
      ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
      [`CONNECT evil.example:443 HTTP/1.1\r\nhost: x\r\n\r\n`],
      [`GET http://evil.example/${canary} HTTP/1.1\r\nhost: x\r\n\r\n`],
      [`OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n`],
      [`GET / HTTP/1.1\r\nhost: x\r\n${oddText(dice)}: ${oddText(dice)}\r\n\r\n`],
    ]);
  });
  all['http smuggling'] = any(
    'http smuggling',
    (dice) => {
      const [name, token] = bearer(dice);
      const hidden = 'GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n';
      const head = `POST /api/v1/events HTTP/1.1\r\nhost: x\r\n${name}: ${token}\r\ncontent-type: application/json\r\n`;
      const both = dice.pick([
        'content-length: 4\r\ntransfer-encoding: chunked\r\n',
        'transfer-encoding: chunked\r\ncontent-length: 4\r\n',
        'content-length: 4\r\ncontent-length: 5\r\n',
        'content-length: +4\r\n',
        'content-length: 0x4\r\n',
        'content-length: 4, 4\r\n',
        'content-length: -1\r\n',
        'content-length : 4\r\n',
        'transfer-encoding : chunked\r\n',
        'transfer-encoding: chunked, identity\r\n',
        'transfer-encoding: xchunked\r\n',
        'transfer-encoding: identity, chunked\r\ncontent-length: 4\r\n',
        'transfer-encoding:\x0bchunked\r\n',
        'x: y\n\ttransfer-encoding: chunked\r\ncontent-length: 4\r\n',
        'x: y\rcontent-length: 4\r\n',
        ' content-length: 4\r\n',
      ]);
      return [`${head}${both}\r\n0\r\n\r\n${hidden}`];
    },
    'refusal',
  );
  all['http chunks that are none'] = any(
    'http chunks that are none',
    (dice) => {
      const [name, token] = bearer(dice);
      const head = `POST /api/v1/events HTTP/1.1\r\nhost: x\r\n${name}: ${token}\r\ntransfer-encoding: chunked\r\n\r\n`;
      return [
        `${head}${dice.pick(['-1\r\n', 'g\r\n', '5\n{"a"}\n', 'ffffffffffffffffff\r\n', '0x5\r\n', '5 \r\n{"a"}', '5\r\n{"a":1}\r\n'])}0\r\n\r\n`,
      ];
    },
    'refusal',
  );
  const upgrade = any('http an upgrade', (dice) => {
    const target = dice.pick(['/ws', '/ws?connectionParams=1', '/', '/trpc/onEvent', `/ws/${canary}`, '//ws', '*']);
    const key = dice.pick(['dGhlIHNhbXBsZSBub25jZQ==', '', canary, 'AAAA']);
    const lines = [
      'host: x',
      'connection: upgrade',
      `upgrade: ${dice.pick(['websocket', 'h2c', 'WebSocket', canary, ''])}`,
      `sec-websocket-key: ${key}`,
      `sec-websocket-version: ${dice.pick(['13', '8', '0', 'x', '13, 13'])}`,
    ];
    const extensions = dice.pick([
      '',
      'sec-websocket-extensions: permessage-deflate; client_max_window_bits=99\r\n',
      'sec-websocket-extensions: ;;;,,="\r\n',
      'sec-websocket-protocol: ,\r\n',
    ]);
    const kept = lines.filter(() => dice.chance(0.9));
    return [
      `${dice.pick(['GET', 'GET', 'POST'])} ${target} HTTP/1.1\r\n${kept.join('\r\n')}\r\n${extensions}\r\n`,
      Buffer.from(dice.list(dice.between(0, 30), () => dice.between(0, 255))),
    ];
  });
  all['http an upgrade'] = upgrade;
  const whole = Object.values(all);
  all['http broken off'] = (dice) => {
    // Upgrades more often than others: their sockets are detached from the HTTP server.
    const given = (dice.chance(0.5) ? upgrade : dice.pick(whole))(dice);
    return { ...given, kind: 'http broken off', expects: 'any', breaksOffMs: dice.between(0, 3) };
  };
  return all;
}
