import { z } from 'zod';
import * as field from '../../shared/fields.ts';
import type { Registry, TypeOf } from '../../shared/registry.ts';

/** Input fields that several procedures share. */

const MAX_PAGE_ITEMS = 500;

/** A cursor of any length: decoding refuses an invalid one, and always with `CURSOR_INVALID`. */
export const opaqueCursor = z.string();
/** tRPC's `useInfiniteQuery` sets `direction`. */
export const pageInput = {
  limit: z.int().positive().max(MAX_PAGE_ITEMS).default(50),
  cursor: opaqueCursor.nullish(),
  direction: z.literal('forward').optional(),
};
export const periodInput = { since: field.instant().optional(), until: field.instant().optional() };
/** Without a project: the only run of this id that the caller may read. */
export const runInput = { runId: field.scopeId(), projectId: field.scopeId().optional() };

/** Names of event types, each at most once. */
export function typesInput<R extends Registry>(registry: R) {
  const types = Object.keys(registry) as [TypeOf<R>, ...TypeOf<R>[]];
  return z.array(z.enum(types)).max(types.length).optional();
}

export const msOf = (instant: string | undefined): number | undefined =>
  instant === undefined ? undefined : Date.parse(instant);
