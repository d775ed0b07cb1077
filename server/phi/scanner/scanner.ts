import { email, hex, ip } from './addresses.ts';
import { COLON, DASH, DOT } from './char-classes.ts';
import { compactDate, dayFirst, monthFirst, year } from './dates.ts';
import { hl7Field, keyed, wordsOfKey } from './keys.ts';
import { role } from './keywords.ts';
import { NormalizedText, textOfBase64 } from './normalize.ts';
import {
  bareCard,
  barePhone,
  bareSsn,
  card,
  coded,
  dea,
  international,
  joined,
  national,
  npi,
  phone,
  spaced,
  ssn,
  udi,
} from './numbers.ts';
import { abbreviation, phrase, title } from './phrases.ts';
import { CONTAINER, ENCODED, mayContainFinding, mayNeedNormalizing } from './prefilter.ts';
import { secretOfKey, secrets } from './secrets.ts';
import { type Finding, Tokens } from './tokens.ts';

/**
 * Finds identifiers with a structure in text:
 *
 * 1. The prefilter skips texts without any character that a finding needs.
 * 2. One pass cuts the text into tokens: words and numbers. A text with escapes or non-ASCII characters is normalized
 *    and cut again.
 * 3. Each token with a digit is compared with the shapes of identifiers that can begin there. Each keyword is checked
 *    together with the value after it.
 * 4. Base64 that decodes to text is scanned in the same way.
 *
 * Each comparison inspects a bounded number of characters and tokens, so the time is linear in the length of any text.
 * `steps` counts these characters and tokens, and a test checks the bound. Regular expressions were rejected: some
 * backtrack, and a pass for each pattern would take longer than this scanner. Names, places and bare numbers in free
 * text are not found.
 */

/** A guard uses one scanner for all texts. Its tables grow to the size of the longest text. */
export class Scanner {
  readonly #tokens = new Tokens();
  readonly #normalized = new NormalizedText();
  /** Scans decoded base64. Created when needed. */
  #inner: Scanner | undefined;
  readonly #depth: number;

  constructor(depth = 0) {
    this.#depth = depth;
  }

  /** Number of characters and tokens that the last scan inspected. */
  get steps(): number {
    return this.#tokens.steps;
  }

