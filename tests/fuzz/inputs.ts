import type { Dice } from '../chaos/random.ts';
import { canary, oddText } from './values.ts';

/** Valid inputs that the generators mutate. An unknown procedure gets an empty input, mutated as well. */

export type World = {
  /** Every procedure of the router. */
  procedures: readonly string[];
  /** Procedures with their kind of request: `query run.get`. */
  fitting: ReadonlySet<string>;
  /** The epoch of the log, for valid cursors. */
  epoch: string;
  /** Tokens by the rights of their users. */
  tokens: Readonly<Record<string, readonly string[]>>;
};

const runId = (dice: Dice) => `r${dice.between(0, 19)}`;
const projectId = (dice: Dice) => dice.pick(['demo', 'demo', 'other']);
const cursor = (dice: Dice, { epoch }: World) =>
  dice.pick([`${epoch}.${dice.between(0, 500)}`, `${epoch}.999999999`, 'ab12.3', `${epoch}.`, canary]);
const types = ['run.created', 'run.started', 'stage.progress', 'stage.completed', 'run.completed', 'approval.granted'];
const filter = (dice: Dice, world: World) => ({
  ...(dice.chance(0.3) ? { types: dice.list(dice.between(0, 3), () => dice.pick(types)) } : {}),
  ...(dice.chance(0.2) ? { categories: [dice.pick(['run', 'stage', 'artifact', 'governance'])] } : {}),
  ...(dice.chance(0.3) ? { conflate: dice.chance(0.5) } : {}),
  ...start(dice, world),
});
const start = (dice: Dice, world: World) => ({
  ...(dice.chance(0.5) ? { from: dice.pick(['now', 'start']) } : {}),
  ...(dice.chance(0.3) ? { lastEventId: cursor(dice, world) } : {}),
});
const page = (dice: Dice, world: World) => ({
  ...(dice.chance(0.5) ? { limit: dice.between(1, 500) } : {}),
  ...(dice.chance(0.2) ? { cursor: cursor(dice, world) } : {}),
});
const period = { since: '2026-01-01T00:00:00Z', until: '2030-01-01T00:00:00Z' };
const run = (dice: Dice) => ({ runId: runId(dice), ...(dice.chance(0.5) ? { projectId: projectId(dice) } : {}) });
const approval = (dice: Dice) => ({ ...run(dice), approvalId: `a${dice.between(0, 3)}` });

export function draft(dice: Dice): Record<string, unknown> {
  const common = { projectId: projectId(dice), runId: runId(dice) };
  const stage = { ...common, stageId: `s${dice.between(0, 5)}` };
  const optional = {
    ...(dice.chance(0.2) ? { eventId: `e${dice.between(0, 99_999)}` } : {}),
    ...(dice.chance(0.2) ? { timestamp: `2026-01-0${dice.between(1, 9)}T00:00:00+01:00` } : {}),
    ...(dice.chance(0.1) ? { audience: ['ada', `${canary}@example.org`] } : {}),
  };
  const fields: Record<string, object> = {
    'run.created': {
      ...common,
      name: `Run ${canary}`,
      labels: { site: canary },
      stages: [{ stageId: 's1', name: 'One' }],
    },
    'run.started': common,
    'run.completed': { ...common, durationMs: 5, summary: canary },
    'run.failed': { ...common, error: { message: canary, code: 'E1' } },
    'stage.started': { ...stage, name: 'One', attempt: dice.between(1, 3) },
    'stage.progress': { ...stage, progress: dice.between(0, 100), message: canary, done: 1, total: 2 },
    'stage.completed': { ...stage, durationMs: 7 },
    'stage.failed': { ...stage, error: { message: canary }, willRetry: true },
    'artifact.created': { ...common, artifactId: 'f1', name: canary, uri: `s3://${canary}/x`, sizeBytes: 3 },
    'governance.required': {
      ...common,
      approvalId: `a${dice.between(0, 3)}`,
      title: canary,
      requiredApprovals: dice.between(1, 2),
      ...(dice.chance(0.5) ? { expiresAt: '2026-01-01T00:00:00Z' } : {}),
      ...(dice.chance(0.3) ? { authority: 'producer' } : {}),
    },
    'approval.granted': { ...common, approvalId: `a${dice.between(0, 3)}`, decidedBy: 'ada' },
    'approval.denied': { ...common, approvalId: `a${dice.between(0, 3)}`, decidedBy: 'ada', reason: canary },
  };
  const picked = dice.pick(Object.keys(fields));
  // Usually refused, together with the rest of the batch.
  const type = picked.startsWith('approval') && dice.chance(0.8) ? 'stage.progress' : picked;
  return { type, ...fields[type], ...optional };
}

/** A token of any user; half the time of one with every right. */
export const tokenOf = (dice: Dice, { tokens }: World): string =>
  dice.pick(tokens[dice.chance(0.5) ? 'everything' : dice.pick(Object.keys(tokens))] as readonly string[]);

