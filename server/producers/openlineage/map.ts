import { z } from 'zod';
import { RunwireError } from '../../../shared/errors.ts';
import type { RunEventDraft } from '../../../shared/events.ts';
import { normalizeInstant } from '../../../shared/fields.ts';
import { describeIssue } from '../../../shared/issues.ts';
import { canonicalJson } from '../../event-log/integrity/canonical.ts';
import { cleanText, errorTextOf, isUri, nameOf, pairIdOf, scopeIdOf, sha256 } from '../sanitize.ts';

/**
 * OpenLineage (Airflow, dbt, Spark, Flink, Debezium): from one of their events to drafts of ours. Pure: what depends on
 * other events, where a run belongs and whether it has a name yet, comes in as {@link Placement} (lineage-memory.ts).
 *
 * | event         | a run without parent           | a run with a parent                       |
 * |---------------|--------------------------------|-------------------------------------------|
 * | START         | run.created + run.started      | stage.started                             |
 * | RUNNING       | –                              | stage.progress, without a percentage      |
 * | COMPLETE      | artifacts + run.completed      | artifacts + stage.completed               |
 * | FAIL, ABORT   | run.failed                     | stage.failed                              |
 *
 * Runs of any depth are stages of their root run. ABORT has the code `CANCELLED`. Other facets, inputs, JobEvent,
 * DatasetEvent and OTHER are not looked at: real ones hold passwords, SQL and query plans.
 *
 * There are no event ids on the wire and clients send a message up to six times, so an `eventId` is a hash of the
 * message, whatever the order of its keys; an artifact's is one of its run, dataset and time, for it may follow from
 * either of two messages.
 */

export type LineageType = 'START' | 'RUNNING' | 'COMPLETE' | 'FAIL' | 'ABORT';
/** A run as a message names it, fit for a draft. The project is that of its job's namespace. */
export type RunRef = { runId: string; projectId: string; namespace: string; name: string | undefined };
/** Something that was written, by an id of its identity. */
export type Dataset = { artifactId: string; name: string; uri: string | undefined };

export type LineageEvent = {
  type: LineageType;
  /** ISO 8601 UTC. */
  at: string;
  self: RunRef;
  parent: RunRef | undefined;
  root: RunRef | undefined;
  outputs: Dataset[];
  /** What went wrong, as far as it may be shown. */
  failure: string | undefined;
  /** Hash of the message. */
  digest: string;
};

/** What a message is to a run of ours. */
export type Placement = {
  /** The run of ours that the drafts are about, and its project. */
  run: RunRef;
  /** The message's own run is a stage of it. */
  isStage: boolean;
  /** The log does not have the name of the run, or stage, as this message tells it. */
  namesRun: boolean;
  namesStage: boolean;
  /** A run of ours that turned out to be a stage of another. */
  parentRunId: string | undefined;
  /** What has been written for good, and when the message's own run completed. */
  written: { at: string; datasets: readonly Dataset[] } | undefined;
};

const NAME_LIMIT = 200;
const MESSAGE_LIMIT = 2_000;
/** Datasets that one event names. */
const OUTPUT_LIMIT = 10_000;

const text = z.string().min(1);
const job = z.object({ namespace: text, name: text });
const ancestor = z.object({ run: z.object({ runId: text }), job: job.nullish() });
const parent = ancestor.extend({ root: ancestor.nullish() }).nullish();
const eventTime = z
  .string()
  .max(64)
  // dbt's ABORT has the local time of a machine that is in UTC, and no zone.
  .transform((value) => normalizeInstant(value) ?? normalizeInstant(`${value}Z`))
  .refine((value) => value !== undefined, { error: 'must be an ISO 8601 instant' });
const schema = z.object({
  eventType: z
    .string()
    .toUpperCase()
    .pipe(z.enum(['START', 'RUNNING', 'COMPLETE', 'FAIL', 'ABORT', 'OTHER']))
    .nullish(),
  eventTime,
  producer: z.string(),
  schemaURL: z.string().optional(), // Required by the specification; Marquez's own samples are without.
  run: z.object({
    runId: text,
    facets: z
      .object({
        parent,
        parentRun: parent, // Its name in the first versions.
        errorMessage: z.object({ message: z.string() }).nullish().catch(null),
      })
      .nullish(),
  }),
  job,
  outputs: z
    .array(z.object({ namespace: z.string(), name: z.string() }))
    .max(OUTPUT_LIMIT)
    .nullish(),
});

/** An id that may be told, of `kind`, for one made of `name`: the same id, or another in its place, always the same. */
export type IdFor = (kind: string, id: string, name: string) => string;

/**
 * Reads a message, parsed JSON of bounded depth; undefined for one that is about no run, or that says nothing of its
 * state. Throws `INVALID_INPUT` with the path of what is wrong, never its value. `idFor` is by default the id itself.
 */
