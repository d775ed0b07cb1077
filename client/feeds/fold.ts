import { type EventTable, foldOf, runwireTable } from '../../shared/event-table.ts';

/** Returns the fold of a scope's events. Its table may lack the folds of the twelve types; see `runwireCategories`. */
export const foldFor = (events: EventTable): ReturnType<typeof foldOf<EventTable>> =>
  foldOf<EventTable>({ ...events, ...runwireTable });
