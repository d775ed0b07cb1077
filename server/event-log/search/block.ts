import { isUuid, UUID_PREFIX } from './tokenizer.ts';

/**
 * The unit of the search index: the words of up to {@link BLOCK_EVENTS} events of one project, and in which of them
 * each is. It grows in memory, and is kept as text in sorted chunks, so that looking up a word or a beginning reads one
 * or two of them. An event goes by its place in the block. Of a word that most events have, those that lack it are
 * kept.
 */

export const BLOCK_EVENTS = 1_024;
/** Beyond this many different words a block takes no further event: closing one must not hold the loop. */
const BLOCK_TERMS = 4_096;
const CHUNK_CHARS = 1_900;
/** Longer words are kept by their beginning; who searches looks at the event itself anyway. */
const TERM_CHARS = 64;

/** One of these must be in an event. A prefix stands for all that begin with it. */
export type Wanted = { terms: readonly string[]; isPrefix: boolean };

/** Marks of what no word of a text begins with: what stands for a whole field, and a UUID. */
const FIELD = '\u0001';
const UUID = '\u0002';
export const fieldTerm = (field: 'actor' | 'run' | 'type', value: string): string => `${FIELD}${field} ${value}`;
export function wordTerm(word: string): string {
  if (isUuid(word)) return UUID + word;
  return word.length > TERM_CHARS ? word.slice(0, TERM_CHARS).replace(/[\ud800-\udbff]$/, '') : word;
}

/** Where the words that begin so are. */
export const prefixTerms = (word: string): string[] =>
  word.length < UUID_PREFIX ? [wordTerm(word)] : [wordTerm(word), UUID + word];

/** Places as two digits each. */
const DIGITS = 32;
const digitsOf = Array.from({ length: BLOCK_EVENTS }, (_, place) => place.toString(DIGITS).padStart(2, '0'));

export class Block {
  readonly projectId: string;
  readonly seqs: number[];
  readonly #places: Map<string, number[]>;

  constructor(projectId: string, seqs: number[] = [], places = new Map<string, number[]>()) {
    this.projectId = projectId;
    this.seqs = seqs;
    this.#places = places;
  }

  get firstSeq(): number {
    return this.seqs[0] ?? 0;
  }
  get lastSeq(): number {
    return this.seqs.at(-1) ?? 0;
  }
  get isFull(): boolean {
    return this.seqs.length >= BLOCK_EVENTS || this.#places.size >= BLOCK_TERMS;
  }

  /** Takes an event in; `seq` is greater than all before. */
  add(seq: number, terms: ReadonlySet<string>): void {
    const place = this.seqs.push(seq) - 1;
    this.#put(place, terms);
  }

  /** Forgets the words of events. */
  drop(isGone: (seq: number) => boolean): void {
    const gone = new Set(this.seqs.flatMap((seq, place) => (isGone(seq) ? [place] : [])));
    for (const [term, places] of this.#places) {
      const kept = places.filter((place) => !gone.has(place));
      if (kept.length === 0) this.#places.delete(term);
      else if (kept.length < places.length) this.#places.set(term, kept);
    }
  }

  /** Gives an event of the block other words. */
  replace(seq: number, terms: ReadonlySet<string>): void {
    const place = this.seqs.indexOf(seq);
    if (place === -1) return;
    this.drop((other) => other === seq);
    this.#put(place, terms);
  }

