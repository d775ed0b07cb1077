import type { Approval, Artifact, Stage } from './run.ts';

export const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
export const NEVER = '~';
/** Display order of stages: the plan, then by start. */
export const compareStages = (a: Stage, b: Stage): number =>
  (a.order.plan?.[1] ?? Number.MAX_SAFE_INTEGER) - (b.order.plan?.[1] ?? Number.MAX_SAFE_INTEGER) ||
  compare(a.startedAt ?? NEVER, b.startedAt ?? NEVER) ||
  compare(a.stageId, b.stageId);
export const compareArtifacts = (a: Artifact, b: Artifact): number =>
  compare(a.createdAt, b.createdAt) || compare(a.artifactId, b.artifactId);
export const compareApprovals = (a: Approval, b: Approval): number => a.order.seq - b.order.seq;
/** What "started last" goes by. In ASCII, since stores order other text by its bytes and JavaScript by code units. */
export const startKey = (stage: Stage): string => `${stage.startedAt ?? ''} ${encodeURIComponent(stage.stageId)}`;
/** As {@link startKey} has it, which is made only where it is needed. */
export const startsAfter = (a: Stage, b: Stage): boolean =>
  a.startedAt === b.startedAt ? startKey(a) > startKey(b) : (a.startedAt ?? '') > (b.startedAt ?? '');
