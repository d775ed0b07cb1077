import { setImmediate } from 'node:timers/promises';
import { z } from 'zod';
import { RunwireError } from '../../../shared/errors.ts';
import type { RunEventDraft } from '../../../shared/events.ts';
import { normalizeInstant } from '../../../shared/fields.ts';
import { describeIssue } from '../../../shared/issues.ts';
import { canonicalJson } from '../../event-log/integrity/canonical.ts';
import { cleanText, errorTextOf, isUri, nameOf, pairIdOf, scopeIdOf, sha256 } from '../sanitize.ts';

/**
 * Maps an OpenLineage message (from Airflow, dbt, Spark, Flink or Debezium) to drafts (Runwire events before they are
 * logged). Facts from earlier messages, such as the run's place in a tree of runs, are in a {@link Placement}
 * (`run-tree.ts`).
 *
 * | message       | a run without parent           | a run with a parent                       |
 * |---------------|--------------------------------|-------------------------------------------|
 * | START         | run.created + run.started      | stage.started                             |
 * | RUNNING       | run.started, before any START  | stage.progress, without a percentage      |
 * | COMPLETE      | artifacts + run.completed      | artifacts + stage.completed               |
 * | FAIL, ABORT   | run.failed                     | stage.failed                              |
 *
 * - Runs of any depth are stages of their root run.
 * - ABORT gives an error with the code `CANCELLED`.
 * - JobEvent, DatasetEvent and OTHER messages, inputs, and facets except `parent`, `errorMessage` and those of errors
 *   are ignored: in practice they contain passwords, SQL and query plans.
 * - OpenLineage has no event ids, and clients send a message up to six times. So an `eventId` contains a hash of the
 *   fields of the message that are used: a repeated message gives duplicates, and the log skips them.
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
  /** Hash of the fields above. */
  digest: string;
};

/** How the run of a message appears in Runwire: as a run, or as a stage of another run. */
export type Placement = {
  /** The Runwire run of the drafts: the run of the message, or its root run. */
  run: RunRef;
  /** Whether the run of the message is a stage of `run`. */
  isStage: boolean;
  /** Whether the message starts `run`. A RUNNING does so if no START has arrived: Debezium sends none. */
  starts: boolean;
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
/** Java's `ZonedDateTime` adds the name of the zone, as in `+01:00[Europe/Paris]`; some clients add a `Z` to an offset. */
const ZONE_NAME = /\[[\w+/-]{1,64}\]$/;
const OFFSET_AND_Z = /([+-]\d\d:?\d\d)Z$/;
const eventTime = z
  .string()
  .max(128)
  .transform((value) => value.replace(ZONE_NAME, '').replace(OFFSET_AND_Z, '$1'))
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
  run: z.object({
    runId: text,
    facets: z
      .looseObject({
        parent,
        parentRun: parent, // The facet's name in early versions.
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

/** Outputs that are mapped in one turn of the event loop. */
const OUTPUTS_PER_TURN = 200;

/**
 * Reads a message from parsed JSON of bounded depth. Resolves to undefined for messages without a run or without a run
 * state, which are ignored. Rejects with `INVALID_INPUT` and the path of the invalid field, never its value. By default,
 * `idFor` returns the id itself.
 */
export async function readLineage(body: unknown, idFor: IdFor = (_kind, id) => id): Promise<LineageEvent | undefined> {
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
  const datasets: Dataset[] = [];
  for (const dataset of outputs ?? []) {
    datasets.push(datasetOf(idFor, dataset));
    if (datasets.length % OUTPUTS_PER_TURN === 0) await setImmediate();
  }
  const event = {
    type: eventType,
    at: eventTime as string,
    self: refOf(idFor, run.runId, job.namespace, job.name),
    parent: facet ? ref(facet) : undefined,
    root: facet?.root ? ref(facet.root) : undefined,
    outputs: datasets,
    failure: errorTextOf(failureOf(run.facets ?? {}), MESSAGE_LIMIT) || undefined,
  };
  return { ...event, digest: sha256(canonicalJson(event)) };
}

/** Names of facets with an error. Spark's integration sends `spark.exception` instead of `errorMessage`. */
const ERROR_FACET = /(?:error|exception)/i;

function failureOf({ errorMessage, ...facets }: { [facet: string]: unknown }): string {
  const others = Object.entries(facets).filter(([name]) => ERROR_FACET.test(name));
  for (const facet of [errorMessage, ...others.map(([, facet]) => facet)]) {
    const { message } = (facet ?? {}) as { message?: unknown };
    if (typeof message === 'string' && message !== '') return message;
  }
  return '';
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

/** Makes the drafts of one message for one Runwire run. */
export function* draftsOf(event: LineageEvent, place: Placement): Generator<RunEventDraft, void, undefined> {
  const { type, at: timestamp, self, digest } = event;
  const { run, isStage, written, parentRunId } = place;
  const stageId = self.runId;
  const about = (kind: string) => ({
    projectId: run.projectId,
    runId: run.runId,
    timestamp,
    eventId: `ol:${digest}:${isStage ? 'stage' : 'run'}:${kind}`,
  });
  if (place.namesRun) {
    yield {
      type: 'run.created',
      ...about('created'),
      name: run.name ?? run.runId,
      labels: { namespace: run.namespace },
      ...(parentRunId === undefined ? {} : { parentRunId }),
    };
  }
  if (isStage && place.namesStage) {
    yield { type: 'stage.started', ...about('started'), stageId, name: self.name ?? stageId };
  }
  for (const { artifactId, name, uri } of written?.datasets ?? []) {
    yield {
      type: 'artifact.created',
      ...about('artifact'),
      timestamp: written?.at ?? timestamp,
      eventId: `ol:${sha256(`${stageId}\n${artifactId}\n${written?.at}`)}:artifact`,
      artifactId,
      name,
      ...(uri === undefined ? {} : { uri }),
      ...(isStage ? { stageId } : {}),
    };
  }
  const error = {
    message: event.failure ?? (type === 'ABORT' ? 'aborted' : 'failed'),
    ...(type === 'ABORT' ? { code: 'CANCELLED' } : {}),
  };
  if (place.starts) yield { type: 'run.started', ...about('started') };
  switch (type) {
    case 'START':
      break;
    case 'RUNNING':
      if (isStage) yield { type: 'stage.progress', ...about('progress'), stageId, message: 'running' };
      break;
    case 'COMPLETE':
      if (isStage) yield { type: 'stage.completed', ...about('completed'), stageId };
      else yield { type: 'run.completed', ...about('completed') };
      break;
    default:
      if (isStage) yield { type: 'stage.failed', ...about('failed'), stageId, error };
      else yield { type: 'run.failed', ...about('failed'), error };
  }
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
  if (body.run !== undefined && body.run !== null) return false;
  if (typeof body.dataset === 'object' && body.dataset !== null) return true;
  return typeof body.schemaURL === 'string' && /\/(?:Job|Dataset)Event$/.test(body.schemaURL);
}