export function readLineage(body: unknown, idFor: IdFor = (_kind, id) => id): LineageEvent | undefined {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new RunwireError('INVALID_INPUT', 'the event is not an object');
  }
  if (isAboutNoRun(body)) return undefined;
  const parsed = schema.safeParse(body);
  if (!parsed.success) {
    const { path, message } = describeIssue(parsed.error.issues[0] as z.core.$ZodIssue);
    throw new RunwireError('INVALID_INPUT', `${path}: ${message}`, { path });
  }
  const { eventType, eventTime, run, job, outputs } = parsed.data;
  if (!eventType || eventType === 'OTHER') return undefined;
  const facet = run.facets?.parent ?? run.facets?.parentRun;
  const ref = ({ run, job: of }: z.output<typeof ancestor>): RunRef =>
    refOf(idFor, run.runId, of?.namespace ?? job.namespace, of?.name);
  return {
    type: eventType,
    at: eventTime as string,
    self: refOf(idFor, run.runId, job.namespace, job.name),
    parent: facet ? ref(facet) : undefined,
    root: facet?.root ? ref(facet.root) : undefined,
    outputs: (outputs ?? []).map((dataset) => datasetOf(idFor, dataset)),
    failure: errorTextOf(run.facets?.errorMessage?.message ?? '', MESSAGE_LIMIT) || undefined,
    digest: sha256(canonicalJson(body)),
  };
}

function refOf(idFor: IdFor, runId: string, namespace: string, name: string | undefined): RunRef {
  const at = nameOf(namespace);
  return {
    runId: idFor('run', scopeIdOf(runId), runId),
    projectId: idFor('project', scopeIdOf(at), at),
    namespace: cleanText(at, NAME_LIMIT),
    name: cleanText(nameOf(name ?? ''), NAME_LIMIT) || undefined,
  };
}

/** The drafts of one message about one run of ours. */
export function draftsOf(event: LineageEvent, place: Placement): RunEventDraft[] {
  const { type, at: timestamp, self, digest } = event;
  const { run, isStage, written, parentRunId } = place;
  const stageId = self.runId;
  const about = (kind: string) => ({
    projectId: run.projectId,
    runId: run.runId,
    timestamp,
    eventId: `ol:${digest}:${isStage ? 'stage' : 'run'}:${kind}`,
  });
  const drafts: RunEventDraft[] = [];
  if (place.namesRun) {
    drafts.push({
      type: 'run.created',
      ...about('created'),
      name: run.name ?? run.runId,
      labels: { namespace: run.namespace },
      ...(parentRunId === undefined ? {} : { parentRunId }),
    });
  }
  if (isStage && place.namesStage) {
    drafts.push({ type: 'stage.started', ...about('started'), stageId, name: self.name ?? stageId });
  }
  for (const { artifactId, name, uri } of written?.datasets ?? []) {
    drafts.push({
      type: 'artifact.created',
      ...about('artifact'),
      timestamp: written?.at ?? timestamp,
      eventId: `ol:${sha256(`${stageId}\n${artifactId}\n${written?.at}`)}:artifact`,
      artifactId,
      name,
      ...(uri === undefined ? {} : { uri }),
      ...(isStage ? { stageId } : {}),
    });
  }
  const error = {
    message: event.failure ?? (type === 'ABORT' ? 'aborted' : 'failed'),
    ...(type === 'ABORT' ? { code: 'CANCELLED' } : {}),
  };
  switch (type) {
    case 'START':
      if (!isStage) drafts.push({ type: 'run.started', ...about('started') });
      break;
    case 'RUNNING':
      if (isStage) drafts.push({ type: 'stage.progress', ...about('progress'), stageId, message: 'running' });
      break;
    case 'COMPLETE':
      if (isStage) drafts.push({ type: 'stage.completed', ...about('completed'), stageId });
      else drafts.push({ type: 'run.completed', ...about('completed') });
      break;
    default:
      if (isStage) drafts.push({ type: 'stage.failed', ...about('failed'), stageId, error });
      else drafts.push({ type: 'run.failed', ...about('failed'), error });
  }
  return drafts;
}

function datasetOf(idFor: IdFor, { namespace, name }: { namespace: string; name: string }): Dataset {
  const at = nameOf(namespace);
  const called = nameOf(isUri(namespace) ? (name.split(/[?#]/, 1)[0] as string) : name);
  return {
    artifactId: idFor('dataset', pairIdOf(at, called), `${at} ${called}`),
    name: cleanText(called, NAME_LIMIT) || cleanText(at, NAME_LIMIT) || 'dataset',
    uri: isUri(at) ? cleanText(`${at.replace(/\/+$/, '')}/${called.replace(/^\/+/, '')}`, 2_000) : undefined,
  };
}

/** JobEvent and DatasetEvent: what is known of jobs and datasets apart from any run. */
function isAboutNoRun(body: { run?: unknown; dataset?: unknown; schemaURL?: unknown }): boolean {
  if (body.run !== undefined) return false;
  if (typeof body.dataset === 'object' && body.dataset !== null) return true;
  return typeof body.schemaURL === 'string' && /\/(?:Job|Dataset)Event$/.test(body.schemaURL);
}
