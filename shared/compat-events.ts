import { z } from 'zod';
import { COMPAT_TYPE } from './compat-names.ts';
import { EventCategories as categories, runwireEvents } from './events.ts';
import { defineEvent } from './registry.ts';

/**
 * The twelve events in the form of the former WebSocket event system, for `runwire/compat`. Its design names the events and
 * not the fields of their payloads, so each application has its own: a payload may have any further field.
 */

const former = <const Type extends string, Fields extends z.ZodRawShape>(type: Type, fields: Fields) =>
  z.object({
    type: z.literal(type),
    timestamp: z.iso.datetime({ offset: true }),
    payload: z.object({ runId: z.string(), ...fields }).catchall(z.any()),
  });

/** Validates an event in the shape of the former system. */
export const RunCreatedEventSchema = former('run.created', {});
/** Validates an event in the shape of the former system. */
export const RunStartedEventSchema = former('run.started', {});
/** Validates an event in the shape of the former system. */
export const RunCompletedEventSchema = former('run.completed', {});
/** Validates an event in the shape of the former system. */
export const RunFailedEventSchema = former('run.failed', {});
/** Validates an event in the shape of the former system. */
export const StageStartedEventSchema = former('stage.started', {});
/** Validates an event in the shape of the former system. */
export const StageProgressEventSchema = former('stage.progress', { progress: z.number().min(0).max(100) });
/** Validates an event in the shape of the former system. */
export const StageCompletedEventSchema = former('stage.completed', {});
/** Validates an event in the shape of the former system. */
export const StageFailedEventSchema = former('stage.failed', {});
/** Validates an event in the shape of the former system. */
export const ArtifactCreatedEventSchema = former('artifact.created', {});
/** Validates an event in the shape of the former system. */
export const GovernanceRequiredEventSchema = former('governance.required', {});
/** Validates an event in the shape of the former system. */
export const ApprovalGrantedEventSchema = former('approval.granted', {});
/** Validates an event in the shape of the former system. */
export const ApprovalDeniedEventSchema = former('approval.denied', {});

const schemas = [
  RunCreatedEventSchema,
  RunStartedEventSchema,
  RunCompletedEventSchema,
  RunFailedEventSchema,
  StageStartedEventSchema,
  StageProgressEventSchema,
  StageCompletedEventSchema,
  StageFailedEventSchema,
  ArtifactCreatedEventSchema,
  GovernanceRequiredEventSchema,
  ApprovalGrantedEventSchema,
  ApprovalDeniedEventSchema,
] as const;

/** An event in the shape of the former system. */
export type AnyWebSocketEvent = z.infer<(typeof schemas)[number]>;
/** Validates an event in the shape of the former system. Its type is stated: the inferred one has two arguments, which zod 4.0 does not know. */
export const AnyWebSocketEventSchema: z.ZodType<AnyWebSocketEvent> = z.discriminatedUnion('type', schemas);
type EventOf<Type extends AnyWebSocketEvent['type']> = Extract<AnyWebSocketEvent, { type: Type }>;
/** An event in the shape of the former system. */
export type RunCreatedEvent = EventOf<'run.created'>;
/** An event in the shape of the former system. */
export type RunStartedEvent = EventOf<'run.started'>;
/** An event in the shape of the former system. */
export type RunCompletedEvent = EventOf<'run.completed'>;
/** An event in the shape of the former system. */
export type RunFailedEvent = EventOf<'run.failed'>;
/** An event in the shape of the former system. */
export type StageStartedEvent = EventOf<'stage.started'>;
/** An event in the shape of the former system. */
export type StageProgressEvent = EventOf<'stage.progress'>;
/** An event in the shape of the former system. */
export type StageCompletedEvent = EventOf<'stage.completed'>;
/** An event in the shape of the former system. */
export type StageFailedEvent = EventOf<'stage.failed'>;
/** An event in the shape of the former system. */
export type ArtifactCreatedEvent = EventOf<'artifact.created'>;
/** An event in the shape of the former system. */
export type GovernanceRequiredEvent = EventOf<'governance.required'>;
/** An event in the shape of the former system. */
export type ApprovalGrantedEvent = EventOf<'approval.granted'>;
/** An event in the shape of the former system. */
export type ApprovalDeniedEvent = EventOf<'approval.denied'>;

/** Returns whether a value is one of the twelve events in their former form. */
export function isValidWebSocketEvent(value: unknown): value is AnyWebSocketEvent {
  return AnyWebSocketEventSchema.safeParse(value).success;
}

/** The types of each category, under Runwire's names and under those of the former system. */
export const EventCategories = {
  ...categories,
  RUN_EVENTS: categories.run,
  STAGE_EVENTS: categories.stage,
  ARTIFACT_EVENTS: categories.artifact,
  GOVERNANCE_EVENTS: categories.governance,
  ALL_EVENTS: Object.values(categories).flat(),
};

/** The registry of a server with `runwire/compat`. */
export const compatEvents = {
  ...runwireEvents,
  [COMPAT_TYPE]: defineEvent({
    type: COMPAT_TYPE,
    category: 'compat',
    topic: 'compat',
    fields: {
      /** The event in its former form. It may have any type and any fields. */
      event: z.record(z.string(), z.unknown()),
      /** `run`: for the pages of this run alone. Default: also for pages of its project, and for pages of everything. */
      to: z.literal('run').optional(),
    },
  }),
};
/** The registry of `runwire/compat`: the twelve types, and the message in the shape of the former system. */
export type CompatEvents = typeof compatEvents;
