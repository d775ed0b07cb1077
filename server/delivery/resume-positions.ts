import { type History, hasPosition, type Position } from '../event-log/cursor.ts';

const MAX_POSITIONS = 1_024;

/**
 * The positions at which clients have resumed, with the hash prefixes of their rows (D19). Clients that come back together
 * have few different cursors, so most of them begin without a read of the log. A row keeps its prefix as long as the log
 * keeps its epoch.
 */
export class ResumePositions {
  readonly #log: History;
  readonly #prefixes = new Map<number, string>();
  /** Comparisons in progress, by position, prefix and epoch. Clients that come back at once share them. */
  readonly #comparing = new Map<string, Promise<boolean>>();
  #epoch = '';
  /** A lower head is that of another copy of the log. */
  #head = 0;

  constructor(log: History) {
    this.#log = log;
  }

  /** Whether the log has a position, as {@link hasPosition}. */
  has(position: Position): boolean | Promise<boolean> {
    const { epoch, head } = this.#log;
    if (epoch !== this.#epoch || head < this.#head) this.#prefixes.clear();
    this.#epoch = epoch;
    this.#head = head;
    const { seq, hashPrefix } = position;
    // Another prefix is compared by the log: a trimmed row is not compared at all.
    if (hashPrefix !== undefined && this.#prefixes.get(seq) === hashPrefix) return true;
    const key = `${seq} ${hashPrefix} ${epoch}`;
    const comparing = this.#comparing.get(key);
    if (comparing) return comparing;
    const found = hasPosition(this.#log, position);
    if (!(found instanceof Promise)) return found;
    const compared = found
      .then((isKnown) => {
        if (isKnown && hashPrefix !== undefined && seq >= this.#log.oldest && this.#log.epoch === epoch) {
          if (this.#prefixes.size >= MAX_POSITIONS) this.#prefixes.clear();
          this.#prefixes.set(seq, hashPrefix);
        }
        return isKnown;
      })
      .finally(() => this.#comparing.delete(key));
    this.#comparing.set(key, compared);
    return compared;
  }
}
