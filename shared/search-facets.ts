export type FacetCount = { value: string; count: number };

/** Counts of events by type, project, publisher and time. The most frequent values are first. */
export type SearchFacets = {
  total: number;
  types: FacetCount[];
  projects: FacetCount[];
  actors: FacetCount[];
  /** By the hour of `recordedAt`, oldest first. `at` is the beginning of the hour. */
  hours: { at: string; count: number }[];
};
