import {
  BLANK,
  COLON,
  classes,
  DASH,
  DIGIT,
  EQUALS,
  LOWER,
  plainSeparator,
  SEPARATOR,
  SLASH,
  UNDERSCORE,
  UPPER,
  wideClass,
} from './char-classes.ts';
import { hashNext, hashStart, role, wordAt, wordHook, wordRole, wordSubjects } from './keywords.ts';
import { MIN_BASE64 } from './normalize.ts';
import { charFlags, ENCODED, flagAt } from './prefilter.ts';
import { AWS_LENGTH, DATABRICKS_LENGTH, hook } from './secret-words.ts';

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
  | 'secret'
  | 'container';

const isQuote = (code: number): boolean => code === 34 || code === 39;

/** An identifier in a text. Offsets are in UTF-16 code units. */
export type Finding = {
  start: number;
  end: number;
  /** A {@link PhiKind}, or the kind of a pattern from the guard's options. */
  kind: string;
  /**
   * The rule of the finding: shape, checksum, keyword near it, key of the text, pattern from the guard's options, or
   * length of the text.
   */
  rule: 'shape' | 'checksum' | 'keyword' | 'key' | 'pattern' | 'length';
  /**
   * Whether this kind is common in operational text: e-mail address, IP address, date, secret. In a text, a soft
   * finding is redacted even under the policy `reject`, which refuses other findings.
   */
  isSoft: boolean;
};

/**
 * The tokens of a text (words and numbers), and the findings in the text. Entry `i` of each array belongs to token `i`.
 * One object is reused for all texts. Functions of the scanner take this object as `t`.
 */
export class Tokens {
  /** Number of characters and tokens inspected. */
  steps = 0;
  text = '';
  count = 0;
  starts = new Int32Array(256);
  ends = new Int32Array(256);
  /** Number of digits in each token. */
  digits = new Int32Array(256);
  subjects = new Int32Array(256);
  roles = new Uint8Array(256);
  /** Positions of `@`. */
  atSigns: number[] = [];
  /** Words before a colon or an equals sign: known ones, and all that a quote ends. */
  assigned: number[] = [];
  /** Tokens at which a secret may begin: the first token and its kind, then the second and its kind, and so on. */
  hooks: number[] = [];
  /** Union of the prefilter's flags: `CONTAINER`, `ENCODED`. */
  flags = 0;
  /** Runs of possible base64: the start and end of the first run, then of the second, and so on. */
  base64Runs: number[] = [];
  found: Finding[] = [];
  /** Subject bits of the text's key. */
  context = 0;

  /** Cuts a text into tokens. */
  tokenize(text: string, context = 0): void {
    this.text = text;
    this.context = context;
    if (this.found.length > 0) this.found = [];
    if (this.atSigns.length > 0) this.atSigns = [];
    if (this.hooks.length > 0) this.hooks = [];
    if (this.assigned.length > 0) this.assigned = [];
    if (this.base64Runs.length > 0) this.base64Runs = [];
    let run = 0;
    let seen = 0;
    const { length } = text;
    // Each token except the first takes at least two characters, its separator included.
    if (length / 2 + 1 > this.starts.length) this.#grow(length / 2 + 1);
    const { starts, ends, digits: digitsOf, subjects: bits, roles } = this;
    let count = 0;
    for (let i = 0; i < length; ) {
      let charCode = text.charCodeAt(i);
      let kind = charCode < 128 ? (classes[charCode] as number) : wideClass(charCode);
      if (kind === SEPARATOR) {
        if (charCode >= 128 || charFlags[charCode] !== 0) {
          seen |= flagAt(text, i, charCode);
          if (charCode === 64) this.atSigns.push(i);
          else if ((charCode === COLON || charCode === EQUALS) && count > 0) {
            const last = count - 1;
            // Most words before a sign are unknown.
            if (bits[last] !== 0 || roles[last] !== role.none || isQuote(text.charCodeAt(i - 1)))
              this.assigned.push(last);
          }
        }
        if (
          charCode === BLANK ||
          (charCode !== 43 && charCode !== DASH && charCode !== SLASH && charCode !== UNDERSCORE)
        ) {
          if (i - run >= MIN_BASE64) this.#run(run, i);
          run = i + 1;
        }
        i++;
        continue;
      }
      if (charCode >= 128) seen |= ENCODED;
      const start = i;
      let digits = 0;
      let hash = hashStart;
      let previous = kind;
      // The letters before the first digit. `camelCase` gives two tokens.
      while (kind > DIGIT && !(kind === UPPER && previous === LOWER)) {
        hash = hashNext(hash, charCode);
        previous = kind;
        if (++i === length) break;
        charCode = text.charCodeAt(i);
        kind = charCode < 128 ? (classes[charCode] as number) : wideClass(charCode);
        if (charCode >= 128) seen |= ENCODED;
      }
      const lead = i - start;
      if (kind === DIGIT) {
        do {
          if (kind === DIGIT) digits++;
          previous = kind;
          if (++i === length) break;
          charCode = text.charCodeAt(i);
          kind = charCode < 128 ? (classes[charCode] as number) : wideClass(charCode);
          if (charCode >= 128) seen |= ENCODED;
        } while (kind !== SEPARATOR && !(kind === UPPER && previous === LOWER));
      }
      if (kind === UPPER && i < length) seen |= flagAt(text, i, charCode);
      starts[count] = start;
      ends[count] = i;
      digitsOf[count] = digits;
      // Letters, and letters before digits such as `mrn123`, may be a keyword. Other tokens are not looked up.
      const slot = lead === 0 || lead + digits !== i - start ? -1 : wordAt(hash);
      const kindOfHook =
        i - start === AWS_LENGTH || i - start === DATABRICKS_LENGTH ? hook.long : slot < 0 ? 0 : wordHook[slot];
      if (kindOfHook !== 0) this.hooks.push(count, kindOfHook as number);
      // The word of a redaction mark, `[MRN]`, is no keyword: its value is redacted.
      const isMark = charCode === 93 && text.charCodeAt(start - 1) === 91;
      bits[count] = slot < 0 || isMark ? 0 : (wordSubjects[slot] as number);
      roles[count++] = isMark ? role.placeholder : slot < 0 ? role.none : (wordRole[slot] as number);
    }
    this.count = count;
    this.flags = seen;
    if (text.length - run >= MIN_BASE64) this.#run(run, text.length);
    this.steps += text.length;
  }

