import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import type { Approval, Artifact } from '../../../hooks/index.ts';
import { addressOf, keyOfAddress } from './boxes.ts';
import {
  approvedSince,
  type CardState,
  changesBetween,
  commandOf,
  evidenceOf,
  formatLeft,
  isOpenState,
  listed,
  type Rights,
  refusedTextOf,
  stateOf,
} from './card-state.ts';

const at = (seconds: number) => new Date(Date.UTC(2026, 10, 26) + seconds * 1_000).toISOString();
const approval: Approval = {
  approvalId: 'a1',
  title: 'Release',
  status: 'pending',
  decisions: [],
  requestActor: 'ci-bot',
  requestedAt: at(0),
  requiredApprovals: 2,
  requiredRole: 'approver',
  expiresAt: at(60),
  evidence: ['report', 'later'],
  authority: 'runwire',
  order: { seq: 1 },
};
const artifact = { artifactId: 'report', name: 'report.html', createdAt: at(0), sha256: 'ab'.repeat(32) } as Artifact;

const state = (
  more: Partial<Approval> & { rights?: Rights | undefined; endedAt?: string; now?: number; isPast?: boolean },
) => {
  const { rights, endedAt, now = 0, isPast = false, ...rest } = more;
  const run = endedAt === undefined ? {} : { endedAt };
  return stateOf({ approval: { ...approval, ...rest }, run, rights, nowMs: Date.parse(at(now)), isPast });
};
const cannot = (cannotDecide: NonNullable<Rights['cannotDecide']>): Rights => ({ canDecide: false, cannotDecide });

test('[U31] a card is in exactly one state, and the server states who may decide', () => {
  const states: [CardState, Parameters<typeof state>[0]][] = [
    ['loading', {}],
    ['open', { rights: { canDecide: true } }],
    ['you approved', { rights: cannot('already_approved') }],
    ['asked by you', { rights: cannot('asked_by_you') }],
    ['read-only', { rights: cannot('role') }],
    ['read-only', { rights: cannot('not_named') }],
    ['elsewhere', { authority: 'producer', rights: cannot('producer') }],
    ['past', { isPast: true }],
    ['expired', { rights: { canDecide: true }, now: 60 }],
    ['expired', { status: 'expired', decidedAt: at(60) }],
    ['run over', { status: 'expired', decidedAt: at(30) }],
    ['run over', { rights: { canDecide: true }, endedAt: at(1) }],
    ['decided', { status: 'granted', decidedAt: at(30) }],
    ['decided', { status: 'denied', decidedAt: at(30), endedAt: at(31) }],
    // The page has not received the event that the server already knows.
    ['loading', { rights: cannot('decided') }],
  ];
  expect(states.map(([, facts]) => state(facts))).toEqual(states.map(([expected]) => expected));
  expect(isOpenState('you approved')).toBe(true);
  expect(isOpenState('run over')).toBe(false);
});

test('[U34] changes of evidence and terms name both versions; a decision of a user is no change', () => {
  const evidence = evidenceOf(approval, [artifact]);
  const seen = { approval, evidence, seq: 1, runSeq: 1 };
  expect(changesBetween(seen, { approval, evidence: evidenceOf(approval, [{ ...artifact }]) })).toEqual([]);
  const changed = [
    { ...artifact, sha256: 'cd'.repeat(32), createdAt: at(5) },
    { artifactId: 'later', name: 'later.csv', createdAt: at(6), sizeBytes: 1_000 } as Artifact,
  ];
  const granted = {
    ...approval,
    reason: '[erased]',
    decisions: [{ decidedBy: 'bo', decision: 'granted' as const, at: at(7) }],
  };
  const changes = changesBetween(seen, { approval: granted, evidence: evidenceOf(granted, changed) });
  expect(changes.map(({ what, before, after }) => [what, before, after])).toEqual([
    ['report.html', 'sha256 abababababab…', 'sha256 cdcdcdcdcdcd…'],
    ['later.csv', 'not published yet', '1,000 B · no hash'],
    ['Reason', 'none', '[erased]'],
  ]);
  expect(approvedSince(seen, { approval: granted }, 'vera')).toEqual(['bo']);
  expect(approvedSince(seen, { approval: granted }, 'bo')).toEqual([]);
  const again = evidenceOf(approval, [{ ...artifact, createdAt: at(9) }]);
  expect(changesBetween(seen, { approval, evidence: again })).toMatchObject([{ after: 'published again' }]);
});

test('[U30] the address of an approval holds ids with any characters', () => {
  const key = { projectId: 'a/b%20', runId: "it's", approvalId: 'ü /?&' };
  expect(keyOfAddress(addressOf(key))).toEqual(key);
  for (const wrong of [null, '', 'a/b', 'a/b/c/d', '%E0%A4%A/b/c']) expect(keyOfAddress(wrong)).toBeUndefined();
});

test('[U39] a shell passes the ids of the copied command on unchanged', () => {
  const key = { projectId: 'demo', runId: 'it\'s $(id) `id` \\ "x"', approvalId: 'a1' };
  const command = commandOf('https://runs.example.org', key, 7).replace(/^curl/, 'printf "%s\\n"');
  const lines = execFileSync('sh', ['-c', command], { encoding: 'utf8' }).trimEnd().split('\n');
  expect(lines[2]).toBe('https://runs.example.org/trpc/approval.grant');
  expect(JSON.parse(lines.at(-1) ?? '')).toEqual({ ...key, seenSeq: 7 });
});

test('[U31] remaining times count seconds below a minute', () => {
  expect([0, 41_200, 59_999, 60_000, 44 * 60_000, 7_199_000, 14 * 3_600_000, 49 * 3_600_000].map(formatLeft)).toEqual([
    '0 s',
    '42 s',
    '1 min',
    '1 min',
    '44 min',
    '1 h 59 min',
    '14 h',
    '2 d',
  ]);
  expect([listed([]), listed(['a']), listed(['a', 'b']), listed(['a', 'b', 'c'])]).toEqual([
    '',
    'a',
    'a and b',
    'a, b and c',
  ]);
});

test('[U36] the sentence for a refused text names the kind that the server found', () => {
  const message = 'comment: looks like protected information: phone (keyword)';
  expect(refusedTextOf(message, 'comment')).toBe(
    'Your comment seems to hold a telephone number. Take it out; it was not stored.',
  );
  expect(refusedTextOf('reason: looks like protected information: constructor (pattern)', 'reason')).toBe(
    'Your reason seems to hold protected information. Take it out; it was not stored.',
  );
});
