import type { Approval, Artifact, RunHeader } from '../../../shared/run.ts';

/**
 * Rows of runs as text. The database gives positions, so the text has none: `lastSeq`, `order.seq` of artifacts and
 * `order` of approvals are columns, which these functions put back.
 */

export const headerOf = (row: { state: string; last_seq: number }): RunHeader => ({
  ...(JSON.parse(row.state) as Omit<RunHeader, 'lastSeq'>),
  lastSeq: row.last_seq,
});

export function artifactOf(row: { state: string; seq: number }): Artifact {
  const artifact = JSON.parse(row.state) as Artifact;
  return { ...artifact, order: { ...artifact.order, seq: row.seq } };
}

export const approvalOf = (row: { state: string; request_seq: number }): Approval => ({
  ...(JSON.parse(row.state) as Omit<Approval, 'order'>),
  order: { seq: row.request_seq },
});

export const headerState = (header: RunHeader): string => JSON.stringify({ ...header, lastSeq: undefined });

export const artifactState = (artifact: Artifact): string =>
  JSON.stringify({ ...artifact, order: { key: artifact.order.key } });

export const approvalState = (approval: Approval): string => JSON.stringify({ ...approval, order: undefined });