  /**
   * Returns findings in order, without overlaps. `context`: subject bits (`keywords.ts`) of the text's key.
   * `onlySecrets`: whether other findings are left out.
   */
  scan(text: string, context = 0, onlySecrets = false): Finding[] {
    const t = this.#tokens;
    t.steps = text.length;
    if (!mayContainFinding(text)) return nothing;
    t.tokenize(text, context);
    if ((t.flags & ENCODED) === 0) return this.#scan(onlySecrets);
    const normalize = this.#normalized.normalize(text);
    t.steps += text.length;
    if (normalize === text) return this.#scan(onlySecrets);
    t.tokenize(normalize, context);
    return this.#scan(onlySecrets).map((finding) => ({
      ...finding,
      ...this.#normalized.originalRange(finding.start, finding.end),
    }));
  }

  /** Returns the text that {@link scan} inspects: normalized (`normalize.ts`) if necessary. */
  read(text: string): string {
    return mayNeedNormalizing(text) ? this.#normalized.normalize(text) : text;
  }

  #scan(onlySecrets: boolean): Finding[] {
    const t = this.#tokens;
    if (t.hooks.length > 0 || t.atSigns.length > 0) secrets(t);
    if (onlySecrets) return merge(t.found);
    const secretCount = t.found.length;
    if ((t.flags & CONTAINER) !== 0 && isContainer(t.text)) {
      return [{ start: 0, end: t.text.length, kind: 'container', rule: 'shape', isSoft: false }];
    }
    for (const at of t.atSigns) email(t, at);
    const { count, starts, ends, digits: digitsOf, subjects: bitsOf, roles } = t;
    let phraseEnd = 0;
    for (let i = 0; i < count; i++) {
      const digits = digitsOf[i] as number;
      if (digits > 0) this.#number(i, digits);
      else {
        const length = (ends[i] as number) - (starts[i] as number);
        if (length === 2) hex(t, i);
        else if (length === 1) abbreviation(t, i);
      }
      const bits = bitsOf[i] as number;
      const kind = roles[i] as number;
      if (i >= phraseEnd && (bits !== 0 || kind === role.person)) phraseEnd = phrase(t, i);
      else if (kind === role.title) title(t, i);
      else if (kind === role.segment) hl7Field(t, i);
      else if (kind === role.month || kind === role.shortMonth) monthFirst(t, i);
    }
    for (let i = 0; i < t.assigned.length; i++) keyed(t, t.assigned[i] as number);
    for (let i = 0; i < t.base64Runs.length; i += 2)
      this.#encoded(t.base64Runs[i] as number, t.base64Runs[i + 1] as number);
    return merge(secretCount === 0 ? t.found : outsideOf(t.found, secretCount));
  }

  /** Reports a whole base64 run if its decoded text has a finding. */
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

  /** What the words of a key name: subjects, and a secret (a kind of `hook`, `secret-words.ts`). */
  namesOf(key: string): { words: number; secret: number } {
    const read = this.read(key);
    const t = this.#tokens;
    t.tokenize(read);
    for (let i = 0; i + 1 < t.count; i++) hl7Field(t, i, true);
    return { words: t.count === 0 ? 0 : wordsOfKey(t, 0, t.count - 1), secret: secretOfKey(t) };
  }

  /** Compares a token that has digits with the shapes of identifiers that begin with such a token. */
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
      else if (length === 8) compactDate(t, i);
      else if (length === 10 || length === 11) {
        barePhone(t, i);
        if (length === 10) npi(t, i);
      } else if (length >= 13 && length <= 19) {
        bareCard(t, i);
        if (length === 14) udi(t, i);
      }
      if (length > 1 && length < 6 && next !== COLON && t.text.charCodeAt(t.starts[i] as number) === 48) national(t, i);
      if (length <= 3) {
        if (next === DOT && ip(t, i)) return;
        if (t.code((t.starts[i] as number) - 1) === 43) international(t, i);
      } else if (length <= 15 && t.code((t.starts[i] as number) - 1) === 43) international(t, i);
    } else {
      if (length === 17 || length === 11) coded(t, i, length);
      else if (length === 3 && digits === 1 && (next === DASH || next === DOT)) hl7Field(t, i);
      else if (length === 9 && digits >= 7) dea(t, i);
      if (length <= 4 && digits <= 2) dayFirst(t, i);
      spaced(t, i, length, digits);
      joined(t, i, digits);
    }
    if (next === COLON || next === DASH) hex(t, i);
  }
}

/** Whether a text contains a medical record (HL7 v2, CDA, FHIR, X12, DICOM). Such a text is refused as a whole. */
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

/** Levels of base64 inside base64 that are decoded. */
const ENCODED_LIMIT = 2;
const nothing: Finding[] = [];

/** Removes the findings that begin inside of a secret, one of the first `count`: a random token may have any number. */
function outsideOf(found: Finding[], count: number): Finding[] {
  const hidden = merge(found.slice(0, count));
  const others = found.slice(count).sort((x, y) => x.start - y.start);
  let n = 0;
  const left = others.filter(({ start }) => {
    while (n < hidden.length && (hidden[n] as Finding).end <= start) n++;
    return n === hidden.length || start < (hidden[n] as Finding).start;
  });
  return merge([...hidden, ...left]);
}

/** Whether findings are in order, without overlaps. */
function isSorted(found: readonly Finding[]): boolean {
  for (let i = 1; i < found.length; i++) if ((found[i] as Finding).start < (found[i - 1] as Finding).end) return false;
  return true;
}

/** Sorts findings and joins overlapping ones. The result is soft only if all of them are. */
export function merge(found: Finding[]): Finding[] {
  if (isSorted(found)) return found;
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
