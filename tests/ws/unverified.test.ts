import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { loadConfig } from '../../server/config.ts';
import { isLive, openServer, secret, startServer, tokenFor, Wire } from '../support/harness.ts';
import { upwards } from './setup.ts';

/** Clients without a verified token, and clients that no longer answer. */

const behind = (address: string) => ({ options: { headers: { 'x-forwarded-for': address } } });

test('[W19] a refused socket is destroyed when its client does not close it, whatever it sends', async () => {
  await using server = await startServer();
  const socket = connect(server.port, '127.0.0.1').on('error', () => undefined);
  socket.write(
    `GET /ws HTTP/1.1\r\nhost: ${server.host}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
  );
  const message = Buffer.concat([Buffer.from([0x81, 0x80 | 5, 0, 0, 0, 0]), Buffer.from('hello')]);
  const flood = setInterval(() => socket.write(message), 10);
  // Without a limit of its own, `ws` would wait for 30 s.
  await new Promise((resolve) => socket.resume().once('close', resolve));
  clearInterval(flood);
  await expect.poll(() => server.getStats().connections).toBe(0);
});

test('[W19] a message of too many fragments closes its socket with 1008, with and without a token', async () => {
  await using server = await startServer();
  for (const isSilent of [true, false]) {
    await using wire = await Wire.open(server.url, { isSilent });
    for (const _ of upwards(1, 300)) wire.ws.send('x', { fin: false });
    expect((await wire.closed).code).toBe(1008);
  }
  await using wire = await Wire.open(server.url);
  const text = JSON.stringify({ id: 1, method: 'query', params: { path: 'auth.me' } });
  for (const [at, part] of [...text].entries()) wire.ws.send(part, { fin: at === text.length - 1 });
  await wire.until(() => wire.messages.some(({ result }) => result));
});

test('[W20] of too many sockets of an address without a token, the oldest closes; those with a token stay', async () => {
  // A busy machine opens 500 sockets in more than the ten seconds that a client has for its token.
  await using server = await startServer({ limits: { identifyMs: 600_000 } });
  await using known = await Wire.open(server.url);
  await known.subscribe('onEvent', {}).until(isLive);
  const silent: Wire[] = [];
  for (const _ of upwards(1, 500)) silent.push(await Wire.open(server.url, { isSilent: true }));
  let closed: { code: number; reason: string } | undefined;
  void silent[0]?.closed.then((value) => {
    closed = value;
  });
  // A further socket closes only one that is older than 2 s.
  while (!closed) {
    await using late = await Wire.open(server.url);
    await late.subscribe('onEvent', {}).until(isLive);
  }
  expect(closed).toEqual({ code: 4429, reason: 'too many connections without a token from this address' });
  expect(silent[20]?.ws.readyState).toBe(WebSocket.OPEN);
  expect(known.ws.readyState).toBe(WebSocket.OPEN);
  for (const wire of silent) wire.ws.terminate();
  await expect.poll(() => server.getStats().connections).toBe(1);
});

test('[W20] sockets without a token take no place of the sockets with one', async () => {
  await using server = await startServer({ limits: { connectionsPerAddress: 1 } });
  const silent = await Promise.all(upwards(1, 5).map(() => Wire.open(server.url, { isSilent: true })));
  await using wire = await Wire.open(server.url);
  await wire.subscribe('onEvent', {}).until(isLive);
  for (const { ws } of silent) ws.terminate();
});

test('[W21] behind trusted proxies, the address of a socket is that of its client', async () => {
  await using server = await startServer({ trustedProxies: ['127.0.0.0/8'], limits: { connectionsPerAddress: 1 } });
  await using first = await Wire.open(server.url, behind('192.0.2.1'));
  await first.subscribe('onEvent', {}).until(isLive);
  await using second = await Wire.open(server.url, behind('192.0.2.1, 192.0.2.2'));
  await second.subscribe('onEvent', {}).until(isLive);
  await using third = await Wire.open(server.url, behind('192.0.2.7, 192.0.2.1'));
  expect(await third.closed).toEqual({ code: 4429, reason: 'too many connections from this address' });
});

test('[W21] without trusted proxies, X-Forwarded-For changes nothing; the option and the variable are checked', async () => {
  await using server = await startServer({ limits: { connectionsPerAddress: 1 } });
  await using first = await Wire.open(server.url, behind('192.0.2.1'));
  await first.subscribe('onEvent', {}).until(isLive);
  await using second = await Wire.open(server.url, behind('192.0.2.2'));
  expect((await second.closed).code).toBe(4429);
  await expect(openServer({ trustedProxies: ['proxy'] })).rejects.toMatchObject({ path: 'trustedProxies.0' });
  const config = loadConfig({ AUTH_SECRET: secret, TRUSTED_PROXIES: '127.0.0.1, 10.0.0.0/8' });
  expect(config.trustedProxies).toEqual(['127.0.0.1', '10.0.0.0/8']);
  expect(() => loadConfig({ AUTH_SECRET: secret, TRUSTED_PROXIES: 'proxy' })).toThrow(
    expect.objectContaining({ path: 'TRUSTED_PROXIES' }),
  );
});

test('[W8] at the limit of a user, a socket with a client that answers no ping gives way; one that answers stays', async () => {
  // A ping is unanswered after 1 s. The heartbeat alone would keep the dead sockets for 12 s.
  await using server = await startServer({ heartbeatMs: 6_000, limits: { connectionsPerUser: 2 } });
  const dead = await Wire.open(server.url, { options: { autoPong: false } });
  await using alive = await Wire.open(server.url);
  for (const wire of [dead, alive]) await wire.subscribe('onEvent', {}).until(isLive);
  dead.ws.pause();
  const isAccepted = async () => {
    const wire = await Wire.open(server.url);
    await wire.subscribe('onEvent', {}).until(isLive);
    return true;
  };
  await expect.poll(() => isAccepted().catch(() => false), { interval: 200 }).toBe(true);
  await expect.poll(() => server.getStats().connections).toBe(2);
  expect(alive.ws.readyState).toBe(WebSocket.OPEN);
  await using refused = await Wire.open(server.url);
  expect(await refused.closed).toEqual({ code: 4429, reason: 'too many connections of this user' });
  await using other = await Wire.open(server.url, { token: await tokenFor({ sub: 'bob' }) });
  await other.subscribe('onEvent', {}).until(isLive);
  dead.ws.terminate();
});
