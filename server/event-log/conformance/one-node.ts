import { expect, test } from 'vitest';
import type { StoredEvent } from '../contract/log.ts';
import { append, created, eraseAt, type OpenLog, started, T0, until } from './kit.ts';

/** Tests of the state of a log on one node (contract/log.ts, contract/nodes.ts). `nodes.ts` tests several. */
export function describeOneNode(openLog: OpenLog): void {
  test('[L40] the head is known and durable inside the listeners, and a position beyond it is not reached', async () => {
    const log = await openLog();
    expect(await log.durableHead()).toEqual({ seq: 0, hashPrefix: '00000000' });
    expect(log.isCurrent).toBe(true);
    const heads: unknown[] = [];
    const asked: Promise<unknown>[] = [];
    log.subscribe((records) => {
      heads.push([records.at(-1)?.seq, log.head]);
      asked.push(log.reached(log.head, 0), log.durableHead());
    });
    await append(log, created(), started());
    const { head: seq, headHashPrefix: hashPrefix } = log;
    expect(heads).toEqual([[2, 2]]);
    expect(await Promise.all(asked)).toEqual([true, { seq, hashPrefix }]);
    expect(await log.durableHead()).toEqual({ seq, hashPrefix });
    expect(await log.reached(1, 0)).toBe(true);
    expect(await log.reached(3, 60_000)).toBe(false);
  });

  test('[L42] a page has the oldest position and the number of erasures of its snapshot, and states whether it has the end', async () => {
    let now = T0;
    const log = await openLog({ now: () => now });
    await append(log, created(), started(), started());
    const page = async (after: number, limit = 9) => {
      const { records: _, ...rest } = await log.read({ scope: { kind: 'all' }, after, limit });
      return rest;
    };
    const scan = (after: number) => log.scan({ projectId: 'p', runId: 'r', after, visit: () => after > 0 });
    const { erasures } = log;
    expect(await page(0)).toEqual({ scannedTo: 3, isExhausted: true, oldest: 1, erasures });
    expect(await page(0, 2)).toEqual({ scannedTo: 2, isExhausted: false, oldest: 1, erasures });
    expect(await page(3)).toEqual({ scannedTo: 3, isExhausted: true, oldest: 1, erasures });
    expect(await scan(0)).toEqual({ scannedTo: 1, isExhausted: false, oldest: 1, erasures });
    expect(await scan(1)).toEqual({ scannedTo: 3, isExhausted: true, oldest: 1, erasures });
    const seen: [StoredEvent, number][] = [];
    log.integrity.onErased((record) => seen.push([record, log.erasures]));
    await eraseAt(log, 3);
    await eraseAt(log, 3);
    expect(seen).toEqual([[expect.objectContaining({ seq: 3, users: [] }), erasures + 1]]);
    expect(await page(2)).toMatchObject({ isExhausted: true, erasures: erasures + 1 });
    expect(await scan(2)).toMatchObject({ isExhausted: true, erasures: erasures + 1 });
    const changed = await log.runs.changedSince({ projects: ['p'], after: 0, limit: 9 });
    expect(changed).toMatchObject({ scannedTo: 3, erasures: erasures + 1 });
    now += 1_000;
    await append(log, started());
    await log.trim(now);
    expect(await page(0)).toMatchObject({ scannedTo: 4, oldest: 4 });
    expect(await scan(0)).toMatchObject({ oldest: 4 });
  });

  test('[L44] a check without a result leaves none in the receipt', async () => {
    const log = await openLog();
    const [receipt] = await log.append({ actor: 'ci', drafts: [created()], check: () => undefined });
    expect(Object.keys(receipt ?? {}).toSorted()).toEqual(['eventId', 'isDuplicate', 'runSeq', 'seq']);
  });

  test('[L45] a renewed epoch calls the listeners of onEpoch once, and keeps the id of the log', async () => {
    const log = await openLog();
    await append(log, created());
    const { id, epoch } = log;
    const epochs: string[] = [];
    const stop = log.onEpoch(() => epochs.push(log.epoch));
    log.onEpoch(() => {
      throw new Error('a listener that fails');
    });
    const renewed = await log.integrity.renewEpoch('restored');
    expect(renewed).not.toBe(epoch);
    await until(() => epochs.length > 0);
    stop();
    await log.integrity.renewEpoch('restored again');
    expect(epochs).toEqual([renewed]);
    expect(log.id).toBe(id);
    expect(await append(log, started())).toMatchObject([{ seq: 2, runSeq: 2 }]);
  });

  test('[L48] a lease is held once it has been asked for, until its release', async () => {
    const { nodes } = await openLog();
    const changes: boolean[] = [];
    const lease = nodes.lease('expiry', (isHeld) => changes.push(isHeld));
    const other = nodes.lease('retention', () => undefined);
    expect(lease.isHeld).toBe(false);
    await until(() => lease.isHeld && other.isHeld);
    await lease.release();
    expect([lease.isHeld, other.isHeld, changes]).toEqual([false, true, [true]]);
    const abandoned = nodes.lease('expiry', () => changes.push(false));
    await abandoned.release();
    const again = nodes.lease('expiry', () => undefined);
    await until(() => again.isHeld);
    expect([abandoned.isHeld, changes]).toEqual([false, [true]]);
  });

  test('[L49] a node is first in its list with its present state, and a message of more than 64 KiB is refused', async () => {
    const { nodes } = await openLog();
    expect(await nodes.list()).toEqual([{ id: nodes.id, isSelf: true, state: {} }]);
    let readers = 1;
    let reads = 0;
    nodes.publishState(() => {
      reads++;
      return { readers };
    });
    readers = 2;
    await nodes.list();
    expect(reads).toBe(0); // Nobody has looked at the state.
    expect(await nodes.list()).toEqual([{ id: nodes.id, isSelf: true, state: { readers: 2 } }]);
    const received: unknown[] = [];
    nodes.receive('presence', (message) => received.push(message));
    nodes.send('presence', 'x'.repeat(60_000));
    expect(() => nodes.send('presence', 'é'.repeat(40_000))).toThrow(expect.objectContaining({ code: 'TOO_LARGE' }));
    expect(received).toEqual([]);
    expect((await openLog().then((other) => other.nodes)).id).not.toBe(nodes.id);
  });
}