export const drafts = (dice: Dice): unknown[] =>
  dice.list(dice.chance(0.05) ? 200 : dice.between(1, 5), () => draft(dice));

export function lineage(dice: Dice): unknown {
  const job = { namespace: projectId(dice), name: `job ${canary}` };
  const parent = { run: { runId: `l${dice.between(0, 9)}` }, job };
  return {
    eventType: dice.pick(['START', 'RUNNING', 'COMPLETE', 'FAIL', 'ABORT', 'OTHER']),
    eventTime: '2026-01-01T12:00:00Z',
    producer: 'https://example.org',
    schemaURL: 'https://openlineage.io/spec/2-0-2/OpenLineage.json',
    job,
    run: {
      runId: `l${dice.between(0, 99)}`,
      facets: {
        ...(dice.chance(0.5) ? { parent } : {}),
        ...(dice.chance(0.3) ? { errorMessage: { message: `${canary}\n at x`, programmingLanguage: 'JAVA' } } : {}),
      },
    },
    inputs: [],
    outputs: dice.chance(0.4) ? [{ namespace: 's3://bucket', name: canary, facets: {} }] : [],
  };
}

const inputs: Record<string, (dice: Dice, world: World) => unknown> = {
  onRunEvent: (dice, world) => ({ ...run(dice), ...filter(dice, world) }),
  onProjectEvent: (dice, world) => ({ projectId: projectId(dice), ...filter(dice, world) }),
  onUserEvent: filter,
  onEvent: filter,
  onRunSummary: (dice, world) => ({
    ...(dice.chance(0.5) ? { projectId: 'demo' } : {}),
    ...(dice.chance(0.3) ? { needsMyDecision: true } : {}),
    ...start(dice, world),
  }),
  'run.get': run,
  'run.list': (dice, world) => ({
    ...(dice.chance(0.3) ? { status: ['running', 'failed'] } : {}),
    ...(dice.chance(0.3) ? { labels: { site: canary } } : {}),
    ...(dice.chance(0.3) ? { text: dice.pick(['run', canary, '%_']) } : {}),
    ...(dice.chance(0.2) ? period : {}),
    ...(dice.chance(0.2) ? { needsMyDecision: true } : {}),
    ...page(dice, world),
  }),
  'run.history': (dice, world) => ({ ...run(dice), fromRunSeq: dice.between(1, 50), ...page(dice, world) }),
  'event.publish': (dice) => ({ events: drafts(dice), ...(dice.chance(0.3) ? { onPhi: 'redact' } : {}) }),
  'event.search': (dice, world) => ({
    ...(dice.chance(0.7) ? { text: dice.pick(['epoch', canary, '"a b', 'x* OR NEAR(', '\0', oddText(dice)]) } : {}),
    ...(dice.chance(0.4) ? run(dice) : {}),
    ...(dice.chance(0.3) ? { types: dice.list(dice.between(0, 3), () => dice.pick(types)) } : {}),
    ...(dice.chance(0.2) ? { actor: 'ci', ...period } : {}),
    ...page(dice, world),
  }),
  'approval.list': (dice, world) => ({
    ...(dice.chance(0.3) ? { status: 'pending' } : {}),
    ...(dice.chance(0.5) ? { box: dice.pick(['mine', 'asked', 'decided', 'expired', canary]) } : {}),
    ...page(dice, world),
  }),
  'approval.get': (dice) => approval(dice),
  'approval.grant': (dice) => ({ ...approval(dice), comment: canary, seenSeq: dice.between(0, 50) }),
  'approval.deny': (dice) => ({ ...approval(dice), reason: canary }),
  'audit.verify': (dice) => {
    const checkpoint = { seq: dice.between(1, 500), hash: 'ab'.repeat(32) };
    return dice.chance(0.5) ? {} : { checkpoints: dice.list(dice.between(0, 3), () => checkpoint) };
  },
  'audit.access': (dice, world) => ({
    ...(dice.chance(0.5) ? { sub: dice.pick(['ci', canary]), action: 'run.get', outcome: 'ok' } : {}),
    ...(dice.chance(0.3) ? { ...run(dice), ...period } : {}),
    ...page(dice, world),
  }),
  'event.get': (dice) => (dice.chance(0.5) ? { seq: dice.between(1, 999) } : { projectId: 'demo', eventId: canary }),
  'audit.erase': (dice) => ({ seq: dice.between(1, 999), reason: canary }),
  'auth.revoke': (dice) => (dice.chance(0.5) ? { jti: canary } : { sub: `nobody-${dice.between(0, 3)}` }),
  'auth.refresh': (dice, { tokens }) => ({ token: dice.pick(Object.values(tokens).flat()) }),
};

export const inputOf = (dice: Dice, world: World, procedure: string): unknown =>
  Object.hasOwn(inputs, procedure) ? inputs[procedure]?.(dice, world) : {};
