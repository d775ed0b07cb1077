import { z } from 'zod';
import * as field from '../../shared/fields.ts';
import type { Registry, TypeOf } from '../../shared/registry.ts';

/** Input fields that several procedures have in common. */

const MAX_PAGE_ITEMS = 500;

/** A cursor. Any text passes, so that the decoder refuses every invalid cursor, with `CURSOR_INVALID`. */
export const opaqueCursor = z.string();
/** Fields of a query with pages. `direction` is not used, but tRPC's `useInfiniteQuery` sends it. */
export const pageInput = {
  limit: z.int().positive().max(MAX_PAGE_ITEMS).default(50),
  cursor: opaqueCursor.nullish(),
  direction: z.literal('forward').optional(),
};
export const periodInput = { since: field.instant().optional(), until: field.instant().optional() };
/** Names a run. Without `projectId`, the run is the only one with this id that the caller may read. */
export const runInput = { runId: field.scopeId(), projectId: field.scopeId().optional() };

/** zod drops the key `__proto__` of a record: the filter would then match every run. No run has such a label. */
export const labelsInput = (key: z.ZodString, value: z.ZodString) =>
  z
    .custom<Record<string, string>>((labels) => labels === null || !Object.hasOwn(Object(labels), '__proto__'))
    .pipe(z.record(key, value));

/** A list of event types, at most as long as the list of all types. */
export function typesInput<R extends Registry>(registry: R) {
  const types = Object.keys(registry) as [TypeOf<R>, ...TypeOf<R>[]];
  return z.array(z.enum(types)).max(types.length).optional();
}

export const msOf = (instant: string | undefined): number | undefined =>
  instant === undefined ? undefined : Date.parse(instant);