  #put(place: number, terms: ReadonlySet<string>): void {
    for (const term of terms) {
      const places = this.#places.get(term);
      if (places) places.push(place);
      else this.#places.set(term, [place]);
    }
  }

  /** Calls back with the places of each term that is wanted. */
  find({ terms, isPrefix }: Wanted, found: (places: readonly number[]) => void): void {
    if (isPrefix) {
      for (const [term, places] of this.#places) if (terms.some((wanted) => term.startsWith(wanted))) found(places);
      return;
    }
    for (const term of terms) found(this.#places.get(term) ?? []);
  }

  /** Sorted chunks, each with the first term in it. */
  encode(): { first: string; lines: string }[] {
    const chunks: { first: string; lines: string }[] = [];
    let chunk: { first: string; lines: string } | undefined;
    // By UTF-16 units, as `<` compares in `KeptBlock`.
    for (const term of [...this.#places.keys()].sort()) {
      const line = `${term}\t${encodePlaces(this.#places.get(term) as number[], this.seqs.length)}\n`;
      if (!chunk || chunk.lines.length + line.length > CHUNK_CHARS) {
        chunk = { first: term, lines: '\n' };
        chunks.push(chunk);
      }
      chunk.lines += line;
    }
    return chunks;
  }

  static decode(projectId: string, seqs: number[], chunks: readonly string[]): Block {
    const places = new Map<string, number[]>();
    for (const lines of chunks) {
      for (const line of lines.slice(1, -1).split('\n')) {
        const at = line.indexOf('\t');
        places.set(line.slice(0, at), decodePlaces(line, at + 1, line.length, seqs.length));
      }
    }
    return new Block(projectId, seqs, places);
  }
}

/** A block as it is kept; reads the chunks that it is asked about. */
export class KeptBlock {
  readonly seqs: readonly number[];
  readonly #firsts: readonly string[];
  readonly #chunk: (index: number) => string;

  constructor(seqs: readonly number[], firsts: readonly string[], chunk: (index: number) => string) {
    this.seqs = seqs;
    this.#firsts = firsts;
    this.#chunk = chunk;
  }

  find({ terms, isPrefix }: Wanted, found: (places: readonly number[]) => void): void {
    if (this.#firsts.length === 0) return;
    for (const term of terms) {
      let index = Math.max(0, this.#after(term) - 1);
      const sought = isPrefix ? `\n${term}` : `\n${term}\t`;
      do {
        const lines = this.#chunk(index);
        let at = lines.indexOf(sought);
        while (at !== -1) {
          const tab = lines.indexOf('\t', at);
          const end = lines.indexOf('\n', tab);
          found(decodePlaces(lines, tab + 1, end, this.seqs.length));
          at = isPrefix ? lines.indexOf(sought, end) : -1;
        }
        index++;
      } while (isPrefix && this.#firsts[index]?.startsWith(term));
    }
  }

  /** How many chunks begin at or before a term. */
  #after(term: string): number {
    let low = 0;
    let high = this.#firsts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#firsts[middle] as string) <= term) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** The events that have one of each that is wanted, in order, and how many of these were looked up to know. */
export function intersect(block: Block | KeptBlock, wanted: readonly Wanted[]): { seqs: number[]; lookups: number } {
  const had = new Uint16Array(block.seqs.length);
  for (const [index, each] of wanted.entries()) {
    let count = 0;
    block.find(each, (places) => {
      for (const place of places) {
        if (had[place] !== index) continue;
        had[place] = index + 1;
        count++;
      }
    });
    if (count === 0) return { seqs: [], lookups: index + 1 };
  }
  return { seqs: block.seqs.filter((_, place) => had[place] === wanted.length), lookups: wanted.length };
}

function encodePlaces(places: readonly number[], count: number): string {
  if (places.length * 2 <= count) return digits(places);
  const having = new Set(places);
  return `-${digits(Array.from({ length: count }, (_, place) => place).filter((place) => !having.has(place)))}`;
}

function digits(places: readonly number[]): string {
  let text = '';
  for (const place of places) text += digitsOf[place];
  return text;
}

function decodePlaces(text: string, from: number, to: number, count: number): number[] {
  const isLacking = text[from] === '-';
  const places: number[] = [];
  for (let at = isLacking ? from + 1 : from; at < to; at += 2) {
    places.push(digitAt(text, at) * DIGITS + digitAt(text, at + 1));
  }
  if (!isLacking) return places;
  const lacking = new Set(places);
  return Array.from({ length: count }, (_, place) => place).filter((place) => !lacking.has(place));
}

function digitAt(text: string, at: number): number {
  const code = text.charCodeAt(at);
  return code < 0x3a ? code - 0x30 : code - 0x57;
}
