import { LOWER_CASE } from '../../../shared/search-text.ts';
import { eachTerm, type TermSink } from './terms.ts';

/**
 * A block is the unit of the search index. It covers up to {@link BLOCK_EVENTS} events of one project. It maps each term (a
 * word, or the value of a field) to the events that have the term. An event's place is its index in the block.
 *
 * A block grows in memory ({@link Block}). A full block is stored as chunks of text, sorted by term ({@link StoredBlock}),
 * so that the lookup of a word or a prefix reads one or two chunks. If more than half of the events have a term, the places
 * of the events without it are stored.
 */

export const BLOCK_EVENTS = 1_024;
/** A block with this many terms is full: storing a larger one would hold the event loop too long. */
const MAX_TERMS = 4_096;
const CHUNK_CHARS = 1_900;

/** Condition on an event: it has one of these terms; with `isPrefix`, a term that begins with one of these texts. */
export type Wanted = { terms: readonly string[]; isPrefix: boolean };

/** From this length on, V8 makes a part of a text without copying it: the part keeps the whole text in memory. */
const UNCOPIED_CHARS = 13;

/** A place is stored as two digits in base 32. */
const DIGITS = 32;
const DIGIT_BITS = 5;
const digitCodes = Uint8Array.from({ length: DIGITS }, (_, digit) => digit.toString(DIGITS).charCodeAt(0));
const digitsOf = Array.from({ length: BLOCK_EVENTS }, (_, place) => place.toString(DIGITS).padStart(2, '0'));

/** Number of terms that a block finds without a text, by their hashes. */
const RECENT_TERMS = 512;
/** The hashes of a block take 8 KiB. A block of fewer events has none: many projects may have a few events each. */
const MIN_RECENT_EVENTS = 8;

export type Chunk = { first: string; lines: string };

