/** Names of stages in a narrow column: the prefix that most have in common is left out, and long names are cut in the middle. */

const SHARE = 0.8;
const MIN_NAMES = 5;
const MIN_LENGTH = 4;
const SEPARATOR = /[./·:_\-\s]+/g;

/** Returns the prefix, ending at a separator, that at least 80 % of the names have, and that is the whole of none of them. */
export function commonPrefix(names: readonly string[]): string {
  if (names.length < MIN_NAMES) return '';
  let prefix = '';
  for (;;) {
    const counts = new Map<string, number>();
    for (const name of names) {
      if (!name.startsWith(prefix)) continue;
      SEPARATOR.lastIndex = prefix.length;
      const match = SEPARATOR.exec(name);
      if (!match || SEPARATOR.lastIndex >= name.length) continue;
      const next = name.slice(0, SEPARATOR.lastIndex);
      counts.set(next, (counts.get(next) ?? 0) + 1);
    }
    let best = '';
    let most = 0;
    for (const [next, count] of counts) if (count > most) [best, most] = [next, count];
    if (most < names.length * SHARE) break;
    prefix = best;
  }
  return prefix.length >= MIN_LENGTH ? prefix : '';
}

/** What the names of a list have in common. Names seldom change, so all is computed once. */
export class NameList {
  #names: string[] = [];
  #prefix = '';
  #differences: Map<string, number> | undefined;

  /** The common prefix of the rows. */
  prefixOf(rows: readonly { name: string }[]): string {
    const isSame = rows.length === this.#names.length && rows.every(({ name }, index) => name === this.#names[index]);
    if (isSame) return this.#prefix;
    this.#names = rows.map(({ name }) => name);
    this.#prefix = commonPrefix(this.#names);
    this.#differences = undefined;
    return this.#prefix;
  }

  /** The first letter that tells a name from all others. */
  differsAt(name: string): number {
    this.#differences ??= differencesOf(this.#names);
    return this.#differences.get(name) ?? 0;
  }
}

/** In sorted order, the names most like a name are beside it. */
function differencesOf(names: readonly string[]): Map<string, number> {
  const sorted = [...new Set(names)].sort();
  const shared = sorted.map((name, index) => sharedStart(name, sorted[index + 1]));
  return new Map(sorted.map((name, index) => [name, Math.max(shared[index] ?? 0, shared[index - 1] ?? 0)]));
}

/** Number of letters that two names have in common at their start. */
function sharedStart(a: string, b: string | undefined): number {
  let length = 0;
  while (b !== undefined && length < a.length && a[length] === b[length]) length++;
  return length;
}

/**
 * Cuts a name to `limit` letters in the middle: `warehouse.…_line_v37`. The letter at `atUnit` (UTF-16 units), which tells the name from
 * others, stays.
 */
export function cutMiddle(name: string, limit: number, atUnit = name.length - 1): string {
  const letters = [...name];
  if (letters.length <= limit) return name;
  const at = [...name.slice(0, atUnit)].length;
  const room = Math.max(4, limit - 1);
  const head = Math.ceil(room * 0.4);
  const tail = room - head;
  if (at < head || at >= letters.length - tail) {
    return `${letters.slice(0, head).join('')}…${letters.slice(letters.length - tail).join('')}`;
  }
  // Both the beginning and the end would hide the difference.
  const short = Math.max(2, Math.floor((room - 1) / 4));
  const rest = room - 1 - short;
  const from = Math.max(short, Math.min(at - Math.min(4, rest - 1), letters.length - rest));
  return `${letters.slice(0, short).join('')}…${letters.slice(from, from + rest).join('')}…`;
}
