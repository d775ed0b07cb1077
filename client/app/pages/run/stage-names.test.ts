import { expect, test } from 'vitest';
import type { Stage } from '../../../../shared/run.ts';
import { StageNames } from './stage-names.ts';

/** Stages read since the last reset. */
let reads = 0;
const stageOf = (name: string) => {
  const stageId = name.toLowerCase();
  return {
    name,
    get stageId() {
      reads++;
      return stageId;
    },
  } as Stage;
};

const readsOf = (find: () => string, name: string) => {
  reads = 0;
  expect(find()).toBe(name);
  return reads;
};

const many = Array.from({ length: 1_000 }, (_, index) => stageOf(`Stage ${index}`));

test('[U5] a moved stage is found by its id, and only a move reads all stages', () => {
  const names = new StageNames();
  expect(readsOf(() => names.of(many, 'stage 7'), 'Stage 7')).toBeGreaterThan(999);
  expect(readsOf(() => names.of(many.with(3, stageOf('Stage 3')), 'stage 7'), 'Stage 7')).toBeLessThan(5);
  const moved = many.toReversed();
  expect(readsOf(() => names.of(moved, 'stage 7'), 'Stage 7')).toBeGreaterThan(999);
  expect(readsOf(() => names.of([...moved], 'stage 7'), 'Stage 7')).toBeLessThan(5);
});

test('[U5] an id without a stage is its own name, and only a longer list is searched for it again', () => {
  const names = new StageNames();
  names.of(many, 'late');
  expect(readsOf(() => names.of([...many], 'late'), 'late')).toBeLessThan(5);
  expect(names.of([stageOf('Late'), ...many], 'late')).toBe('Late');
});
