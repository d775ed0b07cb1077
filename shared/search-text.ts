/**
 * Defines which words a search finds, for every store: which texts of an event are searched, what a word is, and how a
 * query is parsed. Case, diacritics and compatibility forms are ignored. Any character that is not a letter, mark, number
 * or pictograph separates words. Chinese, Japanese, Thai, Lao, Khmer and Burmese have no spaces between words, so each of their
 * characters is a word, and a text is found wherever its characters are adjacent. A UUID is one word.
 */

/** Words of a query that must be adjacent: a quoted text, or words joined by punctuation like `run-17`. */
export type Phrase = {
  words: readonly string[];
  /** Whether the last word matches as a prefix. */
  isPrefix: boolean;
};

const ASCII = /^[\0-\x7f]*$/;
/** Minimum length of a query word that matches a UUID as its prefix. */
export const UUID_PREFIX = 8;
const UUID_LENGTH = 36;
const UUID = '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?![0-9a-z])';
const UUID_AT = new RegExp(UUID, 'iy');
const LETTER = '[\\p{L}\\p{M}\\p{N}]';
const UNSPACED = '[\\p{sc=Thai}\\p{sc=Laoo}\\p{sc=Khmr}\\p{sc=Mymr}]';
// `scx` includes the marks of kana and the long vowel `ー`, which would otherwise join a following Latin word.
const IDEOGRAPH = '[\\p{sc=Han}\\p{scx=Hira}\\p{scx=Kana}]';
const ALONE = `(?![0-9])(?:(?=${LETTER})(?:${IDEOGRAPH}|${UNSPACED})|\\p{Extended_Pictographic})`;
const ANY_WORD = new RegExp(`${UUID}|${ALONE}|(?:(?!${ALONE})${LETTER})+`, 'gu');
const UNSPACED_LETTER = new RegExp(`^${UNSPACED}$`, 'u');
/** An instant as the log stores it. Longer text that begins with a time, such as a line of a log, is searched. */
const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const INSTANT_LENGTH = 24;

/** Returns the words of a text, in order. */
export function wordsOf(text: string): readonly string[] {
  if (isAscii(text)) {
    const words: string[] = [];
    eachAsciiWord(text, 0, text.length, (start, end) => words.push(text.slice(start, end).toLowerCase()));
    return words;
  }
  const folded = text
    .normalize('NFKD')
    .toLowerCase()
    .normalize('NFKD')
    .replace(/[\u0300-\u036f]/g, '');
  return folded.match(ANY_WORD) ?? [];
}

const isOfWord = new Uint8Array(128);
for (let code = 0; code < 128; code++) isOfWord[code] = Number(/[0-9a-zA-Z]/.test(String.fromCharCode(code)));

/** Sets this bit of an ASCII letter or digit to make it lower case. */
export const LOWER_CASE = 0x20;

/**
 * Calls `found` with the place of each word of an ASCII text, and with a hash of the word that ignores case. A loop over the
 * characters costs half as much as a regular expression.
 */
export function eachAsciiWord(
  text: string,
  from: number,
  to: number,
  found: (start: number, end: number, hash: number) => void,
): void {
  let start = -1;
  let hash = 0;
  for (let at = from; at <= to; at++) {
    const code = at < to ? text.charCodeAt(at) : 0;
    if (isOfWord[code] === 1) {
      if (start === -1) {
        start = at;
        hash = 0;
      }
      hash = (Math.imul(hash, 31) + (code | LOWER_CASE)) | 0;
      continue;
    }
    if (start === -1) continue;
    let end = at;
    if (at - start === UUID_PREFIX && text[at] === '-') {
      UUID_AT.lastIndex = start;
      if (UUID_AT.test(text)) end = start + UUID_LENGTH;
    }
    found(start, end, hash);
    start = -1;
    at = end;
  }
}

/** Whether a word is a letter of an alphabet without spaces between words. So few letters are in almost every text. */
export const isUnspacedLetter = (word: string): boolean => word.charCodeAt(0) > 0x7f && UNSPACED_LETTER.test(word);

/** An ASCII text has the same words in every release. */
export const isAscii = (text: string): boolean => ASCII.test(text);

export const isUuid = (word: string): boolean => word.length === UUID_LENGTH && word[UUID_PREFIX] === '-';

/** Whether a text is an instant as the log stores it. Its words are not searched. */
export const isInstant = (text: string): boolean => text.length === INSTANT_LENGTH && INSTANT.test(text);

/**
 * Calls `found` with each string value of an event, at any depth, except timestamps. Names of fields and labels are not
 * searched.
 */
export function eachText(value: unknown, found: (text: string) => void): void {
  if (typeof value === 'string') {
    if (!isInstant(value)) found(value);
  } else if (typeof value === 'object' && value !== null) {
    for (const key in value) eachText((value as Record<string, unknown>)[key], found);
  }
}

/**
 * Parses a query; any text is valid. All words must match, in any order; words in double quotes must be adjacent. The last
 * word matches as a prefix unless it is quoted. Returns an empty list for a text without a word.
 */
export function parseText(text: string): Phrase[] {
  const phrases: Phrase[] = [];
  for (const [, quoted, bare] of text.matchAll(/"([^"]*)"?|([^\s"]+)/g)) {
    const words = wordsOf(quoted ?? bare ?? '');
    if (words.length > 0) phrases.push({ words, isPrefix: quoted === undefined });
  }
  return phrases.map((phrase, index) => ({ ...phrase, isPrefix: phrase.isPrefix && index === phrases.length - 1 }));
}

/** Whether an event contains all phrases, each in one of its texts. */
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
