/**
 * Normalizes a text before it is scanned, so that an identifier is found even if a form, a browser or a JSON logger
 * encoded it:
 *
 * - Escapes of URLs, HTML and JSON are decoded; nested ones (`%252D`, `&amp;#45;`, `\\\\u002d`) in the same pass.
 * - Digits of other scripts, dashes, blanks and accented letters become ASCII; invisible characters are removed.
 * - The position of each character in the original text is kept, so that findings can be redacted there.
 *
 * Letters of other scripts that look like Latin ones stay as they are: they do not occur by accident, and a user who
 * wants to hide an identifier has other ways.
 */

const DROPPED = 0xffff;
const BLANK = 32;
const PERCENT = 37;
const PLUS = 43;
const AMPERSAND = 38;
const SEMICOLON = 59;
const BACKSLASH = 92;
/** Maximum characters of an HTML entity after `&`, such as `commat;`. Entities of letters are not decoded. */
const NAME_LIMIT = 8;
// A map: an object would also have `valueOf`.
const ENTITIES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    quot: '"',
    apos: "'",
    lt: '<',
    gt: '>',
    nbsp: ' ',
    ndash: '-',
    mdash: '-',
    hyphen: '-',
    dash: '-',
    minus: '-',
    commat: '@',
    period: '.',
    colon: ':',
    equals: '=',
    num: '#',
    lpar: '(',
    rpar: ')',
    plus: '+',
    sol: '/',
    shy: '',
  }),
);

export class NormalizedText {
  #codes = new Uint16Array(256);
  #from = new Int32Array(256);
  #to = new Int32Array(256);
  #length = 0;
  /** Table of the ASCII equivalents of non-ASCII characters. An entry is computed when its character first occurs. */
  #folds: Uint16Array | undefined;
  /** The character of the last decoded escape. */
  #code = 0;

  /** Returns the normalized text, or the same string if nothing changes. */
  normalize(text: string): string {
    this.#length = 0;
    let isSame = true;
    for (let i = 0; i < text.length; ) {
      const code = text.charCodeAt(i);
      let end = i + 1;
      let made = code;
      if (code === BACKSLASH) {
        let last = i;
        while (text.charCodeAt(last + 1) === BACKSLASH) last++;
        end = this.#backslash(text, last);
        if (end === 0) {
          // Copies the whole run of backslashes: otherwise each one would scan the rest of the run again.
          for (let at = i; at <= last; at++) this.#put(BACKSLASH, at, at + 1);
          i = last + 1;
          continue;
        }
        made = this.#code;
      } else if (code === PERCENT || code === AMPERSAND) {
        end = code === PERCENT ? this.#percent(text, i) : this.#entity(text, i);
        made = end === 0 ? code : this.#code;
        end ||= i + 1;
      } else if (code === PLUS && i > 2 && text.charCodeAt(i - 3) === PERCENT && this.#to[this.#length - 1] === i) {
        // In form encoding (`%3A+17`) a plus is a blank.
        if (this.#from[this.#length - 1] !== i - 1) made = BLANK;
      }
      if (made >= 128) {
        const low = end === i + 1 && made >= 0xd800 && made < 0xdc00 ? text.charCodeAt(end) : Number.NaN;
        if (low >= 0xdc00 && low < 0xe000) {
          end++;
          made = foldPair(text.slice(i, end));
          if (made === 0) {
            this.#put(code, i, i + 1);
            this.#put(low, i + 1, end);
            i = end;
            continue;
          }
        } else made = this.#fold(made);
      }
      if (made !== code || end !== i + 1) isSame = false;
      if (made !== DROPPED) this.#put(made, i, end);
      i = end;
    }
    return isSame ? text : this.#text();
  }

  /** Converts a range of the last normalized text to the range in the original text. */
  originalRange(start: number, end: number): { start: number; end: number } {
    return { start: this.#from[start] as number, end: this.#to[end - 1] as number };
  }

  #put(code: number, from: number, to: number): void {
    if (this.#length === this.#codes.length) {
      const grown = <T extends Uint16Array | Int32Array>(table: T, larger: T): T => {
        larger.set(table);
        return larger;
      };
      const size = 2 * this.#length;
      this.#codes = grown(this.#codes, new Uint16Array(size));
      this.#from = grown(this.#from, new Int32Array(size));
      this.#to = grown(this.#to, new Int32Array(size));
    }
    this.#codes[this.#length] = code;
    this.#from[this.#length] = from;
    this.#to[this.#length++] = to;
  }

  #text(): string {
    let text = '';
    for (let at = 0; at < this.#length; at += 4_096) {
      text += String.fromCharCode(...this.#codes.subarray(at, Math.min(at + 4_096, this.#length)));
    }
    return text;
  }

  /** Decodes `\n`, `\u002d`, `\x2d`. Returns the end of the escape; 0 if there is none. */
  #backslash(text: string, at: number): number {
    const letter = text.charCodeAt(at + 1);
    const width = letter === 117 ? 4 : letter === 120 ? 2 : 0; // u, x
    if (width === 0) {
      if (letter !== 110 && letter !== 114 && letter !== 116) return 0; // n, r, t
      this.#code = BLANK;
      return at + 2;
    }
    this.#code = hexAt(text, at + 2, width);
    return this.#code < 0 ? 0 : at + 2 + width;
  }

