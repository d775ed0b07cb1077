import {
  eachAsciiWord,
  isAscii,
  isInstant,
  isUnspacedLetter,
  isUuid,
  UUID_PREFIX,
  wordsOf,
} from '../../../shared/search-text.ts';

/**
 * The terms of an event in the search index: the words of its texts (`shared/search-text.ts`), and its type, run and actor.
 *
 * They are read from the event's JSON text, and not from the event as an object: the text is what the store has, an object in
 * memory may share parts with others that change, and parsing would cost more than the words.
 */

/** Number of the rules for terms. Increase it when the words of a text or their terms change: stored blocks are renewed. */
export const TERMS_VERSION = 3;
/**
 * Longer words are cut, so two long words may have the same term. A search checks each event itself, so it returns no false
 * match.
 */
const MAX_TERM_CHARS = 64;

/** First character of a term for the value of a field. No word contains it. */
const FIELD = '\u0001';
/** First character of a term for a UUID. No word contains it. */
const UUID = '\u0002';

type Field = 'actor' | 'run' | 'type';
const prefixOf = { actor: `${FIELD}actor `, run: `${FIELD}run `, type: `${FIELD}type ` } as const;
export const fieldTerm = (field: Field, value: string): string => prefixOf[field] + value;

/** A longer word of an ASCII text has another term, or occurs once, as UUIDs do. */
const MAX_COMMON_CHARS = 32;
const INSTANT_LENGTH = 24;

function wordTerm(word: string): string {
  if (isUuid(word)) return UUID + word;
  return word.length > MAX_TERM_CHARS ? word.slice(0, MAX_TERM_CHARS).replace(/[\ud800-\udbff]$/, '') : word;
}

/**
 * Returns the term of a word of a text. The term of an unspaced letter has two letters, because single letters would be in
 * almost every event. So it begins with its letter, and has the letter alone at the end of a run of letters.
 */
export function termAt(words: readonly string[], index: number): string {
  const [word, next] = [words[index] as string, words[index + 1]];
  return next !== undefined && isUnspacedLetter(word) && isUnspacedLetter(next) ? word + next : wordTerm(word);
}

/**
 * Returns the texts that a matching term begins with. A prefix of at least 8 characters also matches UUIDs, which have
 * terms of their own.
 */
export const prefixTerms = (word: string): string[] =>
  word.length < UUID_PREFIX ? [wordTerm(word)] : [wordTerm(word), UUID + word];

const QUOTE = 0x22;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** The terms of events, as {@link eachTerm} finds them. */
export interface TermSink {
  /**
   * Adds the term that has a prefix and ends with a part of the JSON, if the sink knows it. Returns false otherwise. So the
   * common terms need no text of their own. Without a prefix, the part is a word, and its case is ignored.
   */
  addKnown(json: string, start: number, end: number, hash: number, prefix: string): boolean;
  /** Adds a term. `hash`: of the term that {@link addKnown} has not known. */
  add(term: string, hash: number | undefined): void;
}

/**
 * Gives the sink each term of an event, some more than once. `json`: the event as `canonicalJson` has made it, without
 * spaces. Names of fields and labels, and instants, have no terms.
 */
export function eachTerm(json: string, sink: TermSink): void {
  const isPlain = isAscii(json);
  const addWord = (start: number, end: number, hash: number) => {
    const isCommon = end - start <= MAX_COMMON_CHARS;
    if (isCommon && sink.addKnown(json, start, end, hash, '')) return;
    sink.add(wordTerm(json.slice(start, end).toLowerCase()), isCommon ? hash : undefined);
  };
  let depth = 0;
  let field: Field | undefined;
  let escapeAt = json.indexOf('\\');
  for (let at = 0; at < json.length; at++) {
    const code = json.charCodeAt(at);
    if (code === OPEN_BRACE) depth++;
    else if (code === CLOSE_BRACE) depth--;
    if (code !== QUOTE) continue;
    const start = at + 1;
    at = endOfString(json, start);
    if (json.charCodeAt(at + 1) === COLON) {
      field = depth === 1 ? fieldOf(json, start, at) : undefined;
      continue;
    }
    if (escapeAt !== -1 && escapeAt < start) escapeAt = json.indexOf('\\', start);
    if (!isPlain || (escapeAt !== -1 && escapeAt < at)) {
      const text = unescaped(json.slice(start, at));
      if (field) sink.add(fieldTerm(field, text), undefined);
      if (!isInstant(text)) addWords(text, sink);
    } else {
      if (field) addField(json, start, at, field, sink);
      if (at - start !== INSTANT_LENGTH || !isInstant(json.slice(start, at))) eachAsciiWord(json, start, at, addWord);
    }
    field = undefined;
  }
}

function addWords(text: string, sink: TermSink): void {
  const words = wordsOf(text);
  for (let index = 0; index < words.length; index++) sink.add(termAt(words, index), undefined);
}

function addField(json: string, start: number, end: number, field: Field, sink: TermSink): void {
  let hash = field.length;
  for (let at = start; at < end; at++) hash = (Math.imul(hash, 31) + json.charCodeAt(at)) | 0;
  if (!sink.addKnown(json, start, end, hash, prefixOf[field])) sink.add(fieldTerm(field, json.slice(start, end)), hash);
}

/** The place of the quote that ends a string. */
function endOfString(json: string, start: number): number {
  for (let end = json.indexOf('"', start); end !== -1; end = json.indexOf('"', end + 1)) {
    let before = end;
    while (json.charCodeAt(before - 1) === BACKSLASH) before--;
    if ((end - before) % 2 === 0) return end;
  }
  return json.length;
}

/** Returns a damaged text as it is: an error would keep all later events out of the index. */
function unescaped(raw: string): string {
  try {
    return JSON.parse(`"${raw}"`) as string;
  } catch {
    return raw;
  }
}

/** The name of the field that has a term of its own for its value. */
function fieldOf(json: string, start: number, end: number): Field | undefined {
  if (end - start === 4) return json.startsWith('type', start) ? 'type' : undefined;
  if (end - start !== 5) return undefined;
  if (json.startsWith('actor', start)) return 'actor';
  return json.startsWith('runId', start) ? 'run' : undefined;
}

/** Returns the terms of an event. */
export function termsOf(json: string): Set<string> {
  const terms = new Set<string>();
  eachTerm(json, { addKnown: () => false, add: (term) => void terms.add(term) });
  return terms;
}
