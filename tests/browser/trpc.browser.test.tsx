import { expect, test } from 'vitest';
import { RunwireProvider, trpc, useRunEvents } from '../../client/react/index.ts';
import { mount, until } from './mount.tsx';
import { draft, openServer } from './servers.ts';

test('[C7] the stock useSubscription and queries share the connection of the provider', async () => {
  const server = await openServer();
  const received: string[] = [];
  const hook = await mount(server, {
    props: undefined,
    isStrict: false,
    Provider: RunwireProvider,
    use: () => {
      trpc.onRunEvent.useSubscription(
        { runId: 'r1', from: 'start' },
        { onData: ({ data }) => void received.push(data.type) },
      );
      return { me: trpc.auth.me.useQuery(), events: useRunEvents({ runId: 'r1' }) };
    },
  });
  await until(() => expect(hook.result.current.me.data?.sub).toBe('ada'));
  await until(() => expect(received).toEqual(['stream.live']));
  await server.publish(draft('run.started', 'r1', {}));
  await until(() => expect(received).toEqual(['stream.live', 'run.started']));
  expect(await server.stats()).toMatchObject({ connections: 1, subscriptions: 2 });
});
