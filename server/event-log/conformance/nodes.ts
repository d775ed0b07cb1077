import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RunwireError } from '../../../shared/errors.ts';
import type { RunEvent } from '../../../shared/events.ts';
import type { StoredEvent } from '../contract/log.ts';
import type { EventLog } from '../contract/store.ts';
import {
  append,
  arbitraryTurns,
  attempt,
  created,
  draft,
  eraseAt,
  folded,
  type Place,
  readAll,
  seqs,
  started,
  T0,
  until,
  untilReached,
  upTo,
  viewOf,
} from './kit.ts';

/** Tests with several nodes on one log, for stores that allow it. */
export function describeNodes(makePlace: () => Promise<Place>): void {
  /** Opens nodes of a new log. `now`: the clock of each node. */
  async function open(count: number, now: (node: number) => number = () => T0): Promise<EventLog[]> {
    const place = await makePlace();
    return Promise.all(upTo(count).map((_, node) => place.open({ now: () => now(node) })));
  }
  const two = async (now?: (node: number) => number) => (await open(2, now)) as [EventLog, EventLog];

  /** The records that each call of a listener gets. */
  function follow(log: EventLog): StoredEvent[][] {
    const calls: StoredEvent[][] = [];
    log.subscribe((records) => calls.push([...records]));
    return calls;
  }

  /** Resolves once all nodes have the last position of the store. Returns it. */
  async function settle(...logs: EventLog[]): Promise<number> {
    const { seq } = await (logs[0] as EventLog).durableHead();
    for (const log of logs) await untilReached(log, seq);
    return seq;
  }

  test('[L7] all nodes have the same id, epoch, secret and public key', async () => {
    const [a, b] = await two();
    const identity = ({ id, epoch, secret, integrity }: EventLog) => [id, epoch, secret, integrity.publicKey];
    expect(identity(b)).toEqual(identity(a));
    expect(b.nodes.id).not.toBe(a.nodes.id);
  });

  test('[L41] every node gets every record once, in order, whole batches at once, with users and hash prefix', async () => {
    const nodes = await open(3);
    const followed = nodes.map(follow);
    const batches = await Promise.all(
      nodes.flatMap((log, node) =>
        ['x', 'y'].map(async (publisher) => {
          const receipts = [];
          for (const round of upTo(20)) {
            const runId = round % 2 ? 'shared' : `${node}${publisher}`;
            const audience = [`user-${node}`, `round-${round}`];
            receipts.push(await append(log, created({ runId, createdBy: 'ann' }), started({ runId, audience })));
          }
          return receipts;
        }),
      ),
    );
    const head = await settle(...nodes);
    expect(head).toBe(240);
    const [stored] = await Promise.all(nodes.map((log) => readAll(log)));
    for (const calls of followed) {
      const records = calls.flat();
      expect(seqs(records)).toEqual(upTo(head));
      expect(records.map(({ json }) => json)).toEqual(stored?.map(({ json }) => json));
      expect(records.map(({ hashPrefix }) => hashPrefix)).toEqual(stored?.map(({ hashPrefix }) => hashPrefix));
      const users = (record: StoredEvent) => record.users?.toSorted().join();
      const wanted = records.map(({ event }) => ['ann', ...((event as RunEvent).audience ?? [])].sort().join());
      expect(records.map(users)).toEqual(wanted);
      const callOf = new Map(calls.flatMap((call, index) => call.map(({ seq }) => [seq, index])));
      for (const [first, second] of batches.flat()) {
        expect(callOf.get(first?.seq as number)).toBe(callOf.get(second?.seq as number));
      }
    }
  });

  test('[L41] append resolves after the listeners of its own node have the records, also those of earlier positions', async () => {
    const [a, b] = await two();
    await Promise.all(
      [a, b].map(async (log) => {
        const calls = follow(log);
        for (const _ of upTo(40)) {
          const [receipt] = await append(log, started());
          expect(log.head).toBeGreaterThanOrEqual(receipt?.seq as number);
          const received = seqs(calls.flat());
          expect(received).toEqual(upTo(received.length).map((n) => n + (received[0] as number) - 1));
          expect(received).toContain(receipt?.seq);
        }
      }),
    );
  });

  test('[L41] a node that opens while others append misses nothing after its head', async () => {
    const place = await makePlace();
    const writer = await place.open();
    let isOver = false;
    const writing = (async () => {
      while (!isOver) await append(writer, started(), started());
    })();
    for (const _ of upTo(5)) {
      const reader = await place.open();
      const begin = reader.head;
      const calls = follow(reader);
      await untilReached(reader, begin + 10);
      expect(seqs(calls.flat()).slice(0, 10)).toEqual(upTo(10).map((n) => begin + n));
    }
    isOver = true;
    await writing;
  });

  test('[L40] durableHead has every acknowledged event of any node, and reached resolves once the listeners have it', async () => {
    const [a, b] = await two();
    const calls = follow(b);
    for (const _ of upTo(20)) {
      const receipts = await append(a, started(), started());
      const { seq, hashPrefix } = await b.durableHead();
      expect([seq, hashPrefix]).toEqual([receipts.at(-1)?.seq, a.headHashPrefix]);
      expect(await b.reached(seq, 60_000)).toBe(true);
      expect(calls.flat().at(-1)?.seq).toBe(seq);
      expect([b.head, b.headHashPrefix]).toEqual([seq, hashPrefix]);
    }
    expect(await b.reached(b.head + 1, 60_000)).toBe(false);
  });

  test('[L42] no page, scan or list of changes goes beyond the head of its node while another node appends', async () => {
    const [a, b] = await two();
    await append(a, created());
    await settle(a, b);
    const writing = (async () => {
      for (const _ of upTo(50)) await append(a, ...upTo(10).map(() => started()));
    })();
    let isOver = false;
    const done = writing.finally(() => {
      isOver = true;
    });
    for (let after = 0; !isOver; ) {
      const page = await b.read({ scope: { kind: 'project', projectId: 'p' }, after, limit: 1_000 });
      expect(page.scannedTo).toBeLessThanOrEqual(b.head);
      expect(seqs(page.records)).toEqual(upTo(page.scannedTo - after).map((n) => after + n));
      after = page.scannedTo;
      const scan = await b.scan({ projectId: 'p', runId: 'r', after, visit: () => true });
      expect(scan.scannedTo).toBeLessThanOrEqual(b.head);
      const changes = await b.runs.changedSince({ projects: 'all', after: 0, limit: 10 });
      expect(changes.scannedTo).toBeLessThanOrEqual(b.head);
      for (const { lastSeq } of changes.runs) expect(lastSeq).toBeLessThanOrEqual(changes.scannedTo);
    }
    await done;
    await settle(a, b);
    const changes = await b.runs.changedSince({ projects: 'all', after: 0, limit: 10 });
    expect(changes).toMatchObject({ scannedTo: 501, runs: [{ lastSeq: 501 }] });
  });

  test('[L42] a page after a trim by another node has the new oldest position', async () => {
    let now = T0;
    const [a, b] = await two(() => now);
    await append(a, ...upTo(20).map(() => started()));
    await settle(a, b);
    now += 1_000;
    await append(b, started());
    await a.trim(now);
    expect(await b.read({ scope: { kind: 'all' }, after: 0, limit: 100 })).toMatchObject({ oldest: 21 });
    expect(await b.scan({ projectId: 'p', runId: 'r', after: 0, visit: () => true })).toMatchObject({ oldest: 21 });
    await until(() => b.oldest === 21);
  });

  test('[L43] an event that several nodes append at once is stored once, and all get its position', async () => {
    const nodes = await open(3);
    for (const round of upTo(30)) {
      const event = created({ eventId: `e${round}`, runId: `r${round % 3}` });
      const receipts = await Promise.all(
        nodes.map((log, node) => append(log, started({ runId: `r${(round + node) % 3}` }), event)),
      );
      const repeated = receipts.map(([, receipt]) => receipt);
      expect(repeated.filter((receipt) => receipt?.isDuplicate === false)).toHaveLength(1);
      expect(new Set(repeated.map((receipt) => `${receipt?.seq} ${receipt?.runSeq}`)).size).toBe(1);
      expect(await (nodes[round % 3] as EventLog).seqOf('p', `e${round}`)).toBe(repeated[0]?.seq);
    }
    expect(await settle(...nodes)).toBe(120);
  });

  test('[L43] [L44] of the decisions that several nodes take of one approval, one is logged and has its result in the receipt', async () => {
    const nodes = await open(3);
    const [first] = nodes as [EventLog];
    await append(first, ...upTo(20).map((n) => draft('governance.required', { approvalId: `a${n}`, title: 't' })));
    await settle(...nodes);
    for (const n of upTo(20)) {
      const approvalId = `a${n}`;
      const decide = (log: EventLog, node: number) =>
        log.append({
          actor: `user-${node}`,
          drafts: [
            node === 1
              ? draft('approval.denied', { approvalId, decidedBy: `user-${node}`, reason: 'no' })
              : draft('approval.granted', { approvalId, decidedBy: `user-${node}` }),
          ],
          check: (rows) => {
            if (rows.approval(approvalId)?.status !== 'pending') {
              throw new RunwireError('APPROVAL_ALREADY_DECIDED', 'decided before');
            }
            return `${approvalId} by ${node}`;
          },
        });
      const answers = await Promise.all(
        nodes.map((log, node) => decide(log, node).catch(({ code }: { code: string }) => code)),
      );
      const taken = answers.flatMap((answer, node) => (typeof answer === 'string' ? [] : [{ node, answer }]));
      expect(taken).toHaveLength(1);
      expect(answers.filter((answer) => answer === 'APPROVAL_ALREADY_DECIDED')).toHaveLength(2);
      const [{ node, answer }] = taken as [(typeof taken)[0]];
      expect(answer).toMatchObject([{ checked: `${approvalId} by ${node}`, isDuplicate: false }]);
      const stored = await (nodes[(node + 1) % 3] as EventLog).approvals.get('p', 'r', approvalId);
      const status = node === 1 ? 'denied' : 'granted';
      expect(stored?.approval).toMatchObject({ status, decisions: [{ decidedBy: `user-${node}` }] });
    }
  });

  test('[L43] [F10] runs that several nodes write at once equal the fold of their events, and the chain verifies', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(arbitraryTurns(), { minLength: 3, maxLength: 3 }), async (turns) => {
        const nodes = await open(3);
        await Promise.all(
          turns.map(async (ofNode, node) => {
            for (const batches of ofNode) {
              await Promise.all(batches.map((batch) => attempt(nodes[node] as EventLog, batch)));
            }
          }),
        );
        const head = await settle(...nodes);
        for (const log of nodes) {
          const records = await readAll(log);
          expect(seqs(records)).toEqual(upTo(head));
          for (const projectId of ['p', 'q']) {
            for (const runId of ['r', 's']) {
              const ofRun = records.filter((record) => record.projectId === projectId && record.runId === runId);
              expect(ofRun.map(({ runSeq }) => runSeq)).toEqual(upTo(ofRun.length));
              expect((await viewOf(log, projectId, runId))?.run).toEqual(folded(ofRun));
            }
          }
        }
        expect(await (nodes[0] as EventLog).integrity.verify()).toMatchObject({ ok: true });
      }),
      { numRuns: 5 },
    );
  });

  test('[L9] recordedAt never decreases, even when the clocks of the nodes differ', async () => {
    const nodes = await open(3, (node) => T0 + node * 60_000);
    for (const n of upTo(12)) await append(nodes[(n * 2) % 3] as EventLog, started());
    await settle(...nodes);
    const times = (await readAll(nodes[0] as EventLog)).map(({ event }) => (event as RunEvent).recordedAt);
    expect(times).toHaveLength(12);
    expect(times).toEqual(times.toSorted());
  });

  test('[L45] a renewed epoch is the epoch of every node, and calls its listeners', async () => {
    const [a, b] = await two();
    await append(a, created());
    await settle(a, b);
    const epochs: string[] = [];
    b.onEpoch(() => epochs.push(b.epoch));
    const epoch = await a.integrity.renewEpoch('restored');
    await until(() => epochs.length > 0);
    expect([a.epoch, b.epoch, epochs]).toEqual([epoch, epoch, [epoch]]);
    expect(await append(b, started())).toMatchObject([{ seq: 2, runSeq: 2 }]);
    await settle(a, b);
  });

  test('[L46] once erase has resolved, no node has the text in a page, a view or a search, and its listeners have the tombstone', async () => {
    const nodes = await open(3);
    const [a, b, c] = nodes as [EventLog, EventLog, EventLog];
    const text = 'Jane Doe';
    const stages = upTo(4).map((n) => draft('stage.started', { stageId: `s${n}`, name: `${text} ${n}` }));
    await append(a, created({ audience: ['ann'] }), ...stages);
    await settle(...nodes);
    for (const seq of [2, 3, 4]) {
      const before = nodes.map((log) => log.erasures);
      const erased: [StoredEvent, number][][] = nodes.map(() => []);
      const stops = nodes.map((log, node) =>
        log.integrity.onErased((record) => erased[node]?.push([record, log.erasures])),
      );
      await eraseAt(seq === 3 ? b : a, seq);
      for (const stop of stops) stop();
      for (const [node, log] of nodes.entries()) {
        const erasures = (before[node] as number) + 1;
        expect(erased[node]).toMatchObject([[{ seq, users: [] }, erasures]]);
        expect(erased[node]?.[0]?.[0].json).not.toContain(text);
        const page = await log.read({ scope: { kind: 'all' }, after: seq - 1, limit: 1 });
        expect(page).toMatchObject({ erasures: log.erasures, records: [{ seq }] });
        expect(page.records[0]?.json).not.toContain(text);
        expect(JSON.stringify(await viewOf(log, 'p', 'r'))).not.toContain(`${text} ${seq - 1}`);
        const { records } = await log.search.find({ projects: 'all', text: 'jane', limit: 9 });
        expect(seqs(records)).not.toContain(seq);
      }
    }
    expect((await readAll(c, { after: 4 }))[0]?.json).toContain(text);
  });

  test('[L46] a page that was read during an erasure has the text only if its number of erasures is lower', async () => {
    const [a, b] = await two();
    await append(a, ...upTo(40).map((n) => draft('stage.started', { stageId: `s${n}`, name: `secret-${n}-` })));
    await settle(a, b);
    const before = b.erasures;
    let done = 0;
    const erasing = (async () => {
      for (const seq of upTo(20)) {
        await eraseAt(a, seq);
        done = seq;
      }
    })();
    while (done < 20) {
      const erased = done;
      const page = await b.read({ scope: { kind: 'all' }, after: 0, limit: 100 });
      const left = page.records.filter(({ json }) => json.includes('secret-'));
      expect(page.erasures - before).toBeGreaterThanOrEqual(erased);
      expect(Math.min(...seqs(left))).toBeGreaterThan(page.erasures - before);
    }
    await erasing;
  });
}
