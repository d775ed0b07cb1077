import { z } from 'zod';
import * as field from '../../shared/fields.ts';
import type { Registry } from '../../shared/registry.ts';
import { projectsFor } from '../auth/permissions.ts';
import type { Principal } from '../auth/principal.ts';
import type { SearchQuery } from '../event-log/contract/search.ts';
import { msOf, periodInput, typesInput } from './inputs.ts';

/** The filter of `event.search`, `event.facets` and of the export of a search. */

/** Maximum number of projects, and of publishers, in a filter. */
const MAX_VALUES = 100;

/** One value, or a list: an event must have one of them. */
const oneOrSeveral = <S extends z.ZodType<string, string>>(value: S) =>
  z.union([value, z.array(value).max(MAX_VALUES)]).optional();

export const searchFilter = <R extends Registry>(registry: R) => ({
  text: z.string().max(2_000).optional(),
  projectId: oneOrSeveral(field.scopeId()),
  runId: field.scopeId().optional(),
  types: typesInput(registry),
  actor: oneOrSeveral(field.id()),
  ...periodInput,
});

type SearchInput = {
  text?: string | undefined;
  projectId?: string | string[] | undefined;
  runId?: string | undefined;
  types?: readonly string[] | undefined;
  actor?: string | string[] | undefined;
  since?: string | undefined;
  until?: string | undefined;
};

/** Returns the query of a filter, in the projects, or in the run, that the caller may read. */
export function searchQueryOf(principal: Principal, input: SearchInput): Omit<SearchQuery, 'limit'> {
  const { text, projectId, runId = principal.runId, types, actor, since, until } = input;
  const readable = projectsFor(principal, 'read', runId);
  const wanted = projectId === undefined ? undefined : [...new Set([projectId].flat())];
  return {
    ...(text?.trim() ? { text } : {}),
    projects: readable === 'all' ? (wanted ?? 'all') : readable.filter((id) => wanted?.includes(id) ?? true),
    runId,
    types: types && new Set(types),
    actors: actor === undefined ? undefined : new Set([actor].flat()),
    sinceMs: msOf(since),
    untilMs: msOf(until),
    user: principal.sub,
  };
}
