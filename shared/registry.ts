import { z } from 'zod';
import { objectOf } from './errors.ts';
import { checkType } from './event-names.ts';
import { checkFields } from './field-check.ts';
import * as field from './fields.ts';
import type { RunRows } from './run.ts';
import type { Fold } from './run-fold.ts';

/**
 * Event types and registries. {@link defineEvent} declares an event type; a registry is a plain object of event types.
 *
 * A new event type needs only one entry in a registry, because these parts are derived from the registry:
 * - schemas of drafts (a draft is an event before the server logs it) and of logged events;
 * - categories, the fold (`run-fold.ts`) and the tombstones of erased events (`tombstone.ts`);
 * - the rules of the PHI guard (`server/phi/`), which checks drafts for protected health information;
 * - the router, the client's hooks, and all TypeScript types.
 */

/** The envelope: the fields that every logged event has. */
export type LoggedEnvelope = z.output<z.ZodObject<typeof eventEnvelope>> & { type: string };

/** The envelope of a draft. */
const draftEnvelope = {
  projectId: field.scopeId(),
  runId: field.scopeId(),
  timestamp: field.instant().optional(),
  eventId: field.id().optional(),
  audience: z.array(field.userId()).max(1_000).optional(),
};

/**
 * The envelope of a logged event. `seq` is the event's position in the log, `runSeq` its position in its run. Both
 * count from 1 without gaps.
 */
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

/** Schema of the envelope alone. It accepts a logged event of any type, even if no registry has the type. */
export const envelopeSchema = z.object({ type: field.onErase('kept', z.string()), ...eventEnvelope });

/** A check of several fields together. When `holds` returns false, the event is refused with `path` and `message`. */
type Check = { path: string; message: string; holds(event: Record<string, unknown>): boolean };

type Definition<T extends string, C extends string, P extends string, F extends z.ZodRawShape> = {
  type: T;
  /** The group of types that `subscribe_category` and the filter `categories` select. */
  category: C;
  /** A free name under which producers group event types. Runwire does not use it. */
  topic: P;
  /**
   * The type's own fields. Their names must differ from the envelope's. Build ids, user ids, URIs and instants with
   * `fields.ts`: the PHI guard and the tombstone treat every other string as free text.
   */
  fields: F;
  check?: Check;
  /**
   * Applies an event of this type to the rows of its run. By default an event only updates the positions in the header.
   * When an event is erased, its tombstone is folded too, with the same key (`run-fold.ts`). So a fold that keeps the
   * value with the greatest key must also accept an equal key: otherwise the erased text stays in the row.
   */
  fold?: (rows: RunRows, event: z.output<z.ZodObject<typeof eventEnvelope & { type: z.ZodLiteral<T> } & F>>) => void;
};

/** `T`, unless it is a type of the signals. */
type TypeName<T extends string> = T extends `stream.${string}` ? never : T;
type NotJson =
  | Date
  | bigint
  | symbol
  | ReadonlyMap<unknown, unknown>
  | ReadonlySet<unknown>
  | ((...args: never) => unknown);
/** Fields with names that the envelope does not have, and with values that JSON can carry. */
type OwnFields<F extends z.ZodRawShape> = {
  [Name in keyof F]: Name extends keyof LoggedEnvelope
    ? never
    : HasNotJson<z.output<F[Name]>> extends true
      ? never
      : F[Name];
};
type HasNotJson<T> = 0 extends 1 & T ? false : true extends (T extends NotJson ? true : false) ? true : false;

function strict<S extends z.ZodRawShape>(shape: S, check: Check | undefined): z.ZodObject<S, z.core.$strict> {
  const schema = z.strictObject(shape);
  if (!check) return schema;
  return schema.refine((event) => check.holds(event), { path: [check.path], error: check.message });
}

/**
 * Declares an event type and builds its schemas. Throws a `RunwireError` with the code `INVALID_INPUT` and a path: for a type
 * that begins with `stream.`, a field with the name of one of the envelope, a schema of zod 3, and a schema that converts
 * values or accepts values without a form in JSON (dates, big integers, maps).
 */
export function defineEvent<
  const T extends string,
  const C extends string,
  const P extends string,
  F extends z.ZodRawShape,
>(definition: Definition<T, C, P, F> & { type: TypeName<T>; fields: OwnFields<F> }) {
  const { type, category, topic, fields, check, fold } = objectOf(definition, 'definition');
  checkType(type);
  checkFields(type, fields, eventEnvelope);
  return {
    type,
    category,
    topic,
    fold: fold as Fold | undefined,
    /** Schema of a logged event. */
    event: strict({ type: z.literal(type), ...eventEnvelope, ...fields }, check),
    /** Schema of a draft. It refuses fields that only the server sets, such as `seq`, as unknown keys. */
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

/** Event types. The key of an entry is its `type`. */
export type Registry = { readonly [type: string]: AnyDefinition };

/** Refuses, at compile time, an entry with a key that is not its type. */
export type KeyedByType<R extends Registry> = { readonly [T in keyof R]: { readonly type: T } };

/** A logged event of a registry, or of one type of it. */
export type EventOf<R extends Registry, T extends keyof R = keyof R> = T extends keyof R
  ? z.output<R[T]['event']>
  : never;
/** A draft of a registry, or of one type of it. */
export type DraftOf<R extends Registry, T extends keyof R = keyof R> = T extends keyof R
  ? z.input<R[T]['draft']>
  : never;
/** A draft after validation: defaults are filled in, and instants are in UTC. */
export type CheckedDraftOf<R extends Registry, T extends keyof R = keyof R> = T extends keyof R
  ? z.output<R[T]['draft']>
  : never;
/** The event types of a registry. */
export type TypeOf<R extends Registry> = keyof R & string;
/** The categories of a registry. */
export type CategoryOf<R extends Registry> = R[keyof R]['category'];
/** The event types of a category. */
export type TypeIn<R extends Registry, C extends CategoryOf<R>> = {
  [T in TypeOf<R>]: R[T]['category'] extends C ? T : never;
}[TypeOf<R>];

type Discriminable = z.core.$ZodTypeDiscriminable;
const union = (schemas: z.ZodType[]) =>
  z.discriminatedUnion('type', schemas as unknown as [Discriminable, ...Discriminable[]]);

const definitionsOf = (registry: Registry) =>
  Object.entries(objectOf(registry, 'registry')).map(([type, definition]) => objectOf(definition, `registry.${type}`));

/** Returns a schema that accepts a draft of any type in the registry. */
export function draftSchemaOf<R extends Registry>(registry: R): z.ZodType<CheckedDraftOf<R>, DraftOf<R>> {
  return union(definitionsOf(registry).map((definition) => definition.draft)) as never;
}

/** Returns a schema that accepts a logged event of any type in the registry. */
export function eventSchemaOf<R extends Registry>(registry: R): z.ZodType<EventOf<R>, EventOf<R>> {
  return union(definitionsOf(registry).map((definition) => definition.event)) as never;
}

/** Returns the event types of each category, in the order of the registry. */
export function categoriesOf<R extends Registry>(registry: R): { [C in CategoryOf<R>]: readonly TypeOf<R>[] } {
  const categories: Record<string, string[]> = {};
  for (const { type, category } of definitionsOf(registry)) {
    categories[category] ??= [];
    categories[category].push(type);
  }
  return categories as never;
}
