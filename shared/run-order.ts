import type { Approval, Artifact, Stage } from './run.ts';

/** Display order of stages, artifacts and approvals. Strings are compared by code units, the same on server and client. */

export const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
/** Sorts after every instant. */
export const NEVER = '~';

/** By plan, then by start. */
export const compareStages = (a: Stage, b: Stage): number =>
  (a.order.plan?.[1] ?? Number.MAX_SAFE_INTEGER) - (b.order.plan?.[1] ?? Number.MAX_SAFE_INTEGER) ||
  compare(a.startedAt ?? NEVER, b.startedAt ?? NEVER) ||
  compare(a.stageId, b.stageId);

export const compareArtifacts = (a: Artifact, b: Artifact): number =>
  compare(a.createdAt, b.createdAt) || compare(a.artifactId, b.artifactId);

export const compareApprovals = (a: Approval, b: Approval): number => a.order.seq - b.order.seq;

/** Orders stages by start. ASCII only: stores order other text by bytes, JavaScript by code units. */
export const startKey = (stage: Stage): string => `${stage.startedAt ?? ''} ${encodeURIComponent(stage.stageId)}`;

/** Compares by {@link startKey}, but builds the keys only for equal starts. */
export const startsAfter = (a: Stage, b: Stage): boolean =>
  a.startedAt === b.startedAt ? startKey(a) > startKey(b) : (a.startedAt ?? '') > (b.startedAt ?? '');
