import { expect, test, vi } from 'vitest';
import { OnlyNode } from './event-log/sqlite/nodes.ts';
import { SharedUsage } from './shared-usage.ts';

test.each([
  [false, 0],
  [true, 4],
])('[L49] what users have open is counted only where others can share the log (%s)', (isShared, reports) => {
  vi.useFakeTimers();
  const nodes = Object.assign(new OnlyNode(), { isShared });
  let counted = 0;
  const open = () => {
    counted++;
    return [];
  };
  const usage = new SharedUsage({ nodes, open, onTook: () => undefined });
  vi.advanceTimersByTime(1_000);
  usage.close();
  vi.useRealTimers();
  expect(counted).toBe(reports);
});
