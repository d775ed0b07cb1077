import { RunwireError } from '../../shared/errors.ts';
import type { Finding } from './scanner/tokens.ts';

/** Identifiers from the options of the guard. */

/** `#` in a shape matches a digit, `@` a letter, and any other character itself, in upper or lower case. */
export type PhiPattern = { kind: string; shape: string };

const SHAPE_LIMIT = 64;

/** Throws `INVALID_INPUT` for a pattern without a kind in lower case, or with an invalid shape. */
export function checkPatterns(patterns: readonly PhiPattern[]): void {
  for (const { kind, shape } of patterns) {
    if (/[#@]/.test(shape) && shape.length <= SHAPE_LIMIT && /^[a-z][a-z0-9-]{0,31}$/.test(kind)) continue;
    throw new RunwireError(
      'INVALID_INPUT',
      'a pattern must have a kind in lower case, and a shape with # or @ of at most 64 characters',
      { path: 'phi.patterns' },
    );
  }
}

/** Finds the matches of a shape that have no letter or digit directly before or after them. */
export function findShape(text: string, { kind, shape }: PhiPattern): Finding[] {
  const found: Finding[] = [];
  for (let start = 0; start + shape.length <= text.length; start++) {
    if (start > 0 && isWord(text.charCodeAt(start - 1))) continue;
    let length = 0;
    while (length < shape.length && matches(shape.charCodeAt(length), text.charCodeAt(start + length))) length++;
    const end = start + length;
    if (length < shape.length || (end < text.length && isWord(text.charCodeAt(end)))) continue;
    found.push({ start, end, kind, rule: 'pattern', isSoft: false });
    start = end - 1;
  }
  return found;
}

const isDigit = (code: number): boolean => code >= 48 && code <= 57;
const isLetter = (code: number): boolean => (code | 32) >= 97 && (code | 32) <= 122;
const isWord = (code: number): boolean => isDigit(code) || isLetter(code) || code >= 128;
function matches(shape: number, code: number): boolean {
  if (shape === 35) return isDigit(code);
  if (shape === 64) return isLetter(code);
  return shape === code || (isLetter(shape) && (shape | 32) === (code | 32));
}
