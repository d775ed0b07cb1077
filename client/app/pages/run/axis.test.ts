import { expect, test } from 'vitest';
import type { RunView, Stage } from '../../../../shared/run.ts';
import { shownStatus, spanOf, ticksOf, tickText } from './axis.ts';

const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second)).toISOString();
const ms = (second: number) => Date.parse(at(second));
const view = (more: object) => ({ createdAt: at(10), stages: [], approvals: [], ...more }) as unknown as RunView;

test('[U5] the axis spans the first to the last instant of a run, and up to now while it is running', () => {
  expect(spanOf(view({ startedAt: at(20) }), ms(60))).toEqual({ startMs: ms(20), endMs: ms(60) });
  // The clock of the producer may be ahead of the browser's: later instants extend the axis.
  const stages = [{ startedAt: at(15), endedAt: at(90) }];
  expect(spanOf(view({ startedAt: at(20), stages }), ms(60))).toEqual({ startMs: ms(15), endMs: ms(90) });
  expect(spanOf(view({ startedAt: at(20), endedAt: at(80) }), ms(900))).toEqual({ startMs: ms(20), endMs: ms(80) });
  expect(spanOf(view({}), ms(10))).toEqual({ startMs: ms(10), endMs: ms(15) });
});

test('[U5] ticks have at least 96 px between them at any scale, and show the time since the start', () => {
  const texts = (spanMs: number) => {
    const { stepMs, ticks } = ticksOf(1_000 / spanMs, 0, 1_000);
    expect(ticks.length).toBeGreaterThan(1);
    expect((stepMs * 1_000) / spanMs).toBeGreaterThanOrEqual(96);
    return ticks.slice(0, 4).map((tick) => tickText(tick, stepMs));
  };
  expect(texts(1_000)).toEqual(['0', '0.1 s', '0.2 s', '0.3 s']);
  expect(texts(60_000)).toEqual(['0', '10 s', '20 s', '30 s']);
  expect(texts(300_000)).toEqual(['0', '30 s', '1 min', '1:30 min']);
  expect(texts(4 * 3_600_000)).toEqual(['0', '30 min', '1 h', '1:30 h']);
  expect(texts(9 * 86_400_000)).toEqual(['0', '1 d', '2 d', '3 d']);
  // Only the visible part has ticks.
  expect(ticksOf(1, 1_000_000, 1_000_400).ticks).toEqual([1_000_000, 1_000_100, 1_000_200, 1_000_300]);
});

test('[U5] in an ended run, a running stage is unfinished and a pending stage was not run', () => {
  const of = (status: string) => ({ status }) as Stage;
  expect(['pending', 'running', 'failed'].map((status) => shownStatus(of(status), false))).toEqual([
    'pending',
    'running',
    'failed',
  ]);
  expect(['pending', 'running', 'completed', 'failed'].map((status) => shownStatus(of(status), true))).toEqual([
    'not run',
    'unfinished',
    'completed',
    'failed',
  ]);
});
