import { expect, test } from 'vitest';
import { type PageRow, toRecords } from './feed-page.ts';

/** Rows of commits with these numbers of events: the first `count` rows of the log. */
function pageOf(commits: readonly number[], count: number): PageRow[] {
  const times = commits.flatMap((events, commit) => Array<number>(events).fill(commit));
  return times.slice(0, count).map((atMs, index) => ({
    seq: index + 1,
    runSeq: 1,
    projectId: 'p',
    runId: 'r',
    type: 'run.started',
    payload: '{}',
    atMs,
    hash: index + 1 === times.length ? null : '0'.repeat(8),
    head: times.length,
    headHashPrefix: '1'.repeat(8),
    epoch: 'e',
    erasures: 0,
    prevHashPrefix: '0'.repeat(8),
    users: null,
  }));
}

test('[M11] a page ends at the end of a commit, unless one commit fills it', () => {
  const end = (commits: number[], rows: number, upTo = 99) => {
    const page = pageOf(commits, rows);
    return toRecords(page[0] as PageRow, page, upTo).at(-1)?.seq;
  };
  expect(end([3, 4], 5)).toBe(3);
  expect(end([3, 4, 2], 8)).toBe(7);
  expect(end([3, 4], 7)).toBe(7);
  expect(end([9], 5)).toBe(5);
  // The rest of the commit has come in a message.
  expect(end([3, 4], 6, 5)).toBe(5);
});
