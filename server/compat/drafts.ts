import type { RunEventDraft } from '../../shared/events.ts';

/**
 * Maps events in their former form to drafts of Runwire's types, so that a run has its state, its page and its record. The
 * former names of fields are known from no one definition, so several names are read for each field, Runwire's own too.
 */

// biome-ignore lint/suspicious/noExplicitAny: a payload may have any field.
export type Payload = { [field: string]: any };
export type FormerEvent = { type: string; timestamp: string; payload: Payload };
type Mapped = { fields: (payload: Payload) => Payload; time?: string };

const errorOf = ({ error, errorMessage, message, errorCode, code }: Payload): Payload => {
  const given = typeof error === 'object' && error !== null ? error.message : error;
  return {
    error: defined({
      message: String(given ?? errorMessage ?? message ?? errorCode ?? 'failed'),
      code: errorCode ?? code ?? (error as Payload | undefined)?.code,
    }),
  };
};
const durationOf = ({ durationMs, duration }: Payload): Payload => ({ durationMs: durationMs ?? duration });
const approvalIdOf = ({ governanceId, approvalId }: Payload): Payload => ({ approvalId: governanceId ?? approvalId });

/** For each type, its fields, and the name of the field with the time that the former broadcaster added to a payload. */
const types: { readonly [type: string]: Mapped } = {
  'run.created': {
    fields: ({ runName, name, runId, createdBy, userId }) => ({
      name: runName ?? name ?? runId,
      createdBy: createdBy ?? userId,
    }),
    time: 'createdAt',
  },
  'run.started': { fields: () => ({}), time: 'startedAt' },
  'run.completed': { fields: (payload) => ({ ...durationOf(payload), summary: payload.summary }), time: 'completedAt' },
  'run.failed': {
    fields: (payload) => ({
      ...errorOf(payload),
      ...durationOf(payload),
      stageId: payload.failedStage ?? payload.stageId,
    }),
    time: 'failedAt',
  },
  'stage.started': {
    fields: ({ stageId, stageName, name }) => ({ stageId, name: stageName ?? name }),
    time: 'startedAt',
  },
  'stage.progress': {
    fields: ({ stageId, progress, statusMessage, message, itemsProcessed, itemsTotal }) => ({
      stageId,
      progress,
      message: statusMessage ?? message,
      done: itemsProcessed,
      total: itemsTotal,
    }),
  },
  'stage.completed': {
    fields: (payload) => ({ stageId: payload.stageId, ...durationOf(payload) }),
    time: 'completedAt',
  },
  'stage.failed': {
    fields: (payload) => ({
      stageId: payload.stageId,
      ...errorOf(payload),
      willRetry: payload.retriesRemaining === undefined ? undefined : payload.retriesRemaining > 0,
    }),
    time: 'failedAt',
  },
  'artifact.created': {
    fields: ({ artifactId, artifactName, name, artifactType, relatedStageId, stageId }) => ({
      artifactId,
      name: artifactName ?? name ?? artifactId,
      kind: artifactType,
      stageId: relatedStageId ?? stageId,
    }),
    time: 'createdAt',
  },
  'governance.required': {
    fields: (payload) => ({
      ...approvalIdOf(payload),
      title: payload.title ?? payload.governanceType ?? payload.reason ?? approvalIdOf(payload).approvalId,
      reason: payload.reason,
      stageId: payload.stageId,
      approvers: payload.assignedTo,
      // The application decides, and reports its decision.
      authority: 'producer',
    }),
    time: 'requiredAt',
  },
  'approval.granted': {
    fields: (payload) => ({
      ...approvalIdOf(payload),
      decidedBy: payload.grantedBy ?? payload.approvedBy ?? payload.decidedBy ?? payload.userId ?? 'unknown',
      comment: payload.notes ?? payload.comment,
    }),
    time: 'grantedAt',
  },
  'approval.denied': {
    fields: (payload) => ({
      ...approvalIdOf(payload),
      decidedBy: payload.deniedBy ?? payload.decidedBy ?? payload.userId ?? 'unknown',
      reason: payload.reason ?? 'denied',
    }),
    time: 'deniedAt',
  },
};

/** Returns an event of the former broadcaster: with its timestamp, the time in the payload, and the progress within 0–100. */
export function formerEventOf(type: string, data: Payload): FormerEvent {
  const timestamp = new Date().toISOString();
  if (typeof data !== 'object' || data === null) return { type, timestamp, payload: data };
  const { progress } = data;
  const bounded = typeof progress === 'number' ? { progress: Math.min(100, Math.max(0, progress)) } : {};
  const time = types[type]?.time;
  return { type, timestamp, payload: { ...(time === undefined ? {} : { [time]: timestamp }), ...data, ...bounded } };
}

/** Returns the draft for an event of one of the twelve types in its former form. */
export function draftOf({ type, timestamp, payload }: FormerEvent, run: { projectId: string; runId: string }) {
  return { type, ...run, timestamp, ...defined(types[type]?.fields(payload) ?? {}) } as RunEventDraft;
}

const defined = (fields: Payload): Payload =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== null));
