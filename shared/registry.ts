import { z } from 'zod';
import * as field from './fields.ts';
import type { RunRows } from './run.ts';
import { beginFold, finishFold } from './run-fold.ts';

/**
 * The machinery of event types. An event type is one call of {@link defineEvent}; a registry is a plain object of
 * them. Schemas, categories, the fold, the router and the hooks are all functions of a registry, and their types are
 * inferred through it, so a type that a user adds is known everywhere at once.
 */

/** What every logged event has, whatever its type. */
export type LoggedEnvelope = z.output<z.ZodObject<typeof eventEnvelope>> & { type: string };
type Fold = (rows: RunRows, event: never) => void;

/** What a producer may set on every draft. */
const draftEnvelope = {
  projectId: field.scopeId(),
  runId: field.scopeId(),
  timestamp: field.instant().optional(),
  eventId: field.id().optional(),
  audience: z.array(field.userId()).max(1_000).optional(),
};

/** What every logged event has. `seq` and `runSeq` count from 1; both are contiguous. */
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

/** A check across fields: a message when the event is wrong, else undefined. `path` names the field to blame. */
type Check = { path: string; message: string; holds(event: Record<string, unknown>): boolean };

type Definition<T extends string, C extends string, P extends string, F extends z.ZodRawShape> = {
  type: T;
  /** What `subscribe_category` and the `categories` filter go by. */
  category: C;
  /** The producer-side topic of the original design. */
  topic: P;
  /** Own fields, beside the envelope. */
  fields: F;
  check?: Check;
  /**
   * What an event of this type does to its run, beside moving `lastSeq` on. An event that is erased is folded again,
   * without its text: who wins by a key has to win over itself, or its text stays in the row.
   */
  fold?: (rows: RunRows, event: z.output<z.ZodObject<typeof eventEnvelope & { type: z.ZodLiteral<T> } & F>>) => void;
};

function strict<S extends z.ZodRawShape>(shape: S, check: Check | undefined): z.ZodObject<S, z.core.$strict> {
  const schema = z.strictObject(shape);
  if (!check) return schema;
  return schema.refine((event) => check.holds(event), { path: [check.path], error: check.message });
}

/** Declares an event type. Its `fields` must not use a name of the envelope. */
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

/** The types of each category, in the registry's order. */
export function categoriesOf<R extends Registry>(registry: R): { [C in CategoryOf<R>]: readonly TypeOf<R>[] } {
  const categories: Record<string, string[]> = {};
  for (const { type, category } of Object.values(registry)) {
    categories[category] ??= [];
    categories[category].push(type);
  }
  return categories as never;
}

/**
 * The fold of a registry: applies one logged event to the rows of its run. Total (an event that says nothing new
 * changes nothing), and independent of arrival order but for approvals, which go by `seq`.
 */
export function foldOf<R extends Registry>(registry: R): (rows: RunRows, event: EventOf<R>) => void {
  return (rows, event) => {
    const envelope = event as unknown as LoggedEnvelope;
    beginFold(rows, envelope);
    registry[envelope.type]?.fold?.(rows, event as never);
    finishFold(rows);
  };
}
