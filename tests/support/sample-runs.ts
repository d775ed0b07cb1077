import type { RunEventDraft } from '../../shared/events.ts';

/**
 * Runs in every state, as a clinical and an ML team would publish them, for screenshots and for checks of whole pages. Times
 * are relative to `nowMs`.
 */

type Draft = { actor: string; events: RunEventDraft[] };

const MINUTE_MS = 60_000;
const sha = (digit: string) => digit.repeat(64);

export function sampleRuns(nowMs: number): Draft[] {
  const at = (minutesAgo: number, seconds = 0) => ({
    timestamp: new Date(nowMs - minutesAgo * MINUTE_MS + seconds * 1_000).toISOString(),
  });
  const of = (projectId: string, runId: string) => (type: RunEventDraft['type'], minutesAgo: number, fields: object) =>
    ({ projectId, runId, type, ...at(minutesAgo), ...fields }) as RunEventDraft;
  const plan = (...names: string[]) => names.map((name, index) => ({ stageId: `s${index + 1}`, name }));

  const waiting = of('trials', 'release-2026-11');
  const failed = of('ml', 'risk-model-v14-10');
  const running = of('demo', 'backfill-39');
  const completed = of('demo', 'nightly-120');
  const queued = of('demo', 'reindex-7');
  const denied = of('trials', 'site-audit-4');
  const parallel = of('warehouse', 'marts-2026-11-26');

  return [
    {
      actor: 'scheduler',
      events: [
        completed('run.created', 190, {
          name: 'Nightly build',
          createdBy: 'scheduler',
          stages: plan('Fetch', 'Build', 'Test', 'Publish'),
          labels: { branch: 'main' },
        }),
        completed('run.started', 190, {}),
        ...[1, 2, 3, 4].flatMap((n) => [
          completed('stage.started', 190 - n * 4, { stageId: `s${n}` }),
          completed('stage.completed', 187 - n * 4, { stageId: `s${n}` }),
        ]),
        completed('artifact.created', 171, {
          artifactId: 'bundle',
          name: 'bundle.tar.gz',
          stageId: 's2',
          kind: 'application/gzip',
          uri: 'https://files.example.org/bundle.tar.gz',
          sizeBytes: 41_200_000,
          sha256: sha('c'),
        }),
        completed('run.completed', 170, { summary: '4 of 4 stages' }),
        queued('run.created', 5, { name: 'Reindex the archive', createdBy: 'scheduler' }),
      ],
    },
    {
      actor: 'trainer',
      events: [
        failed('run.created', 70, {
          name: 'Train risk model v14',
          createdBy: 'ada',
          stages: plan('Prepare data', 'Train model', 'Evaluate'),
          labels: { gpu: 'a100', dataset: 'cohort-9' },
        }),
        failed('run.started', 70, {}),
        failed('stage.started', 69, { stageId: 's1' }),
        failed('stage.completed', 60, { stageId: 's1' }),
        failed('stage.started', 60, { stageId: 's2', attempt: 1 }),
        failed('stage.failed', 52, {
          stageId: 's2',
          attempt: 1,
          willRetry: true,
          error: { message: 'deadlock detected in the data loader', code: 'DEADLOCK' },
        }),
        failed('stage.started', 50, { stageId: 's2', attempt: 2 }),
        failed('stage.progress', 45, { stageId: 's2', attempt: 2, progress: 40, message: 'epoch 40 of 100' }),
        failed('stage.failed', 41, {
          stageId: 's2',
          attempt: 2,
          error: {
            message:
              'CUDA out of memory: tried to allocate 2.50 GiB\nGPU 0 has a total capacity of 39.39 GiB, of which 1.12 GiB is free',
            code: 'OOM',
          },
        }),
        failed('run.failed', 40, { error: { message: 'stage train failed', code: 'OOM' }, stageId: 's2' }),
      ],
    },
    {
      actor: 'ci-bot',
      events: [
        waiting('run.created', 900, {
          name: 'Release cohort 2026-11',
          createdBy: 'ada',
          stages: plan('Extract', 'Quality control', 'Align reads', 'Call variants', 'Report', 'Publish'),
          labels: { study: 'ABC-12', site: 'north', release: '2026-11' },
        }),
        waiting('run.started', 899, {}),
        waiting('stage.started', 899, { stageId: 's1' }),
        waiting('stage.completed', 896, { stageId: 's1' }),
        waiting('stage.started', 20, { stageId: 's2' }),
        waiting('stage.completed', 19, { stageId: 's2' }),
        waiting('artifact.created', 18, {
          artifactId: 'report',
          name: 'report.html',
          stageId: 's2',
          kind: 'text/html',
          uri: 'https://files.example.org/report.html',
          sizeBytes: 412_000,
          sha256: sha('a'),
        }),
        waiting('governance.required', 16, {
          approvalId: 'release',
          title: 'Release the results to the study team',
          reason: 'two reviewers needed by SOP-12',
          stageId: 's3',
          requiredApprovals: 2,
          evidence: ['report', 'missing-artifact'],
          expiresAt: new Date(nowMs + 44 * MINUTE_MS).toISOString(),
        }),
        denied('run.created', 300, { name: 'Site audit', createdBy: 'cy', stages: plan('Collect', 'Review') }),
        denied('run.started', 299, {}),
        denied('stage.started', 299, { stageId: 's1' }),
        denied('governance.required', 290, { approvalId: 'open', title: 'Open the audit of site 7', stageId: 's2' }),
      ],
    },
    {
      actor: 'worker-3',
      events: [
        running('run.created', 12, {
          name: 'Backfill claims',
          createdBy: 'ada',
          stages: plan('Read', 'Transform', 'Write'),
          labels: { year: '2025' },
        }),
        running('run.started', 12, {}),
        running('stage.started', 12, { stageId: 's1' }),
        running('stage.completed', 8, { stageId: 's1' }),
        running('stage.started', 8, { stageId: 's2' }),
        ...Array.from({ length: 60 }, (_, index) =>
          running('stage.progress', 7 - index / 10, {
            stageId: 's2',
            progress: Math.min(95, 5 + index * 1.5),
            done: index * 150,
            total: 9_000,
          }),
        ),
        running('governance.required', 2, {
          approvalId: 'write',
          title: 'Write to the production tables',
          stageId: 's3',
          expiresAt: new Date(nowMs + 12 * MINUTE_MS).toISOString(),
        }),
      ],
    },
    {
      actor: 'dbt',
      events: [
        parallel('run.created', 30, { name: 'Marts of the warehouse', createdBy: 'dbt' }),
        parallel('run.started', 30, {}),
        ...Array.from({ length: 60 }, (_, index) => {
          const stage = { stageId: `m${index}`, name: `warehouse.marts.finance.daily_line_v${index} (incremental)` };
          return [
            parallel('stage.started', 30 - (index % 20), stage),
            ...(index < 50 ? [parallel('stage.completed', 28 - (index % 20), { stageId: stage.stageId })] : []),
          ];
        }).flat(),
      ],
    },
  ];
}
