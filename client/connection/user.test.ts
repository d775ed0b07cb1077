import { expect, onTestFinished, test, vi } from 'vitest';
import { follow, open } from '../../tests/support/client.ts';
import { created, startServer, tokenFor } from '../../tests/support/harness.ts';

test('[C18] after a change of the user nothing of the former one is delivered, and nothing of it is sent with the new token', async () => {
  await using server = await startServer();
  const [ann, bob] = [await tokenFor({ sub: 'ann', projects: ['a', 'demo'] }), await tokenFor({ sub: 'bob' })];
  await server.bus.publish([created('r1', { projectId: 'a' })], { actor: 'ada' });
  let token = ann;
  const { client, connection, reaches } = open({ url: server.url, token: () => token });
  const received = follow(client, 'r1');
  await received.until(() => received.items.length === 2);
  await reaches('connected');
  expect((await client.auth.me.query()).sub).toBe('ann');
  const identity = connection.getIdentity();
  const changed = vi.fn();
  connection.subscribe(() => connection.getIdentity() !== identity && changed());

  token = bob;
  connection.refreshToken();
  // Started while the user was Ann. It waits for the token, which is Bob's.
  const publish = client.event.publish.mutate({ events: [created('of-ann')] });
  await expect(publish).rejects.toMatchObject({ message: 'another user has signed in' });
  expect(received.onError).toHaveBeenCalledOnce();
  expect(changed).toHaveBeenCalled();
  expect(connection.getIdentity().subject).toBe('bob');
  await server.bus.publish([created('r2', { projectId: 'a' })], { actor: 'ada' });

  expect((await client.auth.me.query()).sub).toBe('bob');
  await client.event.publish.mutate({ events: [created('of-bob')] });
  const again = follow(client, 'of-bob');
  await again.until(() => again.items.length === 2);
  expect(received.items).toHaveLength(2);
  const { events } = await client.run.history.query({ runId: 'of-bob' });
  expect(events.map(({ actor }) => actor)).toEqual(['bob']);
  await expect(client.run.history.query({ runId: 'of-ann' })).rejects.toThrow();
  await expect.poll(() => server.getStats()).toMatchObject({ connections: 1, subscriptions: 1 });
});

test('[C18] many requests at once are answered, and Node.js takes none of their listeners for a leak', async () => {
  await using server = await startServer();
  const { client } = open({ url: server.url, token: await tokenFor() });
  const warnings: Error[] = [];
  const warn = (warning: Error) => warnings.push(warning);
  process.on('warning', warn);
  onTestFinished(() => void process.off('warning', warn));
  const subs = await Promise.all(Array.from({ length: 50 }, () => client.auth.me.query()));
  expect(subs).toHaveLength(50);
  await new Promise(setImmediate); // A warning is emitted in a later turn.
  expect(warnings).toEqual([]);
});

test('[C18] after the token of another user was refused, the state is failed, and the next user connects at once', async () => {
  await using server = await startServer();
  await server.bus.publish([created('r1')], { actor: 'ada' });
  let token = await tokenFor({ sub: 'ann', secret: 'another secret of 32 characters..' });
  const { client, connection, reaches } = open({ url: server.url, token: () => token, afterFailed: 'stop' });
  follow(client, 'r1');
  await reaches('failed');
  token = await tokenFor({ sub: 'bob' });
  connection.refreshToken();
  await vi.waitFor(() => expect(connection.getIdentity().subject).toBe('bob'), 30_000);
  const received = follow(client, 'r1');
  await received.until(() => received.items.length === 2);
});

test('[C18] the server states the user of an opaque token', async () => {
  const users: Record<string, string> = { 'token-1': 'ann', 'token-2': 'ann', 'token-3': 'bob' };
  await using server = await startServer({
    authenticate: async (token) => ({ sub: users[token] ?? '', projects: ['*'], roles: ['viewer'] }),
  });
  let token = 'token-1';
  const { client, connection } = open({ url: server.url, token: () => token });
  const next = async (said: string) => {
    token = said;
    connection.refreshToken();
    return (await client.auth.me.query()).sub;
  };
  const first = connection.getIdentity();
  expect([await next('token-1'), await next('token-2')]).toEqual(['ann', 'ann']);
  expect(connection.getIdentity()).toBe(first);
  await expect(next('token-3')).rejects.toThrow('another user has signed in');
  expect((await client.auth.me.query()).sub).toBe('bob');
  expect(connection.getIdentity().subject).toBe('bob');
});

test('[C17] a token source that hangs does not hold close(), and reconnect() asks it again', async () => {
  await using server = await startServer();
  await server.bus.publish([created('r1')], { actor: 'ada' });
  const token = await tokenFor();
  const source = vi.fn((): string | Promise<string> => new Promise(() => undefined));
  const hanging = open({ url: server.url, token: source });
  follow(hanging.client, 'r1');
  const query = hanging.client.auth.me.query();
  await vi.waitFor(() => expect(source).toHaveBeenCalledOnce(), 30_000);
  await hanging.connection.close();
  await expect(query).rejects.toThrow('the connection has been closed');

  const waiting = open({ url: server.url, token: source });
  const received = follow(waiting.client, 'r1');
  await vi.waitFor(() => expect(source).toHaveBeenCalledTimes(2), 30_000);
  source.mockReturnValue(token);
  waiting.connection.reconnect();
  await received.until(() => received.items.length === 2);
  expect(source).toHaveBeenCalledTimes(3);
});
