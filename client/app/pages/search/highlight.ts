/** Finds the words of a search in a text, as the server does: without case and diacritics, and the last word as a beginning. */

export type Part = { text: string; isHit: boolean };

/** Letters of scripts without spaces between words: a hit may be inside of a sentence. */
const UNSPACED = /[\p{sc=Han}\p{scx=Hira}\p{scx=Kana}\p{sc=Thai}\p{sc=Laoo}\p{sc=Khmr}\p{sc=Mymr}]/u;
const WORD = '[\\p{L}\\p{M}\\p{N}]';

/** Returns a function that divides a text into hits and the rest. */
export function highlighter(search: string): (text: string) => Part[] {
  const found = [...search.matchAll(/"([^"]*)"?|([^\s"]+)/g)];
  const phrases = found.flatMap(([, quoted, bare], index) => {
    const words = fold(quoted ?? bare ?? '').text.match(new RegExp(`${WORD}+`, 'gu')) ?? [];
    return words.length === 0 ? [] : [{ words, isPrefix: quoted === undefined && index === found.length - 1 }];
  });
  if (phrases.length === 0) return (text) => [{ text, isHit: false }];
  const patterns = phrases.map(({ words, isPrefix }) => {
    const [first = '', last = ''] = [words[0], words.at(-1)];
    const start = UNSPACED.test(first) ? '' : `(?<!${WORD})`;
    const end = UNSPACED.test(last) ? '' : isPrefix ? `${WORD}*` : `(?!${WORD})`;
    return start + words.join(`(?:(?!${WORD})[^])+`) + end;
  });
  const pattern = new RegExp(patterns.join('|'), 'gu');
  return (text) => {
    const folded = fold(text);
    const parts: Part[] = [];
    let at = 0;
    for (const { index, 0: hit } of folded.text.matchAll(pattern)) {
      const [from, to] = [folded.at[index] ?? 0, folded.at[index + hit.length] ?? text.length];
      if (hit === '' || from < at) continue;
      if (from > at) parts.push({ text: text.slice(at, from), isHit: false });
      parts.push({ text: text.slice(from, to), isHit: true });
      at = to;
    }
    if (at < text.length) parts.push({ text: text.slice(at), isHit: false });
    return parts;
  };
}

/** Removes case and diacritics. `at`: the index in the original text of each index in the folded one. */
function fold(text: string): { text: string; at: number[] } {
  let folded = '';
  const at: number[] = [];
  let index = 0;
  for (const letter of text) {
    const plain = letter
      .normalize('NFKD')
      .toLowerCase()
      .replace(/[\u0300-\u036f]/g, '');
    for (let each = 0; each < plain.length; each++) at.push(index);
    folded += plain;
    index += letter.length;
  }
  at.push(index);
  return { text: folded, at };
}

const MAX_CONTEXT_CHARS = 40;

/** The envelope of an event, which the row shows elsewhere. */
const SHOWN = new Set(['type', 'projectId', 'timestamp', 'recordedAt', 'seq', 'runSeq']);

/**
 * Returns the text of an event with its first hit, as `name: …text…`, for an event without a hit in its sentence.
 */
export function otherHit(event: object, parts: (text: string) => Part[]): string | undefined {
  let found: string | undefined;
  const visit = (value: unknown, name: string) => {
    if (found !== undefined) return;
    if (typeof value === 'string') {
      const divided = parts(value);
      const hit = divided.findIndex(({ isHit }) => isHit);
      if (hit === -1) return;
      const before = divided.slice(0, hit).reduce((chars, { text }) => chars + text.length, 0);
      const from = Math.max(0, before - MAX_CONTEXT_CHARS);
      found = `${name}: ${from > 0 ? '…' : ''}${value.slice(from)}`;
    } else if (typeof value === 'object' && value !== null) {
      for (const [key, inner] of Object.entries(value)) visit(inner, Array.isArray(value) ? name : key);
    }
  };
  for (const [name, value] of Object.entries(event)) if (!SHOWN.has(name)) visit(value, name);
  return found;
}
