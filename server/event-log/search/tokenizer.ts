/**
 * What a search finds, whatever the store: which texts of an event are looked at, what a word is, and what a query asks
 * for. Case, diacritics and compatibility forms do not count. Between words stands all that is no letter, mark, number
 * or pictograph; of Chinese and Japanese, which write no blanks, each character is a word. A UUID is one word.
 */

/** Words of a query that have to stand side by side: what was quoted, or what punctuation joins, as `run-17` does. */
export type Phrase = {
  words: readonly string[];
  /** Whether the last word may go on. */
  isPrefix: boolean;
};

const ASCII = /^[\0-\x7f]*$/;
/** Of a UUID, to be found by its beginning. */
export const UUID_PREFIX = 8;
const UUID = '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?![0-9a-z])';
const ASCII_WORD = new RegExp(`${UUID}|[a-z0-9]+`, 'g');
const ALONE = '[\\p{sc=Han}\\p{sc=Hira}\\p{sc=Kana}\\p{Extended_Pictographic}]';
const ANY_WORD = new RegExp(`${UUID}|(?![0-9])${ALONE}|(?:(?!(?![0-9])${ALONE})[\\p{L}\\p{M}\\p{N}])+`, 'gu');
const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/;

/** The words of a text, in order. */
export function wordsOf(text: string): readonly string[] {
  if (ASCII.test(text)) return text.toLowerCase().match(ASCII_WORD) ?? [];
  const folded = text
    .normalize('NFKD')
    .toLowerCase()
    .normalize('NFKD')
    .replace(/[\u0300-\u036f]/g, '');
  return folded.match(ANY_WORD) ?? [];
}

export const isUuid = (word: string): boolean => word.length === 36 && word[UUID_PREFIX] === '-';

/** Every string in an event, however deep, but instants. Names of fields and labels are not looked at. */
export function eachText(value: unknown, found: (text: string) => void): void {
  if (typeof value === 'string') {
    if (!INSTANT.test(value)) found(value);
  } else if (typeof value === 'object' && value !== null) {
    for (const key in value) eachText((value as Record<string, unknown>)[key], found);
  }
}

/**
 * Reads a query; any text is one. Words apart from each other must all be there, in any order; those between double
 * quotes side by side. The last one may be the beginning of a word, unless it is quoted. Empty where there is no word
 * in it.
 */
export function parseText(text: string): Phrase[] {
  const phrases: Phrase[] = [];
  for (const [, quoted, bare] of text.matchAll(/"([^"]*)"?|([^\s"]+)/g)) {
    const words = wordsOf(quoted ?? bare ?? '');
    if (words.length > 0) phrases.push({ words, isPrefix: quoted === undefined });
  }
  return phrases.map((phrase, index) => ({ ...phrase, isPrefix: phrase.isPrefix && index === phrases.length - 1 }));
}

/** Whether all phrases are in an event, each in one of its texts. */
export function holdsAll(event: object, phrases: readonly Phrase[]): boolean {
  let missing = phrases;
  eachText(event, (text) => {
    if (missing.length === 0) return;
    const words = wordsOf(text);
    missing = missing.filter((phrase) => !holds(words, phrase));
  });
  return missing.length === 0;
}

function holds(words: readonly string[], { words: wanted, isPrefix }: Phrase): boolean {
  const last = wanted.length - 1;
  return words.some((_, at) =>
    wanted.every((word, offset) => {
      const found = words[at + offset];
      if (!isPrefix || offset !== last || found === undefined) return found === word;
      return found.startsWith(word) && (word.length >= UUID_PREFIX || !isUuid(found));
    }),
  );
}
