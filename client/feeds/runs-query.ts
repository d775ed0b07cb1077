import type { RunFilter } from '../../shared/run-filter.ts';

export type RunsQuery = RunFilter & {
  /** Only runs with an approval that the user may decide and has not decided. */
  needsMyDecision?: boolean | undefined;
  /** Runs per page, at most 500; default 50. */
  limit?: number | undefined;
};

/** The server's default, sent so that the client knows whether a page is full. */
const DEFAULT_LIMIT = 50;

/** Returns the input of `run.list`. It is also the part of the query key that names the list. */
export const runsInputOf = ({ status, text, limit = DEFAULT_LIMIT, ...rest }: RunsQuery) => ({
  ...rest,
  text: text || undefined,
  status: status && [...status],
  limit,
});
