import type { Projects } from './search.ts';

/** A user as the rules of decisions (`decidable.ts`) see one. It is data, so that a store can narrow what it reads. */
export type Decider = {
  sub: string;
  /** The roles with which the user may decide. */
  roles: readonly string[];
  projects: Projects;
  /** The only run on which the user may decide, in its only project. Undefined: all runs of `projects`. */
  runId?: string | undefined;
  /** The moment for which `expiresAt` is checked; Unix ms. */
  nowMs: number;
};
