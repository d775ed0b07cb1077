import { type EvidenceChange, type EvidenceState, RunwireError } from '../../shared/errors.ts';
import type { Approval, Artifact, RunRows } from '../../shared/run.ts';
import type { RunKey } from '../event-log/contract/approvals.ts';
import type { Log } from '../event-log/contract/log.ts';
import type { Caller } from '../slices.ts';

/**
 * What a decision is about: the request, and the artifacts that it names as evidence. A row of the fold has the `seq` of
 * the event that set it, and an event that sets a row has a greater sort key than the events before it. So the evidence
 * at a position equals the present one exactly if no row has a greater `seq`.
 */

/** The changes after `seenSeq`, without the states before them. */
export function changesAfter(approval: Approval, rows: Pick<RunRows, 'artifact'>, seenSeq: number): EvidenceChange[] {
  const changes: EvidenceChange[] = [];
  if (approval.order.seq > seenSeq) changes.push({ type: 'request', seq: approval.order.seq });
  for (const artifactId of new Set(approval.evidence)) {
    const artifact = rows.artifact(artifactId);
    if (!artifact || artifact.order.seq <= seenSeq) continue;
    changes.push({ type: 'artifact', seq: artifact.order.seq, artifactId, after: stateOf(artifact) });
  }
  return changes;
}

/** Position of the last change of an approval's request or of these artifacts. */
export const evidenceSeq = (approval: Approval, artifacts: readonly Artifact[]): number =>
  artifacts.reduce((last, { order }) => Math.max(last, order.seq), approval.order.seq);

/** Returns `EVIDENCE_CHANGED` with the changes, and with the states that the artifacts had at `seenSeq`. */
export async function evidenceChanged(
  log: Log,
  { projectId, runId }: RunKey,
  changes: readonly EvidenceChange[],
  seenSeq: number,
  caller: Caller,
): Promise<RunwireError> {
  const before = new Map<string, Created>();
  const ids = new Set(changes.flatMap((change) => (change.type === 'artifact' ? [change.artifactId] : [])));
  const query = { ...caller, scope: { kind: 'run', projectId, runId } as const, types: TYPES, limit: PAGE };
  for (let after = 0; ids.size > 0 && after < seenSeq; ) {
    const page = await log.read({ ...query, after });
    for (const record of page.records) {
      if (record.seq > seenSeq) break;
      const event = record.event as Created;
      const known = before.get(event.artifactId);
      if (ids.has(event.artifactId) && (!known || keyOf(event) >= keyOf(known))) before.set(event.artifactId, event);
    }
    after = page.scannedTo;
  }
  return new RunwireError('EVIDENCE_CHANGED', 'the evidence or the request changed after what you have seen', {
    changes: changes.map((change) => {
      const event = change.type === 'artifact' ? before.get(change.artifactId) : undefined;
      return event ? { ...change, before: stateOf(event) } : change;
    }),
  });
}

const TYPES: ReadonlySet<string> = new Set(['artifact.created']);
const PAGE = 500;

type Created = EvidenceState & { artifactId: string; timestamp: string; eventId: string };
/** As the fold orders the events of an artifact. */
const keyOf = ({ timestamp, eventId }: Created) => `${timestamp} ${eventId}`;

function stateOf({ name, kind, uri, sizeBytes, sha256 }: EvidenceState): EvidenceState {
  return Object.fromEntries(
    Object.entries({ name, kind, uri, sizeBytes, sha256 }).filter(([, value]) => value !== undefined),
  ) as EvidenceState;
}
