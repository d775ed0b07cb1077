import { email, hex, ip } from './addresses.ts';
import { COLON, classes, DASH, DOT, LOWER } from './char-classes.ts';
import { PERSON } from './classify.ts';
import { dayFirst, monthFirst, year } from './dates.ts';
import { hashNext, hashStart, role, wordAt, wordRole, wordSubjects } from './keywords.ts';
import { NormalizedText, textOfBase64 } from './normalize.ts';
import {
  bareCard,
  barePhone,
  bareSsn,
  card,
  coded,
  international,
  joined,
  phone,
  spaced,
  ssn,
  udi,
} from './numbers.ts';
import { abbreviation, phrase, title } from './phrases.ts';
import { CONTAINER, ENCODED, mayContainFinding, mayNeedNormalizing } from './prefilter.ts';
import { type Finding, Tokens } from './tokens.ts';

/**
 * Finds structured identifiers in text: one pass cuts it into tokens (words, numbers), and then each token that holds a
 * digit is held against a table of shapes, each keyword against what follows it. Every look around a token is bounded by
 * a constant, so the time is linear in the text whatever it says; `steps` counts the looks, and a test holds them to it.
 * Regular expressions lost: they either backtrack, or one pass per pattern costs more than all of this.
 *
 * Names, places and bare numbers in free text are beyond it.
 */

/** Not thread-safe, but nothing here waits: one serves a guard. Its tables grow to the longest text seen. */
export class Scanner {
  readonly #tokens = new Tokens();
  readonly #normalized = new NormalizedText();
  /** For what is encoded inside a text; made when there is some. */
  #inner: Scanner | undefined;
  readonly #depth: number;

  constructor(depth = 0) {
    this.#depth = depth;
  }

  /** Looks at characters and tokens that the last scan took. */
  get steps(): number {
    return this.#tokens.steps;
  }

  /** Findings in order, none over another. */
  scan(text: string, context = 0): Finding[] {
    const t = this.#tokens;
    t.steps = text.length;
    if (!mayContainFinding(text)) return nothing;
    t.tokenize(text, context);
    if ((t.flags & ENCODED) === 0) return this.#scan();
    const normalize = this.#normalized.normalize(text);
    t.steps += text.length;
    if (normalize === text) return this.#scan();
    t.tokenize(normalize, context);
    return this.#scan().map((finding) => ({
      ...finding,
      ...this.#normalized.originalRange(finding.start, finding.end),
    }));
  }

  /** The text as it reads: what {@link scan} looks at. */
  read(text: string): string {
    return mayNeedNormalizing(text) ? this.#normalized.normalize(text) : text;
  }

  #scan(): Finding[] {
    const t = this.#tokens;
    if ((t.flags & CONTAINER) !== 0 && isContainer(t.text)) {
      return [{ start: 0, end: t.text.length, kind: 'container', rule: 'shape', isSoft: false }];
    }
    for (const at of t.atSigns) email(t, at);
    const { count, digits: digitsOf, subjects: bitsOf, roles } = t;
    let phraseEnd = 0;
    for (let i = 0; i < count; i++) {
      const digits = digitsOf[i] as number;
      if (digits > 0) this.#number(i, digits);
      else if (t.length(i) === 2) hex(t, i);
      else if (t.length(i) === 1) abbreviation(t, i);
      const bits = bitsOf[i] as number;
      const kind = roles[i] as number;
      if (i >= phraseEnd && (bits !== 0 || kind === role.person)) phraseEnd = phrase(t, i);
      else if (kind === role.title) title(t, i);
      else if (kind === role.month || kind === role.shortMonth) monthFirst(t, i);
    }
    for (let i = 0; i < t.base64Runs.length; i += 2)
      this.#encoded(t.base64Runs[i] as number, t.base64Runs[i + 1] as number);
    return merge(t.found);
  }

  /** Base 64 that holds something is found whole. */
  #encoded(start: number, end: number): void {
    if (this.#depth >= ENCODED_LIMIT) return;
    const t = this.#tokens;
    const text = textOfBase64(t.text, start, end);
    if (text === undefined) return;
    this.#inner ??= new Scanner(this.#depth + 1);
    const found = this.#inner.scan(text);
    t.steps += this.#inner.steps + text.length;
    const worst = found.find(({ isSoft }) => !isSoft) ?? found[0];
    if (worst) t.found.push({ ...worst, start, end });
  }

  /**
   * The words of a key, as the union of what the known ones at its end are about; 0 when the last is not known, as in
   * `memberCount`.
   */
  wordsOf(key: string): number {
    const t = this.#tokens;
    t.tokenize(key);
    let bits = 0;
    for (let i = t.count - 1; i >= 0; i--) {
      const own = t.subjects[i] as number;
      const kind = t.roles[i] as number;
      const isNumber = t.digits[i] === t.length(i);
      if (own === 0 && kind !== role.filler && kind !== role.person && !(isNumber && t.length(i) < 3)) {
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
    const whole = wordAt(hash);
    if (wordRole[whole] === role.person) bits |= PERSON;
    return bits | (wordSubjects[whole] as number);
  }

  /** Holds a token with digits in it against the shapes that begin with it. */
  #number(i: number, digits: number): void {
    const t = this.#tokens;
    this.#tokens.steps += 8;
    const length = t.length(i);
    const next = t.code(t.ends[i] as number);
    if (digits === length) {
      if (length === 3) ssn(t, i) || phone(t, i);
      else if (length === 4) card(t, i) || year(t, i);
      else if (length <= 2) dayFirst(t, i);
      else if (length === 9) bareSsn(t, i);
      else if (length === 10 || length === 11) barePhone(t, i);
      else if (length >= 13 && length <= 19) {
        bareCard(t, i);
        if (length === 14) udi(t, i);
      }
      if (length <= 3) {
        if (next === DOT && ip(t, i)) return;
        if (t.code((t.starts[i] as number) - 1) === 43) international(t, i);
      } else if (length <= 15 && t.code((t.starts[i] as number) - 1) === 43) international(t, i);
    } else {
      if (length === 17 || length === 11) coded(t, i, length);
      if (length <= 4 && digits <= 2) dayFirst(t, i);
      spaced(t, i, length, digits);
      joined(t, i, digits);
    }
    if (next === COLON || next === DASH) hex(t, i);
  }
}

/** Records made of identifiers, refused whole: HL7 v2 and CDA, FHIR, X12, DICOM. */
function isContainer(text: string): boolean {
  const pid = text.indexOf('PID|');
  if (pid >= 0 && /[\d|]/.test(text[pid + 4] ?? '')) return true;
  if (text.includes('NM1*IL*') || text.includes('NM1*QC*') || text.includes('(0010,00')) return true;
  if (/"001000[1-4]0"|<Patient xmlns|<patientRole[ >]/.test(text)) return true;
  for (let from = text.indexOf('resourceType'); from >= 0; from = text.indexOf('resourceType', from + 12)) {
    const after = text.slice(from + 12, from + 40).replace(/[\\"'\s:=]/g, '');
    if (/^(?:Patient|RelatedPerson|Person)(?![a-z])/.test(after)) return true;
  }
  return false;
}

/** Base 64 in base 64 is looked into, and no further. */
const ENCODED_LIMIT = 2;
const nothing: Finding[] = [];

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