export class Block implements BlockTerms {
  readonly projectId: string;
  readonly seqs: number[];
  readonly #places: Map<string, number[]>;
  #recent: RecentTerms | undefined;

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
    return this.seqs.length >= BLOCK_EVENTS || this.#places.size >= MAX_TERMS;
  }

  /** Adds an event, by its JSON. Its `seq` must be greater than the `seq` of each event in the block. */
  add(seq: number, json: string): void {
    const place = this.seqs.push(seq) - 1;
    if (place >= MIN_RECENT_EVENTS) this.#recent ??= new RecentTerms(this.seqs, this.#places);
    eachTerm(json, this.#recent ?? { addKnown: () => false, add: (term) => put(this.#places, term, place) });
  }

  /** Removes all terms of some events. The events keep their places, because the terms of other events refer to places. */
  drop(isGone: (seq: number) => boolean): void {
    this.#recent = undefined;
    const gone = new Set(this.seqs.flatMap((seq, place) => (isGone(seq) ? [place] : [])));
    for (const [term, places] of this.#places) {
      const kept = places.filter((place) => !gone.has(place));
      if (kept.length === 0) this.#places.delete(term);
      else if (kept.length < places.length) this.#places.set(term, kept);
    }
  }

  /** Replaces the terms of events. */
  replace(termsOf: ReadonlyMap<number, ReadonlySet<string>>): void {
    this.drop((seq) => termsOf.has(seq));
    for (const [place, seq] of this.seqs.entries()) {
      for (const term of termsOf.get(seq) ?? []) put(this.#places, term, place);
    }
  }

  /** Calls `found` with the places of each term that satisfies the condition. */
  find({ terms, isPrefix }: Wanted, found: (places: readonly number[]) => void): void {
    if (isPrefix) {
      for (const [term, places] of this.#places) if (terms.some((wanted) => term.startsWith(wanted))) found(places);
      return;
    }
    for (const term of terms) found(this.#places.get(term) ?? []);
  }

  /** Returns the block as chunks of lines, sorted by term. Each chunk has its first term beside its lines. */
  encode(): Chunk[] {
    const chunks: Chunk[] = [];
    let chunk: Chunk | undefined;
    const digits = Buffer.allocUnsafe(2 * this.seqs.length);
    // `sort` compares UTF-16 code units, like `<=` in `StoredBlock`.
    for (const term of [...this.#places.keys()].sort()) {
      const line = `${term}\t${encodePlaces(this.#places.get(term) as number[], this.seqs.length, digits)}\n`;
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

/** Adds a place to a term, and returns the places of the term. */
function put(placesOf: Map<string, number[]>, term: string, place: number): number[] {
  const places = placesOf.get(term);
  if (!places) {
    const first = [place];
    placesOf.set(copyOf(term), first);
    return first;
  }
  if (places[places.length - 1] !== place) places.push(place);
  return places;
}

/** Adds the last event's terms to a block. Most of them were there before, and are found by the hashes of their texts. */
class RecentTerms implements TermSink {
  readonly #seqs: readonly number[];
  readonly #placesOf: Map<string, number[]>;
  readonly #terms: string[] = new Array(RECENT_TERMS).fill('');
  readonly #places: (number[] | undefined)[] = new Array(RECENT_TERMS).fill(undefined);

  constructor(seqs: readonly number[], placesOf: Map<string, number[]>) {
    this.#seqs = seqs;
    this.#placesOf = placesOf;
  }

  addKnown(json: string, start: number, end: number, hash: number, prefix: string): boolean {
    const slot = slotOf(hash);
    const places = this.#places[slot];
    if (places === undefined || !isTerm(this.#terms[slot] as string, json, start, end, prefix)) return false;
    const place = this.#seqs.length - 1;
    if (places[places.length - 1] !== place) places.push(place);
    return true;
  }

  add(term: string, hash: number | undefined): void {
    const places = put(this.#placesOf, term, this.#seqs.length - 1);
    if (hash === undefined) return;
    const slot = slotOf(hash);
    this.#terms[slot] = copyOf(term);
    this.#places[slot] = places;
  }
}

const slotOf = (hash: number): number => (hash ^ (hash >>> 15)) & (RECENT_TERMS - 1);

/** Whether a term is a prefix with a part of a JSON text. Without a prefix, the case of the text is ignored. */
function isTerm(term: string, json: string, start: number, end: number, prefix: string): boolean {
  const offset = prefix.length;
  if (term.length !== offset + end - start || !term.startsWith(prefix)) return false;
  const caseBit = offset === 0 ? LOWER_CASE : 0;
  for (let at = start; at < end; at++) {
    if ((json.charCodeAt(at) | caseBit) !== term.charCodeAt(offset + at - start)) return false;
  }
  return true;
}

/** Returns the range of the chunks, by the first term of each one, that can have a term (`isPrefix`: that begins with it). */
export function chunksWith(firsts: readonly string[], term: string, isPrefix: boolean): { from: number; to: number } {
  let low = 0;
  let high = firsts.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((firsts[middle] as string) <= term) low = middle + 1;
    else high = middle;
  }
  const from = Math.max(0, low - 1);
  let to = Math.min(from + 1, firsts.length);
  while (isPrefix && firsts[to]?.startsWith(term)) to++;
  return { from, to };
}

/** A stored block. A lookup reads only the chunks that it needs ({@link chunksWith}). */
export class StoredBlock implements BlockTerms {
  readonly seqs: readonly number[];
  readonly #firsts: readonly string[];
  readonly #chunk: (index: number) => string;

  constructor(seqs: readonly number[], firsts: readonly string[], chunk: (index: number) => string) {
    this.seqs = seqs;
    this.#firsts = firsts;
    this.#chunk = chunk;
  }

  find({ terms, isPrefix }: Wanted, found: (places: readonly number[]) => void): void {
    for (const term of terms) {
      const sought = isPrefix ? `\n${term}` : `\n${term}\t`;
      const { from, to } = chunksWith(this.#firsts, term, isPrefix);
      for (let index = from; index < to; index++) {
        const lines = this.#chunk(index);
        let at = lines.indexOf(sought);
        while (at !== -1) {
          const tab = lines.indexOf('\t', at);
          const end = lines.indexOf('\n', tab);
          found(decodePlaces(lines, tab + 1, end, this.seqs.length));
          at = isPrefix ? lines.indexOf(sought, end) : -1;
        }
      }
    }
  }
}

/** The terms of a block, as a search needs them. `find` calls `found` with places of events, as {@link Block.find}. */
export type BlockTerms = {
  readonly seqs: readonly number[];
  find(wanted: Wanted, found: (places: readonly number[]) => void): void;
};

/** Returns the positions of the events that satisfy all conditions, in order, and the number of lookups done. */
export function intersect(block: BlockTerms, wanted: readonly Wanted[]): { seqs: number[]; lookups: number } {
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

/** Returns a term that does not keep the JSON of its event in memory. */
function copyOf(term: string): string {
  if (term.length < UNCOPIED_CHARS) return term;
  const joined = `\n${term}`;
  joined.charCodeAt(0); // Makes V8 copy the characters of both parts.
  return joined.slice(1);
}

function encodePlaces(places: readonly number[], count: number, digits: Buffer): string {
  if (places.length === 1 && count > 1) return digitsOf[places[0] as number] as string;
  if (places.length * 2 <= count) return encodeDigits(places, digits);
  const lacking: number[] = [];
  const having = new Uint8Array(count);
  for (const place of places) having[place] = 1;
  for (let place = 0; place < count; place++) if (having[place] === 0) lacking.push(place);
  return `-${encodeDigits(lacking, digits)}`;
}

/** One call of Buffer costs less than a text that grows by two characters for each place. */
function encodeDigits(places: readonly number[], digits: Buffer): string {
  let length = 0;
  for (const place of places) {
    digits[length++] = digitCodes[place >> DIGIT_BITS] as number;
    digits[length++] = digitCodes[place & (DIGITS - 1)] as number;
  }
  return digits.toString('latin1', 0, length);
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
