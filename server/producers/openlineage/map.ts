import { z } from 'zod';
import { RunwireError } from '../../../shared/errors.ts';
import type { RunEventDraft } from '../../../shared/events.ts';
import { normalizeInstant } from '../../../shared/fields.ts';
import { describeIssue } from '../../../shared/issues.ts';
import { canonicalJson } from '../../event-log/integrity/canonical.ts';
import { cleanText, errorTextOf, isUri, nameOf, pairIdOf, scopeIdOf, sha256 } from '../sanitize.ts';

/**
 * Maps an OpenLineage message (Airflow, dbt, Spark, Flink, Debezium) to drafts. Pure functions: the facts that depend on
 * other messages, such as the run's place in a tree, come in as a {@link Placement} (`run-tree.ts`).
 *
 * | event         | a run without parent           | a run with a parent                       |
 * |---------------|--------------------------------|-------------------------------------------|
 * | START         | run.created + run.started      | stage.started                             |
 * | RUNNING       | –                              | stage.progress, without a percentage      |
 * | COMPLETE      | artifacts + run.completed      | artifacts + stage.completed               |
 * | FAIL, ABORT   | run.failed                     | stage.failed                              |
 *
 * Runs of any depth are stages of their root run. ABORT gets the code `CANCELLED`. Other facets, inputs, JobEvent,
 * DatasetEvent and OTHER are ignored: real ones contain passwords, SQL and query plans.
 *
 * OpenLineage has no event ids, and clients send a message up to six times. So an `eventId` is a hash of the message,
 * independent of the order of its keys. The id of an artifact is a hash of run, dataset and time, because either of two
 * messages may create it.
 */

export type LineageType = 'START' | 'RUNNING' | 'COMPLETE' | 'FAIL' | 'ABORT';
/** A run of a message, with ids that are valid in drafts. The project comes from the job's namespace. */
export type RunRef = { runId: string; projectId: string; namespace: string; name: string | undefined };
/** An output. Its id is derived from namespace and name. */
export type Dataset = { artifactId: string; name: string; uri: string | undefined };

export type LineageEvent = {
  type: LineageType;
  /** ISO 8601 UTC. */
  at: string;
  self: RunRef;
  parent: RunRef | undefined;
  root: RunRef | undefined;
  outputs: Dataset[];
  /** The sanitized error message. */
  failure: string | undefined;
  /** Hash of the message. */
  digest: string;
};

/** The place of a message's run in a Runwire run. */
export type Placement = {
  /** The Runwire run of the drafts. */
  run: RunRef;
  /** Whether the message's run is a stage of that run. */
  isStage: boolean;
  /** Whether the drafts must announce the name of the run, or of the stage. */
  namesRun: boolean;
  namesStage: boolean;
  /** The root, for a run that later turned out to be a stage. */
  parentRunId: string | undefined;
  /** The final outputs, and the time when the message's run completed. */
  written: { at: string; datasets: readonly Dataset[] } | undefined;
};

const NAME_LIMIT = 200;
const MESSAGE_LIMIT = 2_000;
/** Outputs in one message. */
const OUTPUT_LIMIT = 10_000;

const text = z.string().min(1);
const job = z.object({ namespace: text, name: text });
const ancestor = z.object({ run: z.object({ runId: text }), job: job.nullish() });
const parent = ancestor.extend({ root: ancestor.nullish() }).nullish();
const eventTime = z
  .string()
  .max(64)
  // dbt's ABORT has no zone; its time is UTC.
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
  schemaURL: z.string().optional(), // Required by the specification, but missing in Marquez's samples.
  run: z.object({
    runId: text,
    facets: z
      .object({
        parent,
        parentRun: parent, // The facet's name in early versions.
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

/** Returns `id`, or a stable replacement where the id or the `name` that it was made from identifies a person. */
export type IdFor = (kind: string, id: string, name: string) => string;

/**
 * Parses a message from JSON of bounded depth. Undefined for messages without a run or without a run state. Throws
 * `INVALID_INPUT` with the path, never the value. By default, `idFor` returns the id itself.
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

/** The drafts of one message for one Runwire run. */
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

/** JobEvent and DatasetEvent: metadata of jobs and datasets without a run. */
function isAboutNoRun(body: { run?: unknown; dataset?: unknown; schemaURL?: unknown }): boolean {
  if (body.run !== undefined) return false;
  if (typeof body.dataset === 'object' && body.dataset !== null) return true;
  return typeof body.schemaURL === 'string' && /\/(?:Job|Dataset)Event$/.test(body.schemaURL);
}
