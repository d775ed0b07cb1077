import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { exportJWK, exportSPKI, generateKeyPair, type JWK, type JWTPayload, SignJWT, UnsecuredJWT } from 'jose';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { createRunwireClient } from '../../client/index.ts';
import type { RunServerOptions } from '../../server/run-server.ts';
import { created, isLive, keptLog, openServer, secret, startServer, tokenFor, Wire } from '../support/harness.ts';
import { freePort } from '../support/ports.ts';

type Key = { kid: string; alg: string; privateKey: CryptoKey; publicKey: CryptoKey; jwk: JWK };

async function newKey(kid: string, alg = 'ES256'): Promise<Key> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return { kid, alg, privateKey, publicKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } };
}

const nowSeconds = () => Math.floor(Date.now() / 1000);
const claims = () => ({ sub: 'ada', projects: ['*'], roles: ['admin'], exp: nowSeconds() + 3_600 });
const sign = ({ kid, alg, privateKey }: Key, more: JWTPayload = {}, header: object = {}) =>
  new SignJWT({ ...claims(), ...more }).setProtectedHeader({ alg, kid, ...header }).sign(privateKey);

/** An HTTP server that publishes keys, and the faults of {@link faults}. */
async function startIssuer(...keys: Key[]) {
  let answer: (response: ServerResponse) => void;
  let requests = 0;
  // A path of its own: on a reused port, clients of a former server may still ask for theirs.
  const path = `/keys-${randomUUID()}`;
  const server = createServer((request, response) => {
    if (request.url !== path) return void response.writeHead(404).end();
    requests++;
    answer(response);
  });
  const port = await freePort();
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const stop = async () => {
    server.closeAllConnections();
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  };
  onTestFinished(stop);
  const says = (body: string, status = 200, headers: Record<string, string> = {}) => {
    answer = (response) => void response.writeHead(status, headers).end(body);
  };
  const publish = (...published: Key[]) => says(JSON.stringify({ keys: published.map(({ jwk }) => jwk) }));
  publish(...keys);
  return {
    url: `http://127.0.0.1:${port}${path}`,
    get requests() {
      return requests;
    },
    publish,
    says,
    hangs: () => {
      answer = () => undefined;
    },
    breaksOff: () => {
      answer = (response) => response.destroy();
    },
    /** Sends an endless body. */
    floods: () => {
      answer = (response) => {
        const more = () => {
          while (response.write('"'.repeat(65_536))) if (response.destroyed) return;
        };
        response.on('drain', more);
        more();
      };
    },
    stop,
    restart: async () => {
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
    },
  };
}
type Issuer = Awaited<ReturnType<typeof startIssuer>>;

const serve = ({ url }: Issuer, options: RunServerOptions = {}) =>
  startServer({
    authSecret: undefined,
    authJwksUrl: url,
    authAudience: 'runwire',
    logger: keptLog().logger,
    ...options,
  });
type Server = Awaited<ReturnType<typeof serve>>;

const statusOf = async (server: Server, token: string) =>
  (await fetch(`${server.url}/trpc/auth.me`, { headers: { authorization: `Bearer ${token}` } })).status;

/** Advances Date only: sockets and timers stay real. */
const step = (ms: number) => {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + ms });
  onTestFinished(() => void vi.useRealTimers());
};
const ours = { aud: 'runwire' };

