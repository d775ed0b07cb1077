import { createPhiGuard } from '../phi/guard.ts';
import { isRefused } from '../phi/policy.ts';

/** What an id is made of: `Build all!` becomes `build-all`. */
export const slugOf = (name: string): string =>
  name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')
    .slice(0, 60);
/** An id made of what somebody called a thing, or another where the server would refuse it for what it says. */
export const idOrFallback = (id: string, instead: string): string => (isRefused(createPhiGuard(), id) ? instead : id);
