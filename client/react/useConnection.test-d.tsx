import { expectTypeOf, test } from 'vitest';
import { type ConnectionState, useConnection } from './index.tsx';

/** Never run: what is wrong here does not compile. */

test('[H1] useConnection takes nothing, and tells what can be acted on', () => {
  const connection = useConnection();
  expectTypeOf(connection).toEqualTypeOf<{
    state: ConnectionState;
    isConnected: boolean;
    error: Error | null;
    attempts: number;
    retryAt: number | null;
    reconnect(): void;
  }>();
  // @ts-expect-error -- it is the provider's connection, whatever it is of
  useConnection({ url: 'https://example.org' });
  // @ts-expect-error -- there is no such state
  if (connection.state === 'offline') return;
});