describe('tokens of an issuer', () => {
  test.each(['RS256', 'RS512', 'PS256', 'ES256', 'ES384', 'EdDSA'])(
    '[A8] a token signed with %s is valid over HTTP and WebSocket',
    async (alg) => {
      const key = await newKey('k1', alg);
      const issuer = await startIssuer(key);
      await using server = await serve(issuer, { authIssuer: 'https://id.example.org' });
      const token = await sign(key, { ...ours, iss: 'https://id.example.org', jti: 'j1', iat: nowSeconds() });
      expect(await statusOf(server, token)).toBe(200);
      await using wire = await Wire.open(server.url, { token });
      await wire.subscribe('onEvent', {}).until(isLive);
      expect((await wire.call('query', 'auth.me')).result?.data).toMatchObject({ sub: 'ada', roles: ['admin'] });
      expect(issuer.requests).toBe(1);
      wire.send({ id: 9, method: 'mutation', params: { path: 'auth.revoke', input: { jti: 'j1' } } });
      expect((await wire.closed).code).toBe(4403);
    },
  );

  test('[A8] invalid tokens are refused, and those that need no key cause no request to the issuer', async () => {
    const [key, other] = [await newKey('k1', 'RS256'), await newKey('k1', 'RS256')];
    const issuer = await startIssuer(key);
    await using server = await serve(issuer, { authIssuer: 'https://id.example.org' });
    const good = { ...ours, iss: 'https://id.example.org' };
    const hs256 = (by: string, header: object = {}) =>
      new SignJWT({ ...claims(), ...good })
        .setProtectedHeader({ alg: 'HS256', kid: 'k1', ...header })
        .sign(new TextEncoder().encode(by));
    const pem = await exportSPKI(key.publicKey);
    const withoutKey = {
      'HS256 with the public key as PEM': await hs256(pem),
      'HS256 with the public key as PEM, trimmed': await hs256(pem.trim()),
      'HS256 with the modulus': await hs256(key.jwk.n as string),
      'HS256 with a key in its header': await hs256(secret, { jwk: { kty: 'oct', k: secret } }),
      'HS256 of another server': await tokenFor(),
      none: new UnsecuredJWT({ ...claims(), ...good }).encode(),
      'no token': 'CANARY',
      'an empty header': 'e30.e30.',
    };
    for (const [name, token] of Object.entries(withoutKey)) expect(await statusOf(server, token), name).toBe(401);
    expect(issuer.requests).toBe(0);
    expect(await statusOf(server, await sign(key, good))).toBe(200);
    const refused = {
      'another key with the same id': await sign(other, good),
      'another key in its header': await sign(other, good, { jwk: other.jwk, jku: issuer.url }),
      'another issuer': await sign(key, { ...good, iss: 'https://id.example.org/' }),
      'no issuer': await sign(key, ours),
      'another audience': await sign(key, { ...good, aud: 'other' }),
      'no audience': await sign(key, { iss: good.iss }),
      'no expiry': await sign(key, { ...good, exp: undefined } as unknown as JWTPayload),
      'expired a second ago': await sign(key, { ...good, exp: nowSeconds() - 1 }),
      'valid in ten minutes': await sign(key, { ...good, nbf: nowSeconds() + 600 }),
    };
    for (const [name, token] of Object.entries(refused)) {
      expect(await statusOf(server, token), name).toBe(401);
      await using wire = await Wire.open(server.url, { token });
      expect((await wire.closed).code, name).toBe(4401);
    }
    // A clock skew of a few seconds is accepted, and so is an iat in the future.
    expect(await statusOf(server, await sign(key, { ...good, nbf: nowSeconds() + 3 }))).toBe(200);
    expect(await statusOf(server, await sign(key, { ...good, iat: nowSeconds() + 3_600 }))).toBe(200);
  });

  test('[A8] a symmetric key and a broken key among the published ones are ignored', async () => {
    const key = await newKey('k1');
    const k = Buffer.from(secret).toString('base64url');
    const issuer = await startIssuer();
    issuer.says(
      JSON.stringify({ keys: [{ kty: 'oct', k, kid: 's', alg: 'HS256' }, { kty: 'EC', kid: 'b' }, key.jwk] }),
    );
    await using server = await serve(issuer);
    const symmetric = new SignJWT({ ...claims(), ...ours }).setProtectedHeader({ alg: 'HS256', kid: 's' });
    expect(await statusOf(server, await symmetric.sign(new TextEncoder().encode(secret)))).toBe(401);
    expect(await statusOf(server, await sign({ ...key, kid: 'b' }, ours))).toBe(401);
    expect(await statusOf(server, await sign(key, ours))).toBe(200);
  });

  test('[A8] an invalid address, and an address beside a secret, are refused by name at the start', async () => {
    for (const authJwksUrl of ['file:///keys', 'CANARY', 'https://a:CANARY@id.example.org/keys']) {
      await expect(openServer({ authSecret: undefined, authJwksUrl })).rejects.toMatchObject({
        code: 'INVALID_INPUT',
        path: 'authJwksUrl',
        message: expect.not.stringContaining('CANARY'),
      });
    }
    await expect(openServer({ authJwksUrl: 'https://id.example.org/keys' })).rejects.toMatchObject({
      path: 'authJwksUrl',
    });
  });

  test('[A8] a missing audience is a warning in the log', async () => {
    const { logger, lines } = keptLog();
    await using _server = await serve(await startIssuer(), { authAudience: undefined, logger });
    expect(lines.join()).toContain('AUTH_AUDIENCE is not set');
  });

  test('[A14] a token with a missing or invalid claim is refused; the log names the claim once, without its value', async () => {
    const key = await newKey('k1');
    const { logger, lines } = keptLog();
    await using server = await serve(await startIssuer(key), { logger });
    const unlike = {
      projects: { projects: undefined },
      roles: { roles: ['CANARY'] },
      sub: { sub: '' },
      jti: { jti: 'x'.repeat(300) },
      exp: { exp: undefined },
    };
    for (const [claim, more] of Object.entries(unlike)) {
      const payload = { ...claims(), ...ours, ...more } as unknown as JWTPayload;
      for (let round = 0; round < 20; round++)
        expect(await statusOf(server, await sign(key, payload)), claim).toBe(401);
      expect(
        lines.filter((line) => line.includes(`"claim":"${claim}"`)),
        claim,
      ).toHaveLength(1);
    }
    expect(lines.join()).not.toContain('CANARY');
    // A forged token logs nothing.
    const before = lines.length;
    expect(await statusOf(server, await sign(await newKey('k1'), { ...ours, roles: ['x'] }))).toBe(401);
    expect(lines).toHaveLength(before);
  });
});

