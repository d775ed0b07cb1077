import { runwireEvents } from '../../shared/events.ts';
import { createPhiGuard } from '../phi/guard.ts';
import { isRefused } from '../phi/policy.ts';

/** Converts a name to a part of an id: `Build all!` becomes `build-all`. */
export const slugOf = (name: string): string =>
  name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')
    .slice(0, 60);

/** Returns the id, or `fallback` if the PHI guard would refuse the id. */
export const idOrFallback = (id: string, fallback: string): string =>
  isRefused(createPhiGuard(runwireEvents), id) ? fallback : id;

/** Returns the id, or the id with a number if the id is in `taken`. Adds the result to `taken`. */
export function uniqueId(id: string, taken: Set<string>): string {
  let unique = id;
  for (let number = 2; taken.has(unique); number++) unique = `${id}-${number}`;
  taken.add(unique);
  return unique;
}
