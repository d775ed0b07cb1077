/**
 * Small texts that the routes of producers keep between messages, such as the parent of an OpenLineage run. A `scope`
 * separates the entries of one producer and one tenant from all others. `Log.trim` also deletes the entries that were
 * last written before the instant of the trim.
 */
export interface ProducerState {
  /** Returns the values of the keys that exist. */
  read(scope: string, keys: readonly string[]): Promise<Map<string, string>>;
  /** Writes all entries, or none. The entries MUST be durable once the promise has resolved. */
  write(scope: string, entries: ReadonlyMap<string, string>): Promise<void>;
}
