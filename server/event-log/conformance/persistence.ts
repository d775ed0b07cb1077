import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { AccessEntry } from '../../../shared/audit.ts';
import type { RunEvent } from '../../../shared/events.ts';
import type { Revocation } from '../contract/revocations.ts';
import {
  append,
  arbitraryDraft,
  byId,
  created,
  eraseAt,
  fillForSearch,
  folded,
  instant,
  matching,
  type Place,
  readAll,
  searchAll,
  seqs,
  started,
  T0,
} from './kit.ts';

/** Tests with restarts, for stores that keep their data. */
export function describePersistence(makePlace: () => Promise<Place>): void {
  test('[L1] seq and runSeq continue after a restart, with and without a trim', async () => {
    const place = await makePlace();
    let log = await place.open();
    await append(log, created(), started(), created({ runId: 's' }));
    await log.close();
    log = await place.open();
    expect({ head: log.head, oldest: log.oldest }).toEqual({ head: 3, oldest: 1 });
    expect(await append(log, started())).toMatchObject([{ seq: 4, runSeq: 3 }]);
    await log.trim(Date.now() + 60_000);
    await log.close();
    log = await place.open();
    expect({ head: log.head, oldest: log.oldest }).toEqual({ head: 4, oldest: 4 });
    expect(await append(log, started({ runId: 's' }))).toMatchObject([{ seq: 5, runSeq: 2 }]);
    expect(seqs(await readAll(log))).toEqual([4, 5]);
  });

  test('[L3] an eventId is stored once across a restart', async () => {
    const place = await makePlace();
    let log = await place.open();
    const event = created();
    await append(log, started({ runId: 's' }), event);
    await log.close();
    log = await place.open();
    expect(await append(log, event)).toMatchObject([{ seq: 2, runSeq: 1, isDuplicate: true }]);
  });

  test('[L7] epoch and secret stay the same across a restart', async () => {
    const place = await makePlace();
    let log = await place.open();
    const { epoch, secret } = log;
    await log.close();
    log = await place.open();
    expect([log.epoch, log.secret]).toEqual([epoch, secret]);
  });

  test('[L7] [V20] a renewed epoch stays, and signed records of the former one still verify', async () => {
    const place = await makePlace();
    let log = await place.open();
    await append(log, created(), started(), started());
    await eraseAt(log, 2);
    const former = log.epoch;
    const { checkpoint } = await log.integrity.checkpoint();
    expect(await log.integrity.compare(checkpoint)).toBe('held');
    expect(await log.integrity.compare({ ...checkpoint, seq: 2 })).toBe('foreign');
    const epoch = await log.integrity.renewEpoch('test');
    expect(epoch).not.toBe(former);
    expect(log.epoch).toBe(epoch);
    expect(await log.integrity.compare(checkpoint)).toBe('foreign');
    expect(await log.integrity.checkpoint()).toMatchObject({ isNew: true, checkpoint: { epoch, seq: 3 } });
    await log.close();
    log = await place.open();
    expect(log.epoch).toBe(epoch);
    await append(log, started());
    expect(await log.integrity.verify()).toMatchObject({ ok: true, to: 4, erased: 1 });
  });

  test('[A10] revocations survive a restart, and a trim of all events', async () => {
    const place = await makePlace();
    let log = await place.open();
    await append(log, created(), started());
    const put: Revocation[] = [
      { kind: 'jti', id: 'a', atMs: 10, untilMs: 5_000_000_000_000 },
      { kind: 'sub', id: 'ann', atMs: 20 },
    ];
    for (const revocation of put) await log.revocations.put(revocation);
    await log.trim(Date.now() + 60_000);
    await log.close();
    log = await place.open();
    expect(byId(await log.revocations.all())).toEqual(put);
    await log.close();
    await expect(log.revocations.all()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await expect(log.revocations.put({ kind: 'jti', id: 'b', atMs: 1 })).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });

  test('[L9] recordedAt does not decrease when the clock was set back during a restart', async () => {
    const place = await makePlace();
    let log = await place.open({ now: () => T0 + 5_000 });
    await append(log, started());
    await log.close();
    log = await place.open({ now: () => T0 });
    await append(log, started());
    const times = (await readAll(log)).map((record) => (record.event as RunEvent).recordedAt);
    expect(times).toEqual([instant(5), instant(5)]);
  });

  test('[L31] a repair of the clock and the kept time of the clock survive a restart', async () => {
    const place = await makePlace();
    let now = T0 + 3_600_000;
    let log = await place.open({ now: () => now });
    expect(await log.keptClock()).toBeUndefined();
    await log.keepClock(T0);
    await append(log, started());
    now = T0;
    await log.integrity.repairClock({ by: 'ada' });
    await log.close();
    log = await place.open({ now: () => now });
    expect({ kept: await log.keptClock(), newest: log.newestMs }).toEqual({ kept: T0, newest: T0 });
    now = T0 + 1_000;
    await append(log, started());
    expect((await readAll(log)).map(({ event }) => (event as RunEvent).recordedAt)).toEqual([
      instant(3_600),
      instant(1),
    ]);
    expect(await log.integrity.verify()).toMatchObject({ ok: true, events: 2 });
  });

  test('[F10] a run folded across restarts equals the fold of its events in memory', async () => {
    const place = await makePlace();
    const drafts = fc
      .sample(arbitraryDraft(), { numRuns: 200, seed: 7 })
      .map((item) => ({ ...item, eventId: randomUUID(), projectId: 'p' }));
    for (let index = 0; index < drafts.length; index += 40) {
      const log = await place.open();
      await append(log, ...drafts.slice(index, index + 40));
      const records = await readAll(log, { scope: { kind: 'run', projectId: 'p', runId: 'r' } });
      expect((await log.runs.get('p', 'r'))?.run).toEqual(folded(records));
      await log.close();
    }
  });

  test('[V1] a log with trims and erasures verifies across restarts, with earlier checkpoints', async () => {
    const place = await makePlace();
    const checkpoints = [];
    for (let round = 0; round < 4; round++) {
      let now = T0 + round * 1_000;
      const log = await place.open({ now: () => now });
      await append(log, created(), started(), started());
      checkpoints.push((await log.integrity.checkpoint()).checkpoint);
      await eraseAt(log, log.head - 1);
      now += 500;
      if (round === 2) await log.trim(T0 + 1_500);
      expect(await log.integrity.verify({ checkpoints })).toMatchObject({ ok: true, to: log.head });
      await log.close();
    }
    const log = await place.open();
    expect(await log.integrity.verify({ checkpoints })).toMatchObject({ ok: true, from: 7, to: 12, erased: 2 });
    expect(await log.integrity.checkpoint()).toEqual({ checkpoint: checkpoints[3], isNew: false });
  });

  test('[R5] the search index is complete after a restart at any position', async () => {
    const place = await makePlace();
    let now = T0;
    const tick = () => {
      now += 1_000;
    };
    for (const count of [3_000, 200, 16_000]) {
      const log = await place.open({ now: () => now });
      await fillForSearch(log, count, tick);
      const records = await readAll(log);
      for (const [text, projects] of [
        ['needle', 'all'],
        ['n2', ['z']],
        ['failed 17', ['p', 'z']],
      ] as const) {
        const found = await searchAll(log, { projects, text });
        expect(seqs(found.records)).toEqual(seqs(matching(records, { projects, text })));
      }
      await log.close();
    }
  });

  test('[R16] access entries survive a restart', async () => {
    const place = await makePlace();
    let log = await place.open();
    const entry: AccessEntry = { at: instant(1), sub: 'ann', action: 'x', outcome: 'ok', via: 'http', count: 3 };
    await log.access.write([entry]);
    await log.close();
    log = await place.open();
    expect(await log.access.list({ projects: 'all', limit: 9 })).toEqual({ entries: [entry] });
  });

  test('[L16] a batch accepted in the turn of close is in the log after a restart', async () => {
    const place = await makePlace();
    let log = await place.open();
    const accepted = append(log, created(), started());
    await log.close();
    await accepted;
    log = await place.open();
    expect(seqs(await readAll(log))).toEqual([1, 2]);
  });
}