  /**
   * Keeps a run of characters if it may be base64 of text. The first byte of such text is ASCII (below 128), so the
   * first character is one of the first 32 of base64, `A` to `f`.
   */
  #run(start: number, end: number): void {
    const first = this.text.charCodeAt(start);
    if ((first >= 65 && first <= 90) || (first >= 97 && first <= 102)) this.base64Runs.push(start, end);
  }

  #grow(minSize: number): void {
    const size = Math.max(Math.ceil(minSize), this.starts.length * 2);
    this.starts = new Int32Array(size);
    this.ends = new Int32Array(size);
    this.digits = new Int32Array(size);
    this.subjects = new Int32Array(size);
    this.roles = new Uint8Array(size);
  }

  length(i: number): number {
    return (this.ends[i] as number) - (this.starts[i] as number);
  }

  /** Whether a token is a number of `length` digits. */
  isNumber(i: number, length: number): boolean {
    return i >= 0 && i < this.count && this.digits[i] === length && this.length(i) === length;
  }

  value(i: number): number {
    let value = 0;
    for (let at = this.starts[i] as number; at < (this.ends[i] as number); at++) {
      value = value * 10 + this.text.charCodeAt(at) - 48;
    }
    return value;
  }

  /** The single separator character between a token and the next; 0 if there is none or several. */
  separatorAfter(i: number): number {
    if (i < 0 || i + 1 >= this.count) return 0;
    const end = this.ends[i] as number;
    return (this.starts[i + 1] as number) - end === 1 ? plainSeparator(this.text.charCodeAt(end)) : 0;
  }

  /** Whether the same separator and more digits are before `first` or after `last`, as in `10-119-131-60`. */
  continues(first: number, last: number, separator: number): boolean {
    if (this.separatorAfter(first - 1) === separator && (this.digits[first - 1] as number) > 0) return true;
    return this.separatorAfter(last) === separator && (this.digits[last + 1] as number) > 0;
  }

  code(at: number): number {
    return at >= 0 && at < this.text.length ? this.text.charCodeAt(at) : BLANK;
  }

  /** Union of the subjects of nearby tokens and of the key. */
  subjectsNear(i: number, back: number, forward: number): number {
    let bits = this.context;
    const last = Math.min(i + forward, this.count - 1);
    for (let at = Math.max(i - back, 0); at <= last; at++) bits |= this.subjects[at] as number;
    this.steps += back + forward;
    return bits;
  }

  add(first: number, last: number, kind: PhiKind, rule: Finding['rule'], isSoft = false): void {
    this.found.push({
      start: this.starts[first] as number,
      end: this.ends[last] as number,
      kind,
      rule,
      isSoft,
    });
  }

  digitsOf(first: number, last: number): string {
    return this.text.slice(this.starts[first], this.ends[last]).replace(/\D/g, '');
  }

  /** The first token at or after a position. */
  tokenAt(position: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.starts[middle] as number) < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
