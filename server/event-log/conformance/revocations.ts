import { expect, test } from 'vitest';
import { byId, type OpenLog, upTo } from './kit.ts';

/** Tests of the revocations of tokens (contract/revocations.ts). */
export function describeRevocations(openLog: OpenLog): void {
  test('[A10] a revocation is stored once, with the later atMs and a known untilMs, and deleted after untilMs', async () => {
    const { revocations } = await openLog();
    expect(await revocations.all()).toEqual([]);
    await revocations.put({ kind: 'jti', id: 'a', atMs: 10 });
    await revocations.put({ kind: 'sub', id: 'a', atMs: 20 });
    await revocations.put({ kind: 'jti', id: 'b', atMs: 30, untilMs: 40 });
    expect(byId(await revocations.all())).toEqual([
      { kind: 'jti', id: 'a', atMs: 10 },
      { kind: 'jti', id: 'b', atMs: 30, untilMs: 40 },
      { kind: 'sub', id: 'a', atMs: 20 },
    ]);
    await revocations.put({ kind: 'sub', id: 'a', atMs: 15 });
    await revocations.put({ kind: 'jti', id: 'a', atMs: 12, untilMs: 50 });
    await revocations.put({ kind: 'jti', id: 'b', atMs: 30 });
    const all = [
      { kind: 'jti', id: 'a', atMs: 12, untilMs: 50 },
      { kind: 'jti', id: 'b', atMs: 30, untilMs: 40 },
      { kind: 'sub', id: 'a', atMs: 20 },
    ];
    expect(byId(await revocations.all())).toEqual(all);
    await revocations.forget(40);
    expect(byId(await revocations.all())).toEqual(all);
    await revocations.forget(41);
    expect(byId(await revocations.all())).toEqual([all[0], all[2]]);
  });

  test('[A10] an untilMs beyond every date is kept as a number that can be read back', async () => {
    const { revocations } = await openLog();
    for (const [index, untilMs] of [9_999_999_999_999_000, 1e300, Number.MAX_SAFE_INTEGER].entries()) {
      await revocations.put({ kind: 'jti', id: `${index}`, atMs: 1, untilMs });
    }
    const { MAX_SAFE_INTEGER } = Number;
    expect((await revocations.all()).map(({ untilMs }) => untilMs)).toEqual(Array(3).fill(MAX_SAFE_INTEGER));
  });

  test('[A10] all revocations are returned, for any number and any ids', async () => {
    const { revocations } = await openLog();
    const ids = [...upTo(2_500).map((n) => `id ${n}`), "'; --", 'é', '😀'];
    await Promise.all(ids.map((id, atMs) => revocations.put({ kind: 'jti', id, atMs })));
    await revocations.put({ kind: 'sub', id: 'id 1', atMs: 1 });
    const all = await revocations.all();
    expect(all).toHaveLength(ids.length + 1);
    expect(new Map(all.filter(({ kind }) => kind === 'jti').map(({ id, atMs }) => [id, atMs]))).toEqual(
      new Map(ids.map((id, atMs) => [id, atMs])),
    );
  });
}
