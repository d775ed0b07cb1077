import { expect, test } from 'vitest';
import { type OpenLog, upTo } from './kit.ts';

/** Tests of the state of producers (contract/producer-state.ts). */
export function describeProducerState(openLog: OpenLog): void {
  test('[P10] the state of producers is read by scope and key, and the last write of a key remains', async () => {
    const { producerState } = await openLog();
    expect(await producerState.read('a', ['k'])).toEqual(new Map());
    await producerState.write('a', new Map(upTo(2_500).map((n) => [`k${n}`, `a${n}`])));
    await producerState.write('b', new Map([['k1', 'b1']]));
    await producerState.write('a', new Map([['k2', "'; --"]]));
    await producerState.write('a', new Map());
    expect(await producerState.read('a', ['k1', 'k2', 'none'])).toEqual(
      new Map([
        ['k1', 'a1'],
        ['k2', "'; --"],
      ]),
    );
    expect(
      (
        await producerState.read(
          'a',
          upTo(2_500).map((n) => `k${n}`),
        )
      ).size,
    ).toBe(2_500);
    expect(await producerState.read('b', ['k1', 'k2'])).toEqual(new Map([['k1', 'b1']]));
  });

  test('[P10] a trim deletes the state of producers that was last written before its instant', async () => {
    const log = await openLog();
    await log.producerState.write('a', new Map(upTo(2_500).map((n) => [`k${n}`, 'v'])));
    await log.trim(Date.now() - 60_000);
    expect((await log.producerState.read('a', ['k1', 'k2500'])).size).toBe(2);
    await log.trim(Date.now() + 60_000);
    expect(
      (
        await log.producerState.read(
          'a',
          upTo(2_500).map((n) => `k${n}`),
        )
      ).size,
    ).toBe(0);
  });
}
