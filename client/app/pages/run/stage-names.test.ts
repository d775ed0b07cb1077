import { expect, test } from 'vitest';
import type { Stage } from '../../../../shared/run.ts';
import { StageNames } from './stage-names.ts';

/** How many stages have been looked at. */
let looks = 0;
const stageOf = (name: string) => {
  const stageId = name.toLowerCase();
  return {
    name,
    get stageId() {
      looks++;
      return stageId;
    },
  } as Stage;
};

const looksFor = (find: () => string, name: string) => {
  looks = 0;
  expect(find()).toBe(name);
  return looks;
};

const many = Array.from({ length: 1_000 }, (_, index) => stageOf(`Stage ${index}`));

test('[U5] names are found wherever a stage has moved to, and all stages gone through only then', () => {
  const names = new StageNames();
  expect(looksFor(() => names.of(many, 'stage 7'), 'Stage 7')).toBeGreaterThan(999);
  expect(looksFor(() => names.of(many.with(3, stageOf('Stage 3')), 'stage 7'), 'Stage 7')).toBeLessThan(5);
  const moved = many.toReversed();
  expect(looksFor(() => names.of(moved, 'stage 7'), 'Stage 7')).toBeGreaterThan(999);
  expect(looksFor(() => names.of([...moved], 'stage 7'), 'Stage 7')).toBeLessThan(5);
});

test('[U5] an id without a stage stands for itself, and is looked for again only once there are more', () => {
  const names = new StageNames();
  names.of(many, 'late');
  expect(looksFor(() => names.of([...many], 'late'), 'late')).toBeLessThan(5);
  expect(names.of([stageOf('Late'), ...many], 'late')).toBe('Late');
});
