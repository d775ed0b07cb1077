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

/** The id, or `fallback` where the guard would refuse the id. */
export const idOrFallback = (id: string, fallback: string): string =>
  isRefused(createPhiGuard(runwireEvents), id) ? fallback : id;
