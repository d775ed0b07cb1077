/**
 * A fast check of single characters, before a text is cut into tokens. Every finding contains certain characters, such as
 * digits. Most texts contain none of them, and need no tokens.
 */

/** Flag of a character that may belong to a number, an address, or a keyword with its value. */
const ALWAYS = 1;
/** Flag of a character that may belong to a medical record. */
export const CONTAINER = 2;
/** Flag of an escape, or a non-ASCII character: the text must be normalized. */
export const ENCODED = 4;
/** The next character decides about the flag: `Mr` and `Dr`; `(0010,`, `"00100020"` and `<Patient`; escapes. */
const PAIR = 8;

/** Flags by ASCII character; {@link flagAt} resolves `PAIR`. */
export const charFlags = new Uint8Array(128);
for (const [characters, sign] of [
  ['0123456789@=:', ALWAYS],
  ['|*', CONTAINER],
  ['MD(<"T%&\\', PAIR],
] as const) {
  for (const character of characters) charFlags[character.charCodeAt(0)] = sign;
}

/** The flag of the character at index `i`. */
export function flagAt(text: string, i: number, code: number): number {
  const sign = code < 128 ? (charFlags[code] as number) : ENCODED;
  if (sign !== PAIR) return sign;
  const next = text.charCodeAt(i + 1);
  if (code === 77 || code === 68) return (next | 32) === 114 || (next | 32) === 115 ? ALWAYS : 0;
  // The `T` of `resourceType`, a key in FHIR records.
  if (code === 84) return i > 0 && text.charCodeAt(i - 1) === 101 ? CONTAINER : 0;
  if (code === 40 || code === 60 || code === 34) return next === 48 || (next | 32) === 112 ? CONTAINER : 0;
  return isEscape(code, next) ? ENCODED : 0;
}

/**
 * Whether a character and the next one begin an escape: `%2D`, `&#45;`, `&ndash;`, `\u002d`, `\n`. Most query strings
 * and Windows paths contain none.
 */
function isEscape(code: number, next: number): boolean {
  if (code === 37) return (next >= 48 && next <= 57) || ((next | 32) >= 97 && (next | 32) <= 102);
  if (code === 38) return next === 35 || ((next | 32) >= 97 && (next | 32) <= 122);
  return next === 92 || next === 110 || next === 114 || next === 116 || next === 117 || next === 120;
}

/** Whether a text has a character that a finding needs. */
export function mayContainFinding(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 128 && charFlags[code] === 0) continue;
    if (flagAt(text, i, code) !== 0) return true;
  }
  return false;
}

export const mayNeedNormalizing = (text: string): boolean => /[%&\\\u0080-\uffff]/.test(text);
