import { expect, test } from 'vitest';
import { open } from '../../tests/support/client.ts';
import { retryLoading } from './subscription.ts';

test('[C12] a request of a closed connection is not tried again', async () => {
  for (const token of [undefined, 'a', () => 'a']) {
    const { client, connection } = open({ url: 'http://127.0.0.1:9', token });
    const loading = retryLoading(() => client.run.list.query(), new AbortController().signal);
    await connection.close();
    await expect(loading).rejects.toMatchObject({ code: 'UNAVAILABLE', message: 'the connection has been closed' });
  }
});
