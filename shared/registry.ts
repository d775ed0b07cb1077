import { z } from 'zod';
import * as field from './fields.ts';
import type { RunRows } from './run.ts';
import { beginFold, finishFold } from './run-fold.ts';

/**
 * Event types and registries. An event type is one call of {@link defineEvent}; a registry is a plain object of them.
 * Schemas, categories, fold, tombstone, PHI guard, router and hooks are derived from a registry, and their TypeScript types
 * are inferred from it. So a new event type is one entry of a registry.
 */

/** The fields of every logged event. */
export type LoggedEnvelope = z.output<z.ZodObject<typeof eventEnvelope>> & { type: string };
type Fold = (rows: RunRows, event: never) => void;

/** Fields that a producer may set on every draft. */
const draftEnvelope = {
  projectId: field.scopeId(),
  runId: field.scopeId(),
  timestamp: field.instant().optional(),
  eventId: field.id().optional(),
  audience: z.array(field.userId()).max(1_000).optional(),
};

/** Fields of every logged event. `seq` and `runSeq` count from 1 without gaps. */
const eventEnvelope = {
  ...draftEnvelope,
  timestamp: field.instant(),
  eventId: field.id(),
  actor: field.userId(),
  recordedAt: field.instant(),
  seq: z.int().positive(),
  runSeq: z.int().positive(),
  /** Set when the event's text has been erased; see `tombstone.ts`. */
  erased: z.literal(true).optional(),
};

/** The envelope of a logged event of any type, known to a registry or not. */
export const envelopeSchema = z.object({ type: field.onErase('kept', z.string()), ...eventEnvelope });

/** A check across fields. When `holds` returns false, the draft is refused with `path` and `message`. */
type Check = { path: string; message: string; holds(event: Record<string, unknown>): boolean };

type Definition<T extends string, C extends string, P extends string, F extends z.ZodRawShape> = {
  type: T;
  /** Used by `subscribe_category` and by the `categories` filter. */
  category: C;
  /** The producer-side topic of the original design. */
  topic: P;
  /**
   * The type's own fields, without names of the envelope. The builders of `fields.ts` mark ids, user ids, URIs and instants;
   * the PHI guard and the tombstone treat every other string as text.
   */
  fields: F;
  check?: Check;
  /**
   * Applies an event of this type to the rows of its run; default: it only updates `lastSeq`. An erased event is folded
   * again, without its text. So an event must win against itself where the greatest key wins, or its text stays in the row.
   */
  fold?: (rows: RunRows, event: z.output<z.ZodObject<typeof eventEnvelope & { type: z.ZodLiteral<T> } & F>>) => void;
};

function strict<S extends z.ZodRawShape>(shape: S, check: Check | undefined): z.ZodObject<S, z.core.$strict> {
  const schema = z.strictObject(shape);
  if (!check) return schema;
  return schema.refine((event) => check.holds(event), { path: [check.path], error: check.message });
}

/** Declares an event type. */
export function defineEvent<
  const T extends string,
  const C extends string,
  const P extends string,
  F extends z.ZodRawShape,
>(definition: Definition<T, C, P, F>) {
  const { type, category, topic, fields, check, fold } = definition;
  return {
    type,
    category,
    topic,
    fold: fold as Fold | undefined,
    /** Checks a logged event. */
    event: strict({ type: z.literal(type), ...eventEnvelope, ...fields }, check),
    /** Checks a draft: server-set fields are unknown keys here, and so errors. */
    draft: strict({ type: z.literal(type), ...draftEnvelope, ...fields }, check),
  };
}

type AnyDefinition = {
  type: string;
  category: string;
  topic: string;
  fold: Fold | undefined;
  event: z.ZodType;
  draft: z.ZodType;
};

/** Event types by their `type`. */
export type Registry = { readonly [type: string]: AnyDefinition };

export type EventOf<R extends Registry, T extends keyof R = keyof R> = T extends keyof R
  ? z.output<R[T]['event']>
  : never;
export type DraftOf<R extends Registry, T extends keyof R = keyof R> = T extends keyof R
  ? z.input<R[T]['draft']>
  : never;
export type CheckedDraftOf<R extends Registry, T extends keyof R = keyof R> = T extends keyof R
  ? z.output<R[T]['draft']>
  : never;
export type TypeOf<R extends Registry> = keyof R & string;
export type CategoryOf<R extends Registry> = R[keyof R]['category'];

type Discriminable = z.core.$ZodTypeDiscriminable;
const union = (schemas: z.ZodType[]) =>
  z.discriminatedUnion('type', schemas as unknown as [Discriminable, ...Discriminable[]]);

/** The schema of any draft of the registry. */
export function draftSchemaOf<R extends Registry>(registry: R): z.ZodType<CheckedDraftOf<R>, DraftOf<R>> {
  return union(Object.values(registry).map((definition) => definition.draft)) as never;
}

/** The schema of any logged event of the registry. */
export function eventSchemaOf<R extends Registry>(registry: R): z.ZodType<EventOf<R>, EventOf<R>> {
  return union(Object.values(registry).map((definition) => definition.event)) as never;
}

/** The event types of each category, in the order of the registry. */
export function categoriesOf<R extends Registry>(registry: R): { [C in CategoryOf<R>]: readonly TypeOf<R>[] } {
  const categories: Record<string, string[]> = {};
  for (const { type, category } of Object.values(registry)) {
    categories[category] ??= [];
    categories[category].push(type);
  }
  return categories as never;
}

/**
 * The fold of a registry: applies one logged event to the rows of its run. It accepts every event, and an event without news
 * changes nothing. The result does not depend on the order of arrival, except for approvals, which are ordered by `seq`.
 */
export function foldOf<R extends Registry>(registry: R): (rows: RunRows, event: EventOf<R>) => void {
  return (rows, event) => {
    const envelope = event as unknown as LoggedEnvelope;
    beginFold(rows, envelope);
    registry[envelope.type]?.fold?.(rows, event as never);
    finishFold(rows);
  };
}
