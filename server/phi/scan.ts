import { isCard, isIban, isMbi, isVin } from './checksums.ts';
import { about, hashNext, hashStart, role, wordAt, wordBits, wordRole } from './words.ts';

/**
 * Finds structured identifiers in text: one pass cuts it into tokens (words, numbers), and then each token that holds a
 * digit is held against a table of shapes, each keyword against what follows it. Every look around a token is bounded by
 * a constant, so the time is linear in the text whatever it says; `steps` counts the looks, and a test holds them to it.
 * Regular expressions lost: they either backtrack, or one pass per pattern costs more than all of this.
 *
 * Names, places and bare numbers in free text are beyond it.
 */

export type PhiKind =
  | 'ssn'
  | 'phone'
  | 'fax'
  | 'email'
  | 'mrn'
  | 'plan'
  | 'account'
  | 'licence'
  | 'vehicle'
  | 'device'
  | 'date'
  | 'ip'
  | 'name'
  | 'address'
  | 'zip'
  | 'container';

/** What of a text must not be said. Offsets are in UTF-16 code units. */
export type Finding = {
  start: number;
  end: number;
  /** A {@link PhiKind}, or that of an own pattern. */
  kind: string;
  /** What gave it away: its shape, its checksum, a keyword beside it, its key. */
  rule: 'shape' | 'checksum' | 'keyword' | 'key' | 'pattern';
  /** Of a sort that operational text holds rightly: masked, whatever the policy. */
  isSoft: boolean;
};

const SEPARATOR = 0;
const DIGIT = 1;
const LOWER = 2;
const UPPER = 3;
const classes = new Uint8Array(128);
for (let code = 48; code < 58; code++) classes[code] = DIGIT;
for (let code = 65; code < 91; code++) classes[code] = UPPER;
for (let code = 97; code < 123; code++) classes[code] = LOWER;
/** Dashes and blanks of typesetters separate as `-` and ` ` do; all else beyond ASCII counts as letters. */
const wideClass = (code: number): number =>
  code === 0xa0 || (code >= 0x2000 && code <= 0x206f) || code === 0x2212 || code === 0x3000 || code === 0xfeff
    ? SEPARATOR
    : LOWER;
/** A separator, with its typographical variants made one. */
const plain = (code: number): number => {
  if (code < 0x80) return code;
  if ((code >= 0x2010 && code <= 0x2015) || code === 0x2212) return DASH;
  return code === 0xa0 || (code >= 0x2000 && code <= 0x200a) || code === 0x202f || code === 0x3000 ? BLANK : code;
};

const BLANK = 32;
const HASH = 35;
const DASH = 45;
const DOT = 46;
const SLASH = 47;
const COLON = 58;
const EQUALS = 61;
const UNDERSCORE = 95;

const PHRASE_LIMIT = 10;
const VALUE_LIMIT = 10;
const VALUE_LIMIT_LENGTH = 40;
const GAP_LIMIT = 6;
const LOCAL_LIMIT = 64;
const DOMAIN_LIMIT = 128;
const hasAny = (bits: number, mask: number): boolean => (bits & mask) !== 0;
const a = about;

/** Not thread-safe, but nothing here waits: one serves a guard. Its tables grow to the longest text seen. */
export class Scanner {
  /** Looks at characters and tokens that the last scan took. */
  steps = 0;
  #text = '';
  #count = 0;
  #starts = new Int32Array(256);
  #ends = new Int32Array(256);
  /** Digits in each token. */
  #digits = new Int32Array(256);
  #bits = new Int32Array(256);
  #roles = new Uint8Array(256);
  #ats: number[] = [];
  #found: Finding[] = [];
  /** What the key of the text is about, if it has one. */
  #context = 0;

