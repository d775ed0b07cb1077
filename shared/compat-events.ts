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

export const RunCreatedEventSchema = former('run.created', {});
export const RunStartedEventSchema = former('run.started', {});
export const RunCompletedEventSchema = former('run.completed', {});
export const RunFailedEventSchema = former('run.failed', {});
export const StageStartedEventSchema = former('stage.started', {});
export const StageProgressEventSchema = former('stage.progress', { progress: z.number().min(0).max(100) });
export const StageCompletedEventSchema = former('stage.completed', {});
export const StageFailedEventSchema = former('stage.failed', {});
export const ArtifactCreatedEventSchema = former('artifact.created', {});
export const GovernanceRequiredEventSchema = former('governance.required', {});
export const ApprovalGrantedEventSchema = former('approval.granted', {});
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

export type AnyWebSocketEvent = z.infer<(typeof schemas)[number]>;
/** Its type is stated: the inferred one has two arguments, which zod 4.0 does not know. */
export const AnyWebSocketEventSchema: z.ZodType<AnyWebSocketEvent> = z.discriminatedUnion('type', schemas);
type EventOf<Type extends AnyWebSocketEvent['type']> = Extract<AnyWebSocketEvent, { type: Type }>;
export type RunCreatedEvent = EventOf<'run.created'>;
export type RunStartedEvent = EventOf<'run.started'>;
export type RunCompletedEvent = EventOf<'run.completed'>;
export type RunFailedEvent = EventOf<'run.failed'>;
export type StageStartedEvent = EventOf<'stage.started'>;
export type StageProgressEvent = EventOf<'stage.progress'>;
export type StageCompletedEvent = EventOf<'stage.completed'>;
export type StageFailedEvent = EventOf<'stage.failed'>;
export type ArtifactCreatedEvent = EventOf<'artifact.created'>;
export type GovernanceRequiredEvent = EventOf<'governance.required'>;
export type ApprovalGrantedEvent = EventOf<'approval.granted'>;
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
export type CompatEvents = typeof compatEvents;
