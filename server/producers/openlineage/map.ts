import { z } from 'zod';
import { RunwireError } from '../../../shared/errors.ts';
import type { RunEventDraft } from '../../../shared/events.ts';
import { normalizeInstant } from '../../../shared/fields.ts';
import { describeIssue } from '../../../shared/issues.ts';
import { canonicalJson } from '../../event-log/integrity/canonical.ts';
import { cleanText, errorTextOf, isUri, nameOf, pairIdOf, scopeIdOf, sha256 } from '../sanitize.ts';

/**
 * Maps an OpenLineage message (from Airflow, dbt, Spark, Flink or Debezium) to drafts (Runwire events before they are
 * logged). The functions are pure: facts from earlier messages, such as the run's place in a tree of runs, come in as a
 * {@link Placement} (`run-tree.ts`).
 *
 * | message       | a run without parent           | a run with a parent                       |
 * |---------------|--------------------------------|-------------------------------------------|
 * | START         | run.created + run.started      | stage.started                             |
 * | RUNNING       | –                              | stage.progress, without a percentage      |
 * | COMPLETE      | artifacts + run.completed      | artifacts + stage.completed               |
 * | FAIL, ABORT   | run.failed                     | stage.failed                              |
 *
 * - Runs of any depth are stages of their root run.
 * - ABORT gives an error with the code `CANCELLED`.
 * - JobEvent, DatasetEvent and OTHER messages, inputs, and facets except `parent` and `errorMessage` are ignored: in
 *   practice they contain passwords, SQL and query plans.
 * - OpenLineage has no event ids, and clients send a message up to six times. So an `eventId` contains a hash of the
 *   message, which does not depend on the order of its keys: a repeated message gives duplicates, and the log skips
 *   them.
 * - The `eventId` of an artifact is a hash of run, dataset and time of completion: COMPLETE publishes the outputs of
 *   earlier messages, but a message that arrives after COMPLETE publishes its outputs itself, and both must give the
 *   same artifact the same id.
 */

type LineageType = 'START' | 'RUNNING' | 'COMPLETE' | 'FAIL' | 'ABORT';
/** A run that a message names, with ids that are valid in drafts. `projectId` is made from the namespace of the job. */
export type RunRef = { runId: string; projectId: string; namespace: string; name: string | undefined };
/** An output of a run. `artifactId` is made from the namespace and the name of the dataset. */
export type Dataset = { artifactId: string; name: string; uri: string | undefined };

export type LineageEvent = {
  type: LineageType;
  /** Time of the message, in ISO 8601 and UTC. */
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

/** How the run of a message appears in Runwire: as a run, or as a stage of another run. */
export type Placement = {
  /** The Runwire run of the drafts: the run of the message, or its root run. */
  run: RunRef;
  /** Whether the run of the message is a stage of `run`. */
  isStage: boolean;
  /** Whether the drafts must contain a `run.created` with the name of `run`. */
  namesRun: boolean;
  /** Whether the drafts must contain a `stage.started` with the name of the stage. */
  namesStage: boolean;
  /** The root run, if a message has shown that `run`, which was published as a run of its own, is a stage. */
  parentRunId: string | undefined;
  /** The outputs of the run of the message, and when that run completed. Undefined until the run has completed. */
  written: { at: string; datasets: readonly Dataset[] } | undefined;
};

const NAME_LIMIT = 200;
const MESSAGE_LIMIT = 2_000;
/** Maximum number of outputs in one message. */
const OUTPUT_LIMIT = 10_000;

const text = z.string().min(1);
const job = z.object({ namespace: text, name: text });
const ancestor = z.object({ run: z.object({ runId: text }), job: job.nullish() });
const parent = ancestor.extend({ root: ancestor.nullish() }).nullish();
const eventTime = z
  .string()
  .max(64)
  // The time in dbt's ABORT has no zone, and is UTC.
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

/** Returns `id`, or a stable replacement if the id, or the `name` from which it was made, identifies a person. */
export type IdFor = (kind: string, id: string, name: string) => string;

/**
 * Reads a message from parsed JSON of bounded depth. Undefined for messages without a run or without a run state, which
 * are ignored. Throws `INVALID_INPUT` with the path of the invalid field, never with its value. By default, `idFor`
 * returns the id itself.
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

/** Returns the drafts of one message for one Runwire run. */
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

/** Whether a message is a JobEvent or DatasetEvent: metadata of a job or a dataset, without a run. */
function isAboutNoRun(body: { run?: unknown; dataset?: unknown; schemaURL?: unknown }): boolean {
  if (body.run !== undefined) return false;
  if (typeof body.dataset === 'object' && body.dataset !== null) return true;
  return typeof body.schemaURL === 'string' && /\/(?:Job|Dataset)Event$/.test(body.schemaURL);
}
