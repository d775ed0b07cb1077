/** Bounds of the work and of the answer of one call, the same in every store. */

/** A page of an answer ends when its items have this much JSON. */
export const PAGE_BYTES = 1 << 20;
/** A page of a view ends when its rows have this much JSON. */
export const VIEW_BYTES = 256 << 10;
/** Maximum number of runs or approvals that one call of `list` looks at: about 0.1 s of work. */
export const MAX_LISTED = 10_000;
/** Maximum number of runs of a period that one call of `activity` counts: about 0.1 s of work. */
export const MAX_COUNTED = 20_000;
/** Maximum count of open runs, by project. */
export const MAX_OPEN = 10_000;
