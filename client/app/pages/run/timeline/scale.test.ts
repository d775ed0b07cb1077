import { expect, test } from 'vitest';
import type { Approval, RunView, Stage } from '../../../../../shared/run.ts';
import { shownStatus } from '../axis.ts';
import { FOLD_PX, idleOf, Scale, spanOf, ticksOf, tickText } from './scale.ts';
import { anchorOf } from './useZoom.ts';

const at = (second: number) => new Date(Date.UTC(2026, 0, 1) + second * 1_000).toISOString();
const ms = (second: number) => Date.parse(at(second));
const view = (more: object) => ({ createdAt: at(10), stages: [], approvals: [], ...more }) as unknown as RunView;
const stage = (startedAt: number, endedAt?: number, more: object = {}) =>
  ({
    ...{ stageId: `s${startedAt}`, name: 's', status: endedAt === undefined ? 'running' : 'completed', attempt: 1 },
    ...{ progress: 0, startedAt: at(startedAt), ...(endedAt === undefined ? {} : { endedAt: at(endedAt) }), ...more },
  }) as unknown as Stage;

test('[U5] the axis spans the first to the last instant of a run, and up to now while it is running', () => {
  expect(spanOf(view({ startedAt: at(20) }), ms(60))).toEqual({ startMs: ms(20), endMs: ms(60) });
  // The clock of the producer may be ahead of the browser's: later instants extend the axis.
  const stages = [stage(15, 90)];
  expect(spanOf(view({ startedAt: at(20), stages }), ms(60))).toEqual({ startMs: ms(15), endMs: ms(90) });
  expect(spanOf(view({ startedAt: at(20), endedAt: at(80) }), ms(900))).toEqual({ startMs: ms(20), endMs: ms(80) });
  expect(spanOf(view({}), ms(10))).toEqual({ startMs: ms(10), endMs: ms(12) });
  expect(spanOf(view({ startedAt: at(20), endedAt: at(20.2) }), ms(900))).toEqual({ startMs: ms(20), endMs: ms(20.2) });
});

test('[U43] a stretch without a running stage is folded if it is longer than a minute and 10 % of the span', () => {
  const span = { startMs: ms(0), endMs: ms(36_000) };
  const idle = (stages: Stage[], approvals: Approval[] = [], of = span) => idleOf(stages, approvals, of);
  expect(idle([stage(0, 60), stage(35_940, 36_000)])).toEqual([
    { fromMs: ms(60), toMs: ms(35_940), isApproval: false },
  ]);
  // Stages that run beside each other leave nothing idle, and a short pause is not folded.
  expect(idle([stage(0, 20_000), stage(19_000, 36_000)])).toEqual([]);
  expect(idle([stage(0, 17_000), stage(20_000, 36_000)])).toEqual([]);
  expect(idle([stage(0, 30), stage(80, 100)], [], { startMs: ms(0), endMs: ms(100) })).toEqual([]);
  // The live end folds too.
  expect(idle([stage(0, 60)])).toEqual([{ fromMs: ms(60), toMs: ms(36_000), isApproval: false }]);
  // A stage does not run while an approval of it is pending.
  const approval = { stageId: 's0', requestedAt: at(100), decidedAt: at(35_000), status: 'granted' } as Approval;
  expect(idle([stage(0, 36_000)], [approval])).toEqual([{ fromMs: ms(100), toMs: ms(35_000), isApproval: true }]);
  const retried = stage(30_000, 36_000, {
    attempt: 2,
    attempts: [{ attempt: 1, status: 'failed', startedAt: at(0), endedAt: at(5_000) }],
  });
  expect(idle([retried])).toEqual([{ fromMs: ms(5_000), toMs: ms(30_000), isApproval: false }]);
});

