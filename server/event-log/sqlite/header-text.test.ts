import { expect, test } from 'vitest';
import type { RunHeader } from '../../../shared/run.ts';
import { HeaderText } from './header-text.ts';

type Whole = Required<Omit<RunHeader, 'order'>> & { order: Required<RunHeader['order']> };

const at = '2026-01-01T00:00:00.000Z';
const header: Whole = {
  runId: 'r',
  projectId: 'p',
  name: 'na"me',
  status: 'failed',
  createdAt: at,
  startedAt: at,
  endedAt: at,
  durationMs: 1.5,
  createdBy: 'é',
  labels: { a: 'b' },
  parentRunId: 'parent',
  progress: 12.345,
  currentStageId: 'st\\age',
  currentStageName: 'Stage "1"',
  error: { message: 'no' },
  stageError: { message: 'no', stageId: 's' },
  summary: 'sum\nmary',
  lastSeq: 7,
  lastRunSeq: 5,
  counts: { stages: 1, stagesCompleted: 0, stagesFailed: 1, artifacts: 0, approvalsPending: 0 },
  order: {
    first: at,
    created: at,
    started: at,
    active: at,
    named: `${at} e`,
    end: `${at} 1 e`,
    ended: 'failed',
    failed: [`${at} f`, 's'],
    current: `${at} st%5Cage`,
    progressSum: 12_345,
  },
};
const { order, ...fields } = header;
/** Another value of the same type. */
const other = (value: unknown) =>
  typeof value === 'string' ? `${value}\u0001` : typeof value === 'number' ? value + 1 : { ...(value as object) };

const changes: [string, RunHeader][] = [
  ...Object.entries(fields).map(([name, value]): [string, RunHeader] => [name, { ...header, [name]: other(value) }]),
  ...Object.entries(order).map(([name, value]): [string, RunHeader] => [
    `order.${name}`,
    { ...header, order: { ...order, [name]: other(value) } },
  ]),
];
const required = new Set(['runId', 'projectId', 'name', 'status', 'createdAt', 'labels', 'progress', 'lastSeq']);
for (const name of ['lastRunSeq', 'counts', 'order.first', 'order.progressSum']) required.add(name);

test.each(changes)('[L70] the stored text of a header has a new value of %s', (_, changed) => {
  const text = new HeaderText();
  for (const each of [header, changed, changed, header]) expect(JSON.parse(text.of(each))).toEqual(each);
});

test.each(changes.filter(([name]) => !required.has(name)))(
  '[L70] the stored text of a header has no removed %s',
  (name) => {
    const removed = structuredClone(header) as RunHeader;
    if (name.startsWith('order.')) delete removed.order[name.slice(6) as never];
    else delete removed[name as never];
    // The same objects: only the removed field differs.
    const { labels, counts, error, stageError } = header;
    for (const [key, value] of Object.entries({ labels, counts, error, stageError })) {
      if (key in removed) removed[key as never] = value as never;
    }
    if (removed.order.failed) removed.order.failed = order.failed;
    const text = new HeaderText();
    for (const each of [header, removed, header]) expect(JSON.parse(text.of(each))).toEqual(each);
  },
);

test('[L70] the stored text of a header has the labels that a fold has changed in place', () => {
  const text = new HeaderText();
  const changed: RunHeader = { ...header, labels: {} };
  expect(JSON.parse(text.of(changed))).toEqual(changed);
  changed.labels.added = 'in place';
  expect(JSON.parse(text.of({ ...changed }))).toEqual(changed);
});