  /** Decodes `%2D`, `%252D`, `%E2%80%91`. Returns the end of the escape; 0 if there is none. */
  #percent(text: string, at: number): number {
    let end = this.#byte(text, at);
    const first = this.#code;
    if (end === 0 || first < 128) return end;
    const more = first >= 0xe0 ? (first < 0xf0 ? 2 : 0) : first >= 0xc2 ? 1 : 0;
    if (more === 0) return 0;
    let code = first & (more === 1 ? 0x1f : 0x0f);
    for (let n = 0; n < more; n++) {
      end = this.#byte(text, end);
      if (end === 0 || (this.#code & 0xc0) !== 0x80) return 0;
      code = (code << 6) | (this.#code & 0x3f);
    }
    this.#code = code;
    return end;
  }

  #byte(text: string, at: number): number {
    if (text.charCodeAt(at) !== PERCENT) return 0;
    let digits = at + 1;
    while (text.charCodeAt(digits) === 50 && text.charCodeAt(digits + 1) === 53 && hexAt(text, digits + 2, 2) >= 0) {
      digits += 2;
    }
    this.#code = hexAt(text, digits, 2);
    return this.#code < 0 ? 0 : digits + 2;
  }

  /** Decodes `&#45;`, `&#x2d;`, `&ndash;`, `&amp;#45;`. Returns the end of the entity; 0 if there is none. */
  #entity(text: string, at: number): number {
    let start = at + 1;
    while (text.startsWith('amp;', start)) start += 4;
    if (text.charCodeAt(start) === 35) {
      const isHex = (text.charCodeAt(start + 1) | 32) === 120;
      const digits = start + (isHex ? 2 : 1);
      let end = digits;
      let code = 0;
      for (; end < digits + NAME_LIMIT; end++) {
        const digit = digitOf(text.charCodeAt(end), isHex ? 16 : 10);
        if (digit < 0) break;
        code = code * (isHex ? 16 : 10) + digit;
      }
      if (end === digits || text.charCodeAt(end) !== SEMICOLON || code > 0xffff) return 0;
      this.#code = code;
      return end + 1;
    }
    const end = text.slice(start, start + NAME_LIMIT).indexOf(';');
    const made = end < 0 ? undefined : ENTITIES.get(text.slice(start, start + end));
    if (made === undefined) return 0;
    this.#code = made === '' ? 0xad : made.charCodeAt(0);
    return start + end + 1;
  }

  #fold(code: number): number {
    this.#folds ??= new Uint16Array(0x10000);
    const known = this.#folds[code] as number;
    if (known !== 0) return known;
    const made = foldOf(code);
    this.#folds[code] = made;
    return made;
  }
}

/** The ASCII equivalent of a non-ASCII character; the character itself if it has none; `DROPPED` if it is invisible. */
function foldOf(code: number): number {
  // Chinese, Korean and private-use characters have no ASCII equivalents.
  if ((code >= 0x3400 && code < 0xa000) || (code >= 0xac00 && code < 0xd800) || (code >= 0xe000 && code < 0xf900))
    return code;
  const text = String.fromCharCode(code);
  if (/[\p{Default_Ignorable_Code_Point}\p{M}]/u.test(text)) return DROPPED;
  if (/\p{Nd}/u.test(text)) {
    // In each script, the digits follow a zero with a code point that ends with 0 or 6 in hexadecimal.
    const zero = code & ~15;
    return 48 + (code - (/\p{Nd}/u.test(String.fromCharCode(zero)) && (code & 15) < 10 ? zero : zero + 6));
  }
  if (/[\p{Pd}\u2212]/u.test(text)) return 45;
  if (/\p{Z}/u.test(text)) return BLANK;
  const plain = text.normalize('NFKD').replace(/\p{M}/gu, '');
  return plain.length === 1 ? plain.charCodeAt(0) : code;
}

/** The ASCII equivalent of a surrogate pair, such as a mathematical digit; 0 if it has none. */
function foldPair(pair: string): number {
  if (/\p{Default_Ignorable_Code_Point}/u.test(pair)) return DROPPED;
  const plain = pair.normalize('NFKC');
  return plain.length === 1 ? plain.charCodeAt(0) : 0;
}

function digitOf(code: number, base: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  const letter = (code | 32) - 87;
  return base === 16 && letter >= 10 && letter < 16 ? letter : -1;
}

/** The value of `width` hexadecimal digits; -1 if there are fewer. */
function hexAt(text: string, at: number, width: number): number {
  let value = 0;
  for (let i = at; i < at + width; i++) {
    const digit = digitOf(text.charCodeAt(i), 16);
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

/** Shortest base64 run that is decoded. */
export const MIN_BASE64 = 16;
const sextets = new Int8Array(128).fill(-1);
for (const [index, sign] of [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'].entries()) {
  sextets[sign.charCodeAt(0)] = index;
}
sextets[45] = 62;
sextets[95] = 63;

/** Decodes base64 to text, with `x` for each non-ASCII byte. Undefined if the bytes are not text. */
export function textOfBase64(text: string, start: number, end: number): string | undefined {
  const codes: number[] = [];
  let wide = 0;
  let bits = 0;
  for (let i = start; i < end; i++) {
    const code = text.charCodeAt(i);
    const sextet = code < 128 ? (sextets[code] as number) : -1;
    if (sextet < 0) return undefined;
    bits = ((bits << 6) | sextet) & 0xffffff;
    const place = (i - start) & 3;
    if (place === 0) continue;
    const byte = (bits >> (6 - 2 * place)) & 0xff;
    if (byte >= 128) wide++;
    else if (byte === 127 || (byte < 32 && byte !== 9 && byte !== 10 && byte !== 13)) return undefined;
    // Too many bytes are not ASCII: in binary data, half of them are not.
    if (wide > 1 + codes.length / 8) return undefined;
    codes.push(byte >= 128 ? 120 : byte);
  }
  let made = '';
  for (let at = 0; at < codes.length; at += 4_096) made += String.fromCharCode(...codes.slice(at, at + 4_096));
  return made;
}