  /** Findings in order, none over another. */
  scan(text: string, context = 0): Finding[] {
    this.steps = 0;
    const needs = this.#needs(text);
    if (needs === 0) return nothing;
    if ((needs & CONTAINER) !== 0 && isContainer(text)) {
      return [{ start: 0, end: text.length, kind: 'container', rule: 'shape', isSoft: false }];
    }
    this.#text = text;
    this.#context = context;
    this.#found = [];
    this.#tokenise();
    for (const at of this.#ats) this.#email(at);
    let phraseEnd = 0;
    for (let i = 0; i < this.#count; i++) {
      const digits = this.#digits[i] as number;
      if (digits > 0) this.#number(i, digits);
      else if (this.#length(i) === 2) this.#hex(i);
      const bits = this.#bits[i] as number;
      const kind = this.#roles[i] as number;
      if (i >= phraseEnd && (bits !== 0 || kind === role.person)) phraseEnd = this.#phrase(i);
      else if (kind === role.title) this.#title(i);
      else if (kind === role.month || kind === role.shortMonth) this.#monthFirst(i);
    }
    return merge(this.#found);
  }

  /**
   * The words of a key, as the union of what the known ones at its end are about; 0 when the last is not known, as in
   * `memberCount`.
   */
  wordsOf(key: string): number {
    this.#text = key;
    this.#tokenise();
    let bits = 0;
    for (let i = this.#count - 1; i >= 0; i--) {
      const own = this.#bits[i] as number;
      const kind = this.#roles[i] as number;
      const isNumber = this.#digits[i] === this.#length(i);
      if (own === 0 && kind !== role.filler && kind !== role.person && !(isNumber && this.#length(i) < 3)) {
        if (kind === role.technical) return 0;
        break;
      }
      if (kind === role.person) bits |= PERSON;
      bits |= own;
    }
    // `admissionDate`, whose words by themselves say too little.
    let hash = hashStart;
    for (let i = 0; i < key.length; i++) {
      const code = key.charCodeAt(i);
      if (code < 128 && (classes[code] as number) >= LOWER) hash = hashNext(hash, code);
    }
    return bits | (wordBits[wordAt(hash)] as number);
  }

  /** Whether anything can be found at all, in one cheap look: most texts end here. */
  #needs(text: string): number {
    let digits = 0;
    let other = 0;
    let previous = 0;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code >= 48 && code <= 57) digits++;
      else if (code === 64 || code === EQUALS || code === COLON) other |= 1;
      else if (
        code === 124 ||
        code === 42 ||
        (code === 84 && previous === 101) ||
        (code === 40 && i + 1 < text.length && text.charCodeAt(i + 1) === 48)
      ) {
        other |= CONTAINER; // `|`, `*`, resourceType, `(0`
      } else if ((code | 32) === 114 || (code | 32) === 115) {
        if (previous === 77 || previous === 68) other |= 1; // Mr, Mrs, Ms, Dr.
      }
      previous = code;
    }
    this.steps += text.length;
    return (digits > 1 ? 1 : 0) | other;
  }

  #tokenise(): void {
    const text = this.#text;
    this.#ats = [];
    this.#count = 0;
    let start = -1;
    let digits = 0;
    let hash = hashStart;
    let lead = 0;
    let previous = SEPARATOR;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      const kind = code < 128 ? (classes[code] as number) : wideClass(code);
      if (kind === SEPARATOR) {
        if (start >= 0) {
          this.#push(start, i, digits, hash, lead);
          start = -1;
        }
        if (code === 64) this.#ats.push(i);
      } else {
        // camelCase is two words.
        if (start >= 0 && kind === UPPER && previous === LOWER) {
          this.#push(start, i, digits, hash, lead);
          start = -1;
        }
        if (start < 0) {
          start = i;
          digits = 0;
          hash = hashStart;
          lead = 0;
        }
        if (kind === DIGIT) digits++;
        else if (digits === 0) {
          hash = hashNext(hash, code);
          lead++;
        }
      }
      previous = kind;
    }
    if (start >= 0) this.#push(start, text.length, digits, hash, lead);
    this.steps += text.length;
  }

  #push(start: number, end: number, digits: number, hash: number, lead: number): void {
    const at = this.#count++;
    if (at >= this.#starts.length) this.#grow();
    this.#starts[at] = start;
    this.#ends[at] = end;
    this.#digits[at] = digits;
    // A number, or letters and digits at random; `mrn123` is a keyword with its value.
    if (lead === 0 || lead + digits !== end - start) {
      this.#bits[at] = 0;
      this.#roles[at] = role.none;
      return;
    }
    const slot = wordAt(hash);
    this.#bits[at] = wordBits[slot] as number;
    this.#roles[at] = wordRole[slot] as number;
  }

  #grow(): void {
    const size = this.#starts.length * 2;
    const grown = (table: Int32Array) => {
      const larger = new Int32Array(size);
      larger.set(table);
      return larger;
    };
    this.#starts = grown(this.#starts);
    this.#ends = grown(this.#ends);
    this.#digits = grown(this.#digits);
    this.#bits = grown(this.#bits);
    const roles = new Uint8Array(size);
    roles.set(this.#roles);
    this.#roles = roles;
  }

  #length(i: number): number {
    return (this.#ends[i] as number) - (this.#starts[i] as number);
  }

  /** Whether a token is a number of so many digits. */
  #isNumber(i: number, length: number): boolean {
    return i >= 0 && i < this.#count && this.#digits[i] === length && this.#length(i) === length;
  }

  #value(i: number): number {
    let value = 0;
    for (let at = this.#starts[i] as number; at < (this.#ends[i] as number); at++) {
      value = value * 10 + this.#text.charCodeAt(at) - 48;
    }
    return value;
  }

  /** The one separator between a token and the next; 0 when there is none, or more than one. */
  #gap(i: number): number {
    if (i < 0 || i + 1 >= this.#count) return 0;
    const end = this.#ends[i] as number;
    return (this.#starts[i + 1] as number) - end === 1 ? plain(this.#text.charCodeAt(end)) : 0;
  }

  /** Whether a number goes on before or after: `1.2.840`, `10-119-131-60`. */
  #goesOn(first: number, last: number, separator: number): boolean {
    if (this.#gap(first - 1) === separator && (this.#digits[first - 1] as number) > 0) return true;
    return this.#gap(last) === separator && (this.#digits[last + 1] as number) > 0;
  }

  #code(at: number): number {
    return at >= 0 && at < this.#text.length ? this.#text.charCodeAt(at) : BLANK;
  }

  /** What the words about a token are about. */
  #near(i: number, back: number, forward: number): number {
    let bits = this.#context;
    const last = Math.min(i + forward, this.#count - 1);
    for (let at = Math.max(i - back, 0); at <= last; at++) bits |= this.#bits[at] as number;
    this.steps += back + forward;
    return bits;
  }

  #add(first: number, last: number, kind: PhiKind, rule: Finding['rule'], isSoft = false): void {
    this.#found.push({
      start: this.#starts[first] as number,
      end: this.#ends[last] as number,
      kind,
      rule,
      isSoft,
    });
  }

  #digitsOf(first: number, last: number): string {
    return this.#text.slice(this.#starts[first], this.#ends[last]).replace(/\D/g, '');
  }

  /** Holds a token with digits in it against the shapes that begin with it. */
  #number(i: number, digits: number): void {
    this.steps += 8;
    const length = this.#length(i);
    if (digits === length) {
      if (length === 3) this.#ssn(i) || this.#phone(i);
      else if (length === 4) this.#card(i) || this.#year(i);
      else if (length <= 2) this.#dayFirst(i);
      else if (length === 9) this.#bareSsn(i);
      else if (length === 10 || length === 11) this.#barePhone(i);
      else if (length >= 13 && length <= 19) this.#bareCard(i);
      if (length <= 3) {
        if (this.#ip(i)) return;
        if (this.#code((this.#starts[i] as number) - 1) === 43) this.#international(i);
      } else if (length <= 15 && this.#code((this.#starts[i] as number) - 1) === 43) this.#international(i);
    } else {
      if (length === 17 || length === 11) this.#coded(i, length);
      if (length <= 4 && digits <= 2) this.#dayFirst(i);
      this.#spaced(i, length, digits);
      this.#joined(i, digits);
    }
    if (length <= 4) this.#hex(i);
  }

  #ssn(i: number): boolean {
    if (!this.#isNumber(i + 1, 2) || !this.#isNumber(i + 2, 4)) return false;
    const separator = this.#gap(i);
    if (separator !== this.#gap(i + 1)) return false;
    const area = this.#value(i);
    const isPossible = area !== 0 && area !== 666 && this.#value(i + 1) !== 0 && this.#value(i + 2) !== 0;
    const isNamed = hasAny(this.#near(i, 5, 4), a.ssn);
    if (!isPossible && !isNamed) return false;
    if (separator === BLANK) {
      // Numbers in columns look the same.
      const isAlone = !((this.#digits[i - 1] as number) > 0 && this.#gap(i - 1) === BLANK);
      const isLast = !(i + 3 < this.#count && this.#gap(i + 2) === BLANK && (this.#digits[i + 3] as number) > 0);
      if (!isNamed && !(isAlone && isLast)) return false;
    } else if (separator === DOT || separator === DASH) {
      if (this.#goesOn(i, i + 2, separator)) return false;
      if (separator === DOT && this.#roles[i - 1] === role.technical) return false;
    } else return false;
    this.#add(i, i + 2, 'ssn', isNamed ? 'keyword' : 'shape');
    return true;
  }

  #bareSsn(i: number): void {
    if (hasAny(this.#near(i, 3, 0), a.ssn)) this.#add(i, i, 'ssn', 'keyword');
  }

  #phone(i: number): boolean {
    if (!this.#isNumber(i + 1, 3) || !this.#isNumber(i + 2, 4)) return false;
    const start = this.#starts[i] as number;
    const isBracketed = this.#code(start - 1) === 40 && this.#code(this.#ends[i] as number) === 41;
    const between = (this.#starts[i + 1] as number) - (this.#ends[i] as number);
    const last = this.#gap(i + 1);
    if (last !== DASH && last !== DOT && last !== BLANK) return false;
    const first = this.#gap(i);
    if (isBracketed ? between > 3 : first !== DASH && first !== DOT && first !== BLANK && first !== SLASH) return false;
    const near = this.#near(i, 6, 4);
    const isNamed = hasAny(near, a.phone | a.contact | a.fax);
    const begins = (at: number) => (this.#code(this.#starts[at] as number) as number) >= 50;
    const hasPrefix = this.#isNumber(i - 1, 1) && this.#value(i - 1) === 1;
    const isPossible = begins(i) && begins(i + 1);
    const isEvident = isPossible && (isBracketed || (first === last && first !== BLANK) || first === SLASH);
    if (!isNamed && !isEvident) return false;
    // Longer chains of numbers are something else, but for the country's own `1-`.
    if (!isBracketed && first !== BLANK) {
      if (this.#gap(i + 2) === last && (this.#digits[i + 3] as number) > 0 && last !== BLANK) return false;
      if (this.#gap(i - 1) === first && (this.#digits[i - 1] as number) > 0 && !hasPrefix && !isNamed) return false;
    }
    const kind = hasAny(near, a.fax) && !hasAny(near, a.phone | a.contact) ? 'fax' : 'phone';
    this.#add(hasPrefix ? i - 1 : i, i + 2, kind, isNamed ? 'keyword' : 'shape');
    if (isBracketed && !hasPrefix) (this.#found.at(-1) as Finding).start--;
    return true;
  }

  #barePhone(i: number): void {
    const near = this.#near(i, 2, 0);
    if (!hasAny(near, a.phone | a.contact | a.fax)) return;
    this.#add(i, i, hasAny(near, a.fax) ? 'fax' : 'phone', 'keyword');
  }

  /** `+` and 8 to 15 digits in groups. */
  #international(i: number): void {
    const before = this.#code((this.#starts[i] as number) - 2);
    if (before < 128 && classes[before] !== SEPARATOR) return;
    let digits = this.#digits[i] as number;
    let last = i;
    while (last - i < 6 && last + 1 < this.#count) {
      const next = last + 1;
      const width = (this.#starts[next] as number) - (this.#ends[last] as number);
      const separator = plain(this.#code(this.#ends[last] as number));
      if (width > 2 || !(separator === BLANK || separator === DASH || separator === DOT || separator === 40)) break;
      const more = this.#digits[next] as number;
      if (more !== this.#length(next) || digits + more > 15) break;
      digits += more;
      last = next;
    }
    this.steps += last - i;
    if (digits >= 8 && digits <= 15) this.#add(i, last, 'phone', 'shape');
  }

  /** Four groups of four, or American Express's 4-6-5. */
  #card(i: number): boolean {
    const separator = this.#gap(i);
    if (separator !== DASH && separator !== BLANK && separator !== DOT) return false;
    let last = i;
    if (this.#isNumber(i + 1, 6) && (this.#isNumber(i + 2, 5) || this.#isNumber(i + 2, 4))) last = i + 2;
    else if (this.#isNumber(i + 1, 4) && this.#isNumber(i + 2, 4) && this.#isNumber(i + 3, 4)) last = i + 3;
    else return false;
    for (let at = i; at < last; at++) if (this.#gap(at) !== separator) return false;
    if (separator !== BLANK && this.#goesOn(i, last, separator)) return false;
    if (!isCard(this.#digitsOf(i, last))) return false;
    this.#add(i, last, 'account', 'checksum');
    return true;
  }

  #bareCard(i: number): void {
    if (!hasAny(this.#near(i, 4, 0), a.card | a.account)) return;
    if (isCard(this.#digitsOf(i, i))) this.#add(i, i, 'account', 'checksum');
  }

  /** One token that says by itself what it is: a VIN, a Medicare number. */
  #coded(i: number, length: number): void {
    const start = this.#starts[i] as number;
    const before = this.#code(start - 1);
    const after = this.#code(this.#ends[i] as number);
    if (before === DASH || after === DASH || (before < 128 && classes[before] !== SEPARATOR)) return;
    const text = this.#text.slice(start, this.#ends[i]);
    if (length === 17 && isVin(text)) this.#add(i, i, 'vehicle', 'checksum');
    else if (length === 11 && isMbi(text)) this.#add(i, i, 'plan', 'shape');
  }

  /** A Medicare number in groups, an IBAN with or without blanks. */
  #spaced(i: number, length: number, digits: number): void {
    const start = this.#starts[i] as number;
    if (length === 4 && digits >= 2 && this.#length(i + 1) === 3 && this.#length(i + 2) === 4 && i + 2 < this.#count) {
      const separator = this.#gap(i);
      if ((separator === DASH || separator === BLANK) && separator === this.#gap(i + 1)) {
        const text = this.#text.slice(start, this.#ends[i + 2]);
        const isLonger = separator === DASH && (this.#gap(i - 1) === DASH || this.#gap(i + 2) === DASH);
        if (!isLonger && isMbi(text.split(text[4] as string).join(''))) this.#add(i, i + 2, 'plan', 'shape');
      }
    }
    if (length < 4 || length > 34) return;
    const isCountry = classes[this.#code(start)] === UPPER && classes[this.#code(start + 1)] === UPPER;
    if (!isCountry || classes[this.#code(start + 2)] !== DIGIT || classes[this.#code(start + 3)] !== DIGIT) return;
    let text = this.#text.slice(start, this.#ends[i]);
    if (isIban(text)) {
      this.#add(i, i, 'account', 'checksum');
      return;
    }
    if (length !== 4) return;
    const separator = this.#gap(i);
    if (separator !== BLANK && separator !== DASH) return;
    let found = -1;
    for (let last = i + 1; last < this.#count && last < i + 9; last++) {
      if (this.#gap(last - 1) !== separator || this.#length(last) > 4) break;
      text += this.#text.slice(this.#starts[last], this.#ends[last]);
      this.steps++;
      // The longest: one prefix in 97 passes too.
      if (isIban(text)) found = last;
      if (this.#length(last) < 4) break;
    }
    if (found > 0) this.#add(i, found, 'account', 'checksum');
  }

  /** `MRN12345678`: the keyword and its value in one. */
  #joined(i: number, digits: number): void {
    const bits = this.#bits[i] as number;
    if (hasAny(bits, a.mrn) && digits >= 4) this.#add(i, i, 'mrn', 'keyword');
    else if (hasAny(bits, a.ssn) && digits >= 9) this.#add(i, i, 'ssn', 'keyword');
    else if (hasAny(bits, a.birth) && digits >= 6) this.#add(i, i, 'date', 'keyword');
  }

  #isYear(i: number): boolean {
    if (!this.#isNumber(i, 4)) return false;
    const year = this.#value(i);
    return year >= 1_880 && year < 2_100;
  }

  #isDay(i: number, limit = 31): boolean {
    if (!this.#isNumber(i, 1) && !this.#isNumber(i, 2)) return false;
    const day = this.#value(i);
    return day >= 1 && day <= limit;
  }

  /** `15th` */
  #isOrdinal(i: number): boolean {
    const digits = this.#digits[i] as number;
    if (i >= this.#count || this.#length(i) - digits !== 2 || digits < 1 || digits > 2) return false;
    const end = this.#ends[i] as number;
    const last = this.#code(end - 1) | 32;
    const first = this.#code(end - 2) | 32;
    const isEnding =
      (last === 104 && first === 116) || // th
      (last === 116 && first === 115) || // st
      (last === 100 && (first === 110 || first === 114)); // nd, rd
    return isEnding && classes[this.#code(end - 3)] === DIGIT;
  }

  #isMonth(i: number): boolean {
    const kind = this.#roles[i];
    return i >= 0 && i < this.#count && this.#digits[i] === 0 && (kind === role.month || kind === role.shortMonth);
  }

  /** A time of day with its seconds makes a date a timestamp, as logs are full of. */
  #isTimed(last: number): boolean {
    const next = last + 1;
    if (next + 2 >= this.#count || (this.#starts[next] as number) - (this.#ends[last] as number) > 3) return false;
    return this.#isNumber(next, 2) && this.#gap(next) === COLON && this.#isNumber(next + 1, 2);
  }

  #addDate(first: number, last: number, isOrdinary: boolean): void {
    const near = this.#near(first, 6, last - first + 2);
    if (hasAny(near, a.birth) || (hasAny(near, a.stay) && !this.#isTimed(last)))
      this.#add(first, last, 'date', 'keyword');
    else if (isOrdinary && !this.#isTimed(last)) this.#add(first, last, 'date', 'shape', true);
  }

  /** ISO dates are left alone but beside words of birth, admission and death. */
  #year(i: number): void {
    if (!this.#isYear(i)) return;
    const separator = this.#gap(i);
    if (separator !== DASH && separator !== SLASH && separator !== DOT) return;
    if (this.#gap(i + 1) === separator && this.#isDay(i + 1, 12) && this.#length(i + 2) >= 2) {
      if (this.#goesOn(i, i, separator) && this.#gap(i - 1) === separator) return;
      this.#addDate(i, i + 2, false);
    }
  }

  /** Dates that begin with a number: `5/20/2021`, `21.5.2021`, `5-MAY-2021`, `15th of May, 2021`. */
  #dayFirst(i: number): void {
    const isOrdinal = this.#length(i) > 2 && this.#isOrdinal(i);
    if (!isOrdinal && !this.#isDay(i)) return;
    const separator = this.#gap(i);
    if (!isOrdinal && (separator === SLASH || separator === DASH || separator === DOT)) {
      if (this.#gap(i + 1) === separator && this.#numericDate(i, separator)) return;
      // Both ends of `04/12-04/15/2023`.
      if (separator === SLASH && this.#gap(i + 1) === DASH && this.#isDay(i + 1)) {
        if (this.#gap(i + 2) === SLASH && this.#gap(i + 3) === SLASH && this.#isYear(i + 4))
          this.#addDate(i, i + 4, true);
      }
      if (separator === SLASH && !this.#goesOn(i, i + 1, SLASH) && (this.#isYear(i + 1) || this.#isDay(i + 1))) {
        if (hasAny(this.#near(i, 4, 0), a.birth | a.stay)) this.#add(i, i + 1, 'date', 'keyword');
      }
    }
    let month = i + 1;
    if (isOrdinal && month < this.#count && this.#length(month) === 2 && this.#roles[month] === role.filler) month++;
    if (!this.#isMonth(month) || (this.#starts[month] as number) - (this.#ends[i] as number) > 4) return;
    if (this.#isMonth(i - 1)) return;
    if (this.#isYear(month + 1) && (this.#starts[month + 1] as number) - (this.#ends[month] as number) <= 2) {
      this.#addDate(i, month + 1, true);
    } else if (separator === DASH && this.#gap(month) === DASH && this.#isNumber(month + 1, 2)) {
      this.#addDate(i, month + 1, true);
    } else if (isOrdinal) this.#addDate(i, month, true);
  }

  #numericDate(i: number, separator: number): boolean {
    const isPair = (this.#isDay(i, 12) && this.#isDay(i + 1)) || (this.#isDay(i) && this.#isDay(i + 1, 12));
    if (!isPair) return false;
    const hasYear = this.#isYear(i + 2);
    const isShort = this.#isNumber(i + 2, 2);
    if (!hasYear && !isShort) return false;
    if (this.#gap(i - 1) === separator && (separator !== DASH || (this.#digits[i - 1] as number) > 0)) return false;
    if (this.#gap(i + 2) === separator && separator !== DOT) return false;
    if (separator === DOT && this.#goesOn(i, i + 2, DOT)) return false;
    if (separator === SLASH && this.#code((this.#starts[i] as number) - 1) === SLASH) return false;
    this.#addDate(i, i + 2, hasYear || separator === SLASH);
    return true;
  }

  /** Dates that begin with a month: `April 12, 2023`, `Sept 10th`. */
  #monthFirst(i: number): void {
    const code = this.#code(this.#starts[i] as number);
    const isCapital = classes[code] === UPPER;
    const day = i + 1;
    if (day >= this.#count || (this.#starts[day] as number) - (this.#ends[i] as number) > 2) return;
    if (this.#isYear(day)) {
      if (hasAny(this.#near(i, 5, 0), a.birth | a.stay)) this.#add(i, day, 'date', 'keyword');
      return;
    }
    const isOrdinal = this.#isOrdinal(day);
    if (!isOrdinal && !this.#isDay(day)) return;
    const year = day + 1;
    const width = year < this.#count ? (this.#starts[year] as number) - (this.#ends[day] as number) : GAP_LIMIT;
    const isShort = this.#isNumber(year, 2) && this.#code((this.#starts[year] as number) - 1) === 39; // '23
    if ((width <= 2 && this.#isYear(year)) || (width <= 3 && isShort)) {
      this.#addDate(i, year, true);
    } else if (isOrdinal || (isCapital && this.#roles[i] === role.month)) this.#addDate(i, day, true);
    else this.#addDate(i, day, false);
  }

  /** Public IPv4 addresses; private ones, and what may be a version, are left alone. */
  #ip(i: number): boolean {
    for (let at = i; at < i + 4; at++) {
      if (at >= this.#count || this.#digits[at] !== this.#length(at) || this.#length(at) > 3 || this.#value(at) > 255)
        return false;
      if (at < i + 3 && this.#gap(at) !== DOT) return false;
    }
    if (this.#goesOn(i, i + 3, DOT)) return false;
    const before = this.#code((this.#starts[i] as number) - 1);
    if (before === SLASH && this.#code((this.#starts[i] as number) - 2) !== SLASH) return false;
    if ((before < 128 && classes[before] !== SEPARATOR) || before === DASH || before === UNDERSCORE) return false;
    if (this.#roles[i - 1] === role.technical) return false;
    const first = this.#value(i);
    const second = this.#value(i + 1);
    const isPrivate =
      first === 10 ||
      first === 127 ||
      first === 0 ||
      first >= 224 ||
      (first === 192 && second === 168) ||
      (first === 172 && second >= 16 && second < 32) ||
      (first === 169 && second === 254) ||
      (first === 100 && second >= 64 && second < 128);
    if (!isPrivate) this.#add(i, i + 3, 'ip', 'shape', true);
    return true;
  }

  /** What begins with up to four hexadecimal digits: public IPv6 addresses, and MAC addresses that are called so. */
  #hex(i: number): void {
    const start = this.#starts[i] as number;
    const next = this.#code(this.#ends[i] as number);
    if (next !== COLON && (next !== DASH || this.#length(i) !== 2)) return;
    const before = this.#code(start - 1);
    if (before === COLON || (before === DASH && this.#length(i) === 2) || (i > 0 && this.#ends[i - 1] === start))
      return;
    const end = start + 40 < this.#text.length ? start + 40 : this.#text.length;
    let at = start;
    let groups = 0;
    let width = 0;
    let isDouble = false;
    let isPairs = true;
    let separator = 0;
    for (; at < end; at++) {
      const code = this.#text.charCodeAt(at);
      if ((code >= 48 && code <= 57) || ((code | 32) >= 97 && (code | 32) <= 102)) {
        if (++width > 4) return;
      } else if (code === COLON || (code === DASH && (separator === 0 || separator === DASH))) {
        if (separator !== 0 && separator !== code) break;
        separator = code;
        if (width === 0) {
          if (isDouble || code === DASH) return;
          isDouble = true;
        } else {
          groups++;
          if (width !== 2) isPairs = false;
        }
        width = 0;
      } else break;
    }
    this.steps += at - start;
    if (separator === 0) return;
    const after = this.#code(at);
    if (after < 128 && classes[after] !== SEPARATOR) return;
    if (width > 0) {
      groups++;
      if (width !== 2) isPairs = false;
    } else if (!isDouble) at--;
    const isMac = groups === 6 && isPairs && !isDouble && width > 0;
    const isAddress = separator === COLON && (isDouble ? groups >= 2 && groups < 8 : groups === 8);
    if (isMac) {
      if (hasAny(this.#near(i, 6, 0), a.hardware | a.device))
        this.#found.push({ start, end: at, kind: 'device', rule: 'keyword', isSoft: false });
    } else if (isAddress && this.#length(i) === 4 && (this.#code(start) === 50 || this.#code(start) === 51)) {
      this.#found.push({ start, end: at, kind: 'ip', rule: 'shape', isSoft: true });
    }
  }

  /** Grows an address from its `@`. */
  #email(at: number): void {
    const text = this.#text;
    let start = at;
    while (start > 0 && at - start < LOCAL_LIMIT && isLocal(text.charCodeAt(start - 1))) start--;
    while (start < at && (text.charCodeAt(start) === DOT || text.charCodeAt(start) === 39)) start++;
    let end = at + 1;
    let dot = -1;
    const limit = Math.min(text.length, at + DOMAIN_LIMIT);
    while (end < limit) {
      const code = text.charCodeAt(end);
      if (code === DOT) dot = end;
      else if (code !== DASH && (code < 128 ? classes[code] === SEPARATOR : wideClass(code) === SEPARATOR)) break;
      end++;
    }
    this.steps += end - start;
    while (end > at && (text.charCodeAt(end - 1) === DOT || text.charCodeAt(end - 1) === DASH)) end--;
    if (dot >= end) dot = text.lastIndexOf('.', end - 1);
    if (start === at || dot <= at + 1) return;
    const top = text.slice(dot + 1, end).toLowerCase();
    if (top.length < 2 || (!top.startsWith('xn--') && /[\d-]/.test(top)) || FILES.has(top)) return;
    const local = text.slice(start, at);
    if (local === 'git' && text.charCodeAt(end) === COLON) return;
    const isUserinfo = /:\/\/[^\s/]{0,80}$/.test(text.slice(Math.max(0, start - 90), start));
    if (isUserinfo) return;
    let bits = this.#context;
    // The words just before: by their place, since an address is many tokens.
    const first = this.#tokenAt(start);
    for (let i = Math.max(0, first - 4); i < first; i++) bits |= this.#bits[i] as number;
    const isNamed = hasAny(bits, a.email | a.contact | a.patient | a.member);
    this.#found.push({ start, end, kind: 'email', rule: isNamed ? 'keyword' : 'shape', isSoft: !isNamed });
  }

  /** The first token at or after a place. */
  #tokenAt(place: number): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#starts[middle] as number) < place) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** `Mr. Smith`, `Dr John L.` */
  #title(i: number): void {
    const start = this.#starts[i] as number;
    const code = this.#code(start);
    if ((code !== 77 && code !== 68) || classes[this.#code((this.#ends[i] as number) - 1)] !== LOWER) return;
    const width = (this.#starts[i + 1] as number) - (this.#ends[i] as number);
    const isDotted = this.#code(this.#ends[i] as number) === DOT;
    if (i + 1 >= this.#count || width > (isDotted ? 2 : 1) || (!isDotted && this.#gap(i) !== BLANK)) return;
    const last = this.#names(i + 1, 3);
    if (last >= 0 && this.#length(i + 1) > 1) this.#add(i, last, 'name', 'keyword');
  }

  /** The last of up to `limit` capitalised words from a token on; -1 where it is none. */
  #names(i: number, limit: number): number {
    let last = -1;
    for (let at = i; at < this.#count && at < i + limit; at++) {
      this.steps++;
      if (this.#digits[at] !== 0 || classes[this.#code(this.#starts[at] as number)] !== UPPER) break;
      if (this.#roles[at] === role.placeholder || (this.#bits[at] as number) !== 0) break;
      if (at > i) {
        const width = (this.#starts[at] as number) - (this.#ends[at - 1] as number);
        const code = this.#code(this.#ends[at - 1] as number);
        // `Anna S. Smith`, `O'Neil`, `Smith-Jones`, `Smith, Anna`; not the next sentence.
        if (width > 2 || (width === 2 && !(code === DOT && this.#length(at - 1) === 1) && code !== 44)) break;
        if (width === 1 && code !== BLANK && code !== DASH && code !== 39 && code !== 94) break;
      }
      last = at;
    }
    return last;
  }

  /** Reads a phrase of keywords and what follows it; answers the token that it read up to. */
  #phrase(i: number): number {
    // A redaction's own mark.
    if (i > 0 && this.#ends[i - 1] === this.#starts[i] && (this.#digits[i - 1] as number) > 0) return i + 1;
    const isMark = this.#code((this.#starts[i] as number) - 1) === 91 && this.#code(this.#ends[i] as number) === 93;
    if (isMark || this.#roles[i - 1] === role.technical) return i + 1;
    let bits = 0;
    let isAssigned = false;
    let isQuoted = false;
    let at = i;
    for (; ; at++) {
      this.steps++;
      if (at >= this.#count || at - i >= PHRASE_LIMIT) return at;
      const own = this.#bits[at] as number;
      const kind = this.#roles[at] as number;
      if ((this.#digits[at] as number) > 0) break;
      if (own === 0 && kind !== role.filler && kind !== role.person) break;
      if (kind === role.technical) return at + 1;
      if (kind === role.person) bits |= PERSON;
      bits |= own;
      if (at + 1 >= this.#count) return at + 1;
      const end = this.#ends[at] as number;
      const next = this.#starts[at + 1] as number;
      if (next - end > GAP_LIMIT + 2) return at + 1;
      isQuoted = false;
      for (let place = end; place < next; place++) {
        const code = this.#text.charCodeAt(place);
        if (code === HASH) bits |= a.number;
        else if (code === COLON || code === EQUALS) isAssigned = true;
        else if (code === 34 || code === 39) isQuoted = true;
        else if (code === 59 || code === 10 || code === 63 || code === 33) return at + 1;
        else if (code === 44 && !isQuoted) return at + 1;
        else if (code === DOT && this.#length(at) > 4 && next - place > 1) return at + 1;
      }
      this.steps += next - end;
      // "is 12345" assigns as ":" does.
      if (kind === role.filler && next - end === 1 && this.#length(at) === 2 && this.#code(end - 1) === 115)
        isAssigned = true;
    }
    if (hasAny(bits, a.name)) this.#named(at, bits, isAssigned, isQuoted);
    else if (bits === a.patient && isAssigned && this.#names(at, 3) > at)
      this.#add(at, this.#names(at, 3), 'name', 'keyword');
    if (hasAny(bits, a.birth | a.stay) && this.#isMonth(at)) this.#monthFirst(at);
    // Inside a token of base 64, capitals begin words that are none.
    if (at > i && this.#ends[at - 1] === this.#starts[at]) return Math.max(at, i + 1);
    const last = this.#chain(at);
    const kind = this.#judge(bits, isAssigned, at, last);
    if (kind) this.#add(at, last, kind, 'keyword');
    return Math.max(at, i + 1);
  }

  /** `patient name: John Smith`, `"lastName":"smith"` */
  #named(at: number, bits: number, isAssigned: boolean, isQuoted: boolean): void {
    if (!isAssigned || !hasAny(bits, PERSON | a.patient | a.member) || this.#roles[at] === role.placeholder) return;
    const last = this.#names(at, 4);
    if (last >= at) this.#add(at, last, 'name', 'keyword');
    else if ((isQuoted || this.#code((this.#starts[at] as number) - 1) === EQUALS) && this.#digits[at] === 0) {
      this.#add(at, at, 'name', 'keyword');
    }
  }

  /** The last token of a value: what hangs together by `-_./:`, and further groups of digits after blanks. */
  #chain(i: number): number {
    let last = i;
    let digits = this.#digits[i] as number;
    while (last + 1 < this.#count && last - i < VALUE_LIMIT) {
      this.steps++;
      const isTouching = this.#ends[last] === this.#starts[last + 1];
      const separator = this.#gap(last);
      const more = this.#digits[last + 1] as number;
      const isJoined =
        isTouching ||
        separator === DASH ||
        separator === UNDERSCORE ||
        separator === SLASH ||
        separator === COLON ||
        separator === DOT;
      const isGroup =
        separator === BLANK &&
        digits >= 2 &&
        more >= 2 &&
        more <= 4 &&
        more === this.#length(last + 1) &&
        digits + more <= 20 &&
        this.#digits[last] === this.#length(last);
      if (!isJoined && !isGroup) break;
      digits += more;
      last++;
    }
    return last;
  }

  /** What a value is, from the words before it; undefined where they do not say. */
  #judge(bits: number, isAssigned: boolean, first: number, last: number): PhiKind | undefined {
    let digits = 0;
    for (let at = first; at <= last; at++) digits += this.#digits[at] as number;
    if (digits < 3) return undefined;
    const start = this.#starts[first] as number;
    if ((this.#ends[last] as number) - start > VALUE_LIMIT_LENGTH) return undefined;
    const text = this.#text.slice(start, this.#ends[last]);
    // `UCSF-12345` is a number with a prefix; `account.dfs.core/2025`, `patient service-12345` are not.
    for (let at = first; this.#digits[at] === 0; at++) {
      if (at - first > 1 || this.#length(at) > 5) return undefined;
      if (this.#gap(at) !== DASH && this.#ends[at] !== this.#starts[at + 1]) return undefined;
    }
    return judge(bits, isAssigned, text, digits, this.#bits[last + 1] === 0 && this.#isOf(last + 1));
  }

  #isOf(i: number): boolean {
    return i < this.#count && this.#text.slice(this.#starts[i], this.#ends[i]) === 'of';
  }
}

/** What {@link Scanner} says of a text that may be a whole record. */
const CONTAINER = 2;

/** Records made of identifiers, refused whole: HL7 v2, FHIR, X12, DICOM. */
function isContainer(text: string): boolean {
  const pid = text.indexOf('PID|');
  if (pid >= 0 && /[\d|]/.test(text[pid + 4] ?? '')) return true;
  if (text.includes('NM1*IL*') || text.includes('NM1*QC*') || text.includes('(0010,00')) return true;
  for (let from = text.indexOf('resourceType'); from >= 0; from = text.indexOf('resourceType', from + 12)) {
    const after = text.slice(from + 12, from + 40).replace(/[\\"'\s:=]/g, '');
    if (/^(?:Patient|RelatedPerson|Person)(?![a-z])/.test(after)) return true;
  }
  return false;
}

/** Beside the bits of words: somebody's. */
const PERSON = 1 << 31;
const nothing: Finding[] = [];

/** Ends of file names and of systemd's units that a name with an `@` may have. */
const FILES = new Set(
  'js ts jsx tsx mjs cjs py rb rs sh java html json css map php vue so log service socket target timer scope slice mount'.split(
    ' ',
  ),
);

const isLocal = (code: number): boolean =>
  code < 128
    ? classes[code] !== SEPARATOR ||
      code === DOT ||
      code === DASH ||
      code === UNDERSCORE ||
      code === 43 ||
      code === 37 ||
      code === 39
    : wideClass(code) !== SEPARATOR;

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/i;
const LONG_HEX = /^(?:[0-9a-f]{16,}$|(?:[0-9a-f]{2}:){3})/i;
const ULID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/;
const ISO_DATE = /^(?:19|20)\d\d-?[01]\d-?[0-3]\d(?:$|[T ])/;
const TICKET = /^[A-Z]{2,6}-\d{1,5}$/;
const VERSION = /^v?\d{1,3}(?:\.\d{1,5}){1,3}$/;

/** What a value is by the words that go before it, in text or as its key. `digits` are those in `text`. */
export function judge(
  bits: number,
  isAssigned: boolean,
  text: string,
  digits: number,
  isOf = false,
): PhiKind | undefined {
  if (hasAny(bits, a.birth)) return digits >= 4 && !(digits === 4 && text.length === 4) ? 'date' : undefined;
  const isNumbered = hasAny(bits, a.id | a.number);
  if (hasAny(bits, a.ssn)) {
    const isSign = (bits & (a.ssn | a.card)) === (a.ssn | a.card); // `SS#`
    if (isSign ? digits >= 7 && isNumbered : digits >= 4 && !ISO_DATE.test(text)) return 'ssn';
  }
  if (UUID.test(text) || ULID.test(text) || ISO_DATE.test(text) || isOf) return undefined;
  if (hasAny(bits, a.mrn)) return 'mrn';
  if (hasAny(bits, a.hardware) && digits >= 6) return 'device';
  if (hasAny(bits, a.vin) && digits >= 4 && /^[A-Z0-9]{11,17}$/i.test(text)) return 'vehicle';
  if (/^\d{4}$/.test(text) && /^(?:19|20)/.test(text) && !isNumbered) return undefined;
  if (hasAny(bits, a.fax) && digits >= 7 && digits <= 15) return 'fax';
  if (hasAny(bits, a.phone) && digits >= 7 && digits <= 15) return 'phone';
  if (LONG_HEX.test(text) && !/^\d+$/.test(text)) return undefined;
  if (hasAny(bits, a.insurance) && digits >= (isNumbered ? 3 : 4) && !VERSION.test(text)) return 'plan';
  if (hasAny(bits, a.member) && isNumbered && digits >= 4) return 'plan';
  if (hasAny(bits, a.member) && isAssigned && digits >= 6) return 'plan';
  if (hasAny(bits, a.plan) && digits >= 4 && hasAny(bits, a.medical | a.policy)) return 'plan';
  if (hasAny(bits, a.plan | a.policy) && isNumbered && digits >= 5 && !TICKET.test(text)) return 'plan';
  if (hasAny(bits, a.policy) && digits >= 5 && /^[A-Z]{0,4}-?\d+$/.test(text)) return 'plan';
  if (hasAny(bits, a.licence)) {
    if (hasAny(bits, a.personal) && digits >= 5) return 'licence';
    if (hasAny(bits, a.plate)) return 'vehicle';
    if (digits >= 4 && (isNumbered || isAssigned || digits >= 5) && !TICKET.test(text) && !text.includes('.'))
      return 'licence';
  }
  if (hasAny(bits, a.plate) && isNumbered && /^[A-Z0-9][A-Z0-9 -]{3,8}$/.test(text) && /[A-Z]/.test(text))
    return 'vehicle';
  if (hasAny(bits, a.serial) && digits >= 4 && hasAny(bits, a.number | a.device)) return 'device';
  if (hasAny(bits, a.device) && isNumbered && digits >= 4) return 'device';
  if (hasAny(bits, a.account)) {
    // Clouds number their customers' accounts with 12 digits.
    const isCloud = /^\d{12,13}$/.test(text) && !hasAny(bits, a.number | a.bank);
    if (!isCloud && digits >= (isNumbered || isAssigned || hasAny(bits, a.bank) ? 5 : 6)) return 'account';
  }
  if (hasAny(bits, a.bank) && digits >= 8 && (isNumbered || /^\d{9}$/.test(text))) return 'account';
  if (hasAny(bits, a.patient) && (isNumbered || hasAny(bits, a.record))) return 'mrn';
  if (hasAny(bits, a.medical) && (hasAny(bits, a.record) || (isNumbered && digits >= 4))) return 'mrn';
  if (hasAny(bits, a.encounter) && isNumbered && digits >= 4) return 'mrn';
  if (hasAny(bits, a.patient) && digits >= 5) return 'mrn';
  return undefined;
}

/** In order, what overlaps made one; the graver of two decides. */
export function merge(found: Finding[]): Finding[] {
  if (found.length < 2) return found;
  found.sort((x, y) => x.start - y.start || y.end - x.end);
  const merged: Finding[] = [];
  for (const finding of found) {
    const last = merged.at(-1);
    if (!last || finding.start >= last.end) {
      merged.push({ ...finding });
      continue;
    }
    last.end = Math.max(last.end, finding.end);
    if (last.isSoft && !finding.isSoft) {
      last.isSoft = false;
      last.kind = finding.kind;
      last.rule = finding.rule;
    }
  }
  return merged;
}

export { PERSON };