describe('keys of an issuer', () => {
  test('[A9] an added key is fetched, and a removed key becomes invalid', async () => {
    const [first, second] = [await newKey('k1'), await newKey('k2')];
    const issuer = await startIssuer(first);
    await using server = await serve(issuer);
    expect(await statusOf(server, await sign(first, ours))).toBe(200);
    issuer.publish(first, second);
    step(6_000);
    expect(await statusOf(server, await sign(second, ours))).toBe(200);
    expect(await statusOf(server, await sign(first, ours))).toBe(200);
    expect(issuer.requests).toBe(2);

    issuer.publish(second);
    step(11 * 60_000);
    const [gone, stays] = [await sign(first, ours), await sign(second, ours)];
    await vi.waitFor(async () => expect(await statusOf(server, gone)).toBe(401), 30_000);
    expect(await statusOf(server, stays)).toBe(200);
    expect(issuer.requests).toBe(3);
  });

  test('[A40] (b) a token that was valid with a key is refused once the issuer has removed the key', async () => {
    const [first, second] = [await newKey('k1'), await newKey('k2')];
    const issuer = await startIssuer(first, second);
    await using server = await serve(issuer);
    const token = await sign(first, { ...ours, exp: nowSeconds() + 24 * 3_600 });
    for (let round = 0; round < 3; round++) expect(await statusOf(server, token)).toBe(200);
    expect(issuer.requests).toBe(1);
    issuer.publish(second);
    step(11 * 60_000); // Only uses of the known token cause the fetch.
    await vi.waitFor(async () => expect(await statusOf(server, token)).toBe(401), 30_000);
    expect(issuer.requests).toBe(2);
  });

  test('[A9] tokens with unknown key ids cause one request in five seconds', async () => {
    const key = await newKey('k1');
    const issuer = await startIssuer(key);
    await using server = await serve(issuer);
    expect(await statusOf(server, await sign(key, ours))).toBe(200);
    const unknown = async (kid: string) => statusOf(server, await sign({ ...key, kid }, ours));
    for (let round = 1; round <= 3; round++) {
      const statuses = await Promise.all(Array.from({ length: 100 }, (_, n) => unknown(`${round} ${n}`)));
      expect(new Set(statuses)).toEqual(new Set([401]));
      expect(issuer.requests).toBe(round); // One request in five seconds of the faked clock.
      step(6_000);
    }
  });

  const faults: Record<string, (issuer: Issuer) => void | Promise<void>> = {
    'is down': (issuer) => issuer.stop(),
    'resets connections': (issuer) => issuer.breaksOff(),
    'answers 500': (issuer) => issuer.says('{"keys":[]}', 500),
    redirects: (issuer) => issuer.says('', 302, { location: 'http://127.0.0.1:1/keys' }),
    'sends garbage': (issuer) => issuer.says('<html>CANARY'),
    'sends other JSON': (issuer) => issuer.says('{"keys":"CANARY"}'),
    'sends an endless body': (issuer) => issuer.floods(),
    hangs: (issuer) => issuer.hangs(),
  };

  test.each(Object.entries(faults))(
    '[A9] without keys, when the issuer %s: 503 and 1012, ever longer pauses between requests, and the client recovers',
    async (name, fault) => {
      const key = await newKey('k1');
      const issuer = await startIssuer(key);
      await fault(issuer);
      const { logger, lines } = keptLog();
      await using server = await serve(issuer, { logger, limits: { identifyMs: 500 } });
      const token = await sign(key, ours);
      const begun = performance.now();
      /** Pauses of 1, 2, 4, … seconds after each failure allow this many requests by now. */
      const allowed = () => 1 + Math.floor(Math.log2((performance.now() - begun) / 1_000 + 1));
      const statuses = await Promise.all(Array.from({ length: 50 }, () => statusOf(server, token)));
      expect(new Set(statuses)).toEqual(new Set([503]));
      await using wire = await Wire.open(server.url, { token });
      wire.subscribe('onEvent', {});
      expect((await wire.closed).code).toBe(1012);
      expect(wire.messages).toEqual([]);
      expect(issuer.requests).toBeLessThanOrEqual(allowed());
      expect(lines.filter((line) => line.includes('were not fetched')).length).toBeLessThanOrEqual(allowed());
      expect(lines.join()).not.toContain('CANARY');
      if (name === 'hangs') return; // The request has to time out first: see the next test.

      const { client, connection } = createRunwireClient({
        url: server.url,
        token: () => token,
        WebSocket: WebSocket as unknown as typeof globalThis.WebSocket,
        reconnectDelayMs: 100,
        maxReconnectAttempts: 20,
      });
      onTestFinished(() => connection.close());
      const onError = vi.fn();
      client.onEvent.subscribe({}, { onError });
      if (name === 'is down') await issuer.restart();
      else issuer.publish(key);
      await vi.waitFor(() => expect(connection.getStatus().state).toBe('connected'), { timeout: 30_000 });
      expect(onError).not.toHaveBeenCalled();
      expect(issuer.requests).toBeLessThanOrEqual(allowed());
    },
  );

  test('[A9] a request to the issuer times out after five seconds', async () => {
    const issuer = await startIssuer();
    issuer.hangs();
    const { logger, lines } = keptLog();
    await using server = await serve(issuer, { logger });
    const begun = performance.now();
    expect(await statusOf(server, await sign(await newKey('k1'), ours))).toBe(503);
    expect(performance.now() - begun).toBeGreaterThan(4_500);
    expect(performance.now() - begun).toBeLessThan(60_000);
    expect(lines.join()).toContain('timed out');
  });

  test('[A9] known keys stay valid while the issuer is down, and no request waits for it', async () => {
    const key = await newKey('k1');
    const issuer = await startIssuer(key);
    await using server = await serve(issuer);
    await using open = await Wire.open(server.url, { token: await sign(key, ours) });
    const stream = open.subscribe('onEvent', {});
    await stream.until(isLive);
    issuer.hangs();
    // The request to the issuer never times out: a call that waited for it would have no answer.
    const timeouts = vi.spyOn(AbortSignal, 'timeout').mockReturnValue(new AbortController().signal);
    onTestFinished(() => timeouts.mockRestore());
    for (const hours of [0, 1, 24, 24]) {
      step(hours * 3_600_000);
      const statuses = await Promise.all(
        Array.from({ length: 20 }, async () => statusOf(server, await sign(key, ours))),
      );
      expect(new Set(statuses)).toEqual(new Set([200]));
    }
    expect(issuer.requests).toBe(2);
    timeouts.mockRestore();
    await issuer.stop();
    // Only the issuer could decide whether an unknown key is one of its keys.
    expect(await statusOf(server, await sign(await newKey('k9'), ours))).toBe(503);
    await server.bus.publish([created('r1')], { actor: 'ada' });
    expect(await statusOf(server, await sign(key, ours))).toBe(200);
  });
});