test('[U43] positions and instants on a folded axis are inverse to each other, and a fold has 28 px', () => {
  const folds = [
    { fromMs: 60_000, toMs: 3_600_000, isApproval: true },
    { fromMs: 3_660_000, toMs: 9_000_000, isApproval: false },
  ];
  const scale = Scale.fitting({ startMs: 0, endMs: 9_060_000 }, folds, 1_000);
  expect(scale.widthPx).toBeCloseTo(1_000, 6);
  expect(scale.xOf(3_600_000) - scale.xOf(60_000)).toBeCloseTo(FOLD_PX, 6);
  expect(scale.xOf(60_000)).toBeCloseTo((1_000 - 2 * FOLD_PX) / 3, 6);
  for (let ms = 0; ms <= 9_060_000; ms += 7_777) expect(Math.abs(scale.msOf(scale.xOf(ms)) - ms)).toBeLessThan(1);
});

test('[U5] ticks have room for their texts at any scale, and show the time since the start', () => {
  const texts = (spanMs: number) => {
    const scale = Scale.fitting({ startMs: 0, endMs: spanMs }, [], 1_000);
    const ticks = ticksOf(scale, 0, 1_000, 1_100);
    expect(ticks.length).toBeGreaterThan(1);
    expect((ticks[1]?.x ?? 0) - (ticks[0]?.x ?? 0)).toBeGreaterThanOrEqual(64);
    return ticks.slice(0, 4).map(({ text }) => text);
  };
  expect(texts(200)).toEqual(['0', '0.02 s', '0.04 s', '0.06 s']);
  expect(texts(1_000)).toEqual(['0', '0.1 s', '0.2 s', '0.3 s']);
  expect(texts(60_000)).toEqual(['0', '5 s', '10 s', '15 s']);
  expect(texts(300_000)).toEqual(['0', '30 s', '1 min', '1:30 min']);
  expect(texts(4 * 3_600_000)).toEqual(['0', '30 min', '1 h', '1:30 h']);
  expect(texts(9 * 86_400_000)).toEqual(['0', '1 d', '2 d', '3 d']);
  expect(tickText(54_060_000, 10_000)).toBe('15:01 h');
  // Only the visible part has ticks.
  const long = new Scale({ startMs: 0, endMs: 2_000_000 }, [], 1);
  expect(ticksOf(long, 1_000_000, 1_000_400, 2_000_000).map(({ ms }) => ms)).toEqual([
    1_000_000, 1_000_100, 1_000_200, 1_000_300, 1_000_400,
  ]);
});

test('[U43] on both sides of a fold, ticks show the real time since the start, and none is within it', () => {
  const folds = [{ fromMs: 60_000, toMs: 54_060_000, isApproval: true }];
  const scale = Scale.fitting({ startMs: 0, endMs: 54_120_000 }, folds, 1_000);
  const ticks = ticksOf(scale, 0, 1_000, 1_120);
  expect(ticks.some(({ ms }) => ms > 60_000 && ms < 54_060_000)).toBe(false);
  const texts = ticks.map(({ text }) => text);
  expect(texts).toEqual(expect.arrayContaining(['0', '30 s', '15:01 h 10 s', '15:01 h 30 s']));
  // The text of the fold has this room.
  expect(ticks.filter(({ ms }) => ms === 60_000 || ms === 54_060_000).map(({ text }) => text)).toEqual(['', '']);
});

test('[U44] zooming keeps the selected bar, else what is under the pointer, else the bar nearest to the middle', () => {
  const scale = Scale.fitting({ startMs: 0, endMs: 1_000_000 }, [], 1_000);
  const bars = [
    { fromMs: 0, toMs: 10_000 },
    { fromMs: 990_000, toMs: 1_000_000 },
  ];
  const middle = { leftPx: 0, px: undefined, trackPx: 1_000 };
  const of = (selected: (typeof bars)[0] | undefined, where: typeof middle | { px: number }) =>
    anchorOf({ selected, bars }, scale, { ...middle, ...where });
  expect(of(bars[1], middle)).toEqual({ ms: 995_000, px: 995 });
  expect(of(undefined, { px: 5 })).toEqual({ ms: 5_000, px: 5 });
  // Nothing is under the pointer or in the middle: the nearest bar stays in view.
  expect(of(undefined, { px: 600 })).toEqual({ ms: 990_000, px: 990 });
  expect(of(undefined, { px: 400 })).toEqual({ ms: 10_000, px: 10 });
  expect(anchorOf({ selected: undefined, bars }, scale, { leftPx: 300, px: undefined, trackPx: 100 }).px).toBe(50);
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
