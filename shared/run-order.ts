import type { Approval, Artifact, Stage } from './run.ts';

/**
 * Display order of stages, artifacts and approvals. Strings are compared by code units: a comparison by language could
 * differ between server and client.
 */

export const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
/** Used for a missing instant. It sorts after every instant. */
const NEVER = '~';

/** Orders stages by place in the plan, then by start, then by id. A stage without a place or a start sorts last. */
export const compareStages = (a: Stage, b: Stage): number =>
  (a.order.plan?.[1] ?? Number.MAX_SAFE_INTEGER) - (b.order.plan?.[1] ?? Number.MAX_SAFE_INTEGER) ||
  compare(a.startedAt ?? NEVER, b.startedAt ?? NEVER) ||
  compare(a.stageId, b.stageId);

export const compareArtifacts = (a: Artifact, b: Artifact): number =>
  compare(a.createdAt, b.createdAt) || compare(a.artifactId, b.artifactId);

export const compareApprovals = (a: Approval, b: Approval): number => a.order.seq - b.order.seq;

/**
 * Returns text that sorts stages by start, then by id. The id is encoded as ASCII, because databases sort other text by
 * bytes and JavaScript sorts it by code units.
 */
export const startKey = (stage: Stage): string => `${stage.startedAt ?? ''} ${encodeURIComponent(stage.stageId)}`;

/** Compares two stages by {@link startKey}, but builds the keys only if the starts are equal. */
export const startsAfter = (a: Stage, b: Stage): boolean =>
  a.startedAt === b.startedAt ? startKey(a) > startKey(b) : (a.startedAt ?? '') > (b.startedAt ?? '');
