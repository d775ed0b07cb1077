import { describe, expect, test } from 'vitest';
import type { RunEvent } from '../../shared/events.ts';
import { checkLogs, checkReader, type LoggedLog, type ProblemKind } from './checker.ts';
import type { ReaderPlan } from './plan.ts';
import { type Item, Transcript } from './transcript.ts';

describe('the checker', () => {
  const epoch = 'ab12';
  const event = (seq: number, more: object = {}): RunEvent =>
    ({
      type: 'stage.progress',
      seq,
      runSeq: seq,
      projectId: 'p',
      runId: 'r',
      stageId: 's',
      progress: seq,
      timestamp: `${seq}`,
      ...more,
    }) as never;
  const log: LoggedLog = { epoch, events: [1, 2, 3, 4, 5].map((seq) => event(seq)), trims: [] };
  const live = (seq: number): Item => ({ type: 'stream.live', seq });
  const gap = (reason: 'expired' | 'epoch_changed', toSeq: number): Item => ({
    type: 'stream.gap',
    reason,
    fromSeq: 1,
    toSeq,
  });
  const plan: ReaderPlan = {
    name: 'reader',
    kind: 'wire',
    scope: { kind: 'all' },
    start: 'start',
    conflate: false,
    sub: 'ada',
    projects: ['*'],
    turns: [0],
  };
  const kindsOf = (items: Item[], { of = plan, logs = [log] } = {}): ProblemKind[] => {
    const transcript = new Transcript(of, () => logs[0]?.trims.length ?? 0);
    transcript.hasStayed = true;
    for (const item of items) transcript.add(`${epoch}.${item.type === 'stream.gap' ? item.toSeq : item.seq}`, item);
    return checkReader(transcript, logs).map(({ kind }) => kind);
  };
  const seen = (...seqs: number[]): Item[] => seqs.map((seq) => event(seq));

  test('[W14] a complete transcript in order has no problem', () => {
    expect(kindsOf([...seen(1, 2, 3), live(3), ...seen(4, 5), live(5)])).toEqual([]);
    expect(kindsOf([live(2), ...seen(3, 4, 5)], { of: { ...plan, start: 'now' } })).toEqual([]);
  });

  test('[W14] lost, repeated, out-of-order and altered events are told apart', () => {
    expect(kindsOf(seen(1, 2, 4, 5))).toEqual(['lost']);
    expect(kindsOf([...seen(1, 2), live(5)])).toEqual(['lost', 'lost', 'lost']);
    expect(kindsOf(seen(1, 2, 3))).toEqual(['lost', 'lost']);
    expect(kindsOf(seen(1, 2, 2, 3, 4, 5))).toEqual(['repeated']);
    expect(kindsOf(seen(1, 3, 2, 4, 5))).toEqual(['out of order']);
    expect(kindsOf([...seen(1, 2, 3, 4), event(5, { progress: 99 })])).toEqual(['altered']);
  });

  test('[W14] a gap without a reason is a problem, and so is a missing gap', () => {
    expect(kindsOf([gap('expired', 2), ...seen(3, 4, 5)])).toEqual(['gap']);
    expect(kindsOf([gap('expired', 2), ...seen(3, 4, 5)], { logs: [{ ...log, trims: [3] }] })).toEqual([]);
    expect(kindsOf([gap('epoch_changed', 3), ...seen(4, 5)])).toEqual(['gap']);
    expect(kindsOf([gap('epoch_changed', 3), ...seen(4, 5)], { of: { ...plan, start: 'foreign' } })).toEqual([]);
    expect(kindsOf([live(3), ...seen(4, 5)], { of: { ...plan, start: 'foreign' } })).toEqual(['gap']);
  });

  test('[W14] an event id may be logged twice only after its first event was trimmed', () => {
    const twice = { ...log, events: [1, 2, 3].map((seq) => event(seq, { eventId: seq === 2 ? 'b' : 'a' })) };
    const acknowledged = [
      { publisher: 'p', drafts: twice.events.map(({ projectId, eventId }) => ({ projectId, eventId })) },
    ];
    const countIn = (trims: number[]) =>
      checkLogs([{ ...twice, trims }], acknowledged as never).filter(({ detail }) => detail.includes('twice')).length;
    expect([countIn([]), countIn([1]), countIn([2])]).toEqual([1, 1, 0]);
  });

  test('[W14] a conflating reader may miss a progress event that a later one supersedes, and nothing else', () => {
    const of = { ...plan, conflate: true };
    expect(kindsOf(seen(1, 5), { of })).toEqual([]);
    expect(kindsOf(seen(1, 2, 3, 4), { of })).toEqual(['lost']);
    const ended = {
      ...log,
      events: log.events.map((each) => (each.seq === 3 ? event(3, { type: 'stage.completed' }) : each)),
    };
    expect(kindsOf(seen(1, 5), { of, logs: [ended] })).toEqual(['lost']);
  });
});
