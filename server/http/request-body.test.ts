import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { Turns } from '../slices.ts';
import { InFlight } from './in-flight.ts';
import { RequestBody } from './request-body.ts';

class CountedTurns extends Turns {
  calls = 0;

  override next(options?: Parameters<Turns['next']>[0]): Promise<void> | undefined {
    this.calls++;
    return super.next(options);
  }
}

test('[Q17] a body with many short lines gives way to others before each line', async () => {
  const turns = new CountedTurns();
  const lines = Buffer.from(`[${'[],'.repeat(500)}0]\n`.repeat(400));
  const request = Object.assign(Readable.from([lines]), { headers: {} }) as unknown as IncomingMessage;
  const body = new RequestBody(request, new InFlight().hold('ada'), turns);
  expect(await body.lines(1_000_000, 1_000)).toHaveLength(400);
  expect(turns.calls).toBeGreaterThanOrEqual(400);
});
