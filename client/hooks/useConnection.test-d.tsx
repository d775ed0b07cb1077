import { expectTypeOf, test } from 'vitest';
import type { RunwireError } from '../../shared/errors.ts';
import { type ConnectionState, useConnection } from './index.ts';

/** Only compiled, never run. */

test('[H1] [H41] useConnection takes the interval of checks and returns the status of the connection', () => {
  const connection = useConnection();
  expectTypeOf(connection).toEqualTypeOf<{
    state: ConnectionState;
    isConnected: boolean;
    error: RunwireError | null;
    attempts: number;
    retryAt: number | null;
    serverTimeOffsetMs: number;
    isChecked: boolean;
    checkedAt: number | null;
    check(): Promise<boolean>;
    reconnect(): void;
  }>();
  useConnection({ checkEveryMs: 5_000 });
  // @ts-expect-error -- the connection is the provider's
  useConnection({ url: 'https://example.org' });
  // @ts-expect-error -- unknown state
  if (connection.state === 'offline') return;
});
