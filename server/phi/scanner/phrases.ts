import {
  BLANK,
  COLON,
  classes,
  DASH,
  DOT,
  EQUALS,
  HASH,
  hasAny,
  LOWER,
  SLASH,
  UNDERSCORE,
  UPPER,
} from './char-classes.ts';
import { classify, PERSON, STRONG } from './classify.ts';
import { isMonth, monthFirst } from './dates.ts';
import { hashOf, role, subject, wordAt, wordRole, wordSubjects } from './keywords.ts';
import type { PhiKind, Tokens } from './tokens.ts';

/**
 * Finds values by the keywords before them. A phrase is a sequence of keywords and fillers, such as
 * `medical record no`. A phrase ends at a value, at the end of a sentence, or at a word without a role (`keywords.ts`).
 */

const PHRASE_LIMIT = 10;
const VALUE_LIMIT = 10;
const VALUE_LIMIT_LENGTH = 40;
const GAP_LIMIT = 6;
const CLOSING = 41;

/** Finds a name after a title: `Mr. Smith`, `Dr John L.`. */
export function title(t: Tokens, i: number): void {
  const start = t.starts[i] as number;
  const code = t.code(start);
  if ((code !== 77 && code !== 68) || classes[t.code((t.ends[i] as number) - 1)] !== LOWER) return;
  const width = (t.starts[i + 1] as number) - (t.ends[i] as number);
  const isDotted = t.code(t.ends[i] as number) === DOT;
  if (i + 1 >= t.count || width > (isDotted ? 2 : 1) || (!isDotted && t.separatorAfter(i) !== BLANK)) return;
  const last = lastNameWord(t, i + 1, 3);
  if (last >= 0 && t.length(i + 1) > 1) t.add(i, last, 'name', 'keyword');
}

const isPlaceholder = (kind: number): boolean => kind === role.placeholder || kind === role.state;

/** Returns the last of at most `limit` capitalized words from token `i` on; -1 if token `i` is no such word. */
function lastNameWord(t: Tokens, i: number, limit: number): number {
  let last = -1;
  for (let at = i; at < t.count && at < i + limit; at++) {
    t.steps++;
    if (t.digits[at] !== 0 || classes[t.code(t.starts[at] as number)] !== UPPER) break;
    if (isPlaceholder(t.roles[at] as number) || (t.subjects[at] as number) !== 0) break;
    if (at > i) {
      const width = (t.starts[at] as number) - (t.ends[at - 1] as number);
      const code = t.code(t.ends[at - 1] as number);
      // Part of a name: `Anna S. Smith`, `O'Neil`, `Smith-Jones`, `Smith, Anna`. The next sentence is not.
      if (width > 2 || (width === 2 && !(code === DOT && t.length(at - 1) === 1) && code !== 44)) break;
      if (width === 1 && code !== BLANK && code !== DASH && code !== 39 && code !== 94) break;
    }
    last = at;
  }
  return last;
}

/** Keywords for abbreviations with dots or slashes: `D.O.B.`, `a/c`, `s/n`. */
const ABBREVIATIONS: Readonly<Record<string, string>> = {
  dob: 'dob',
  dod: 'dod',
  ssn: 'ssn',
  mrn: 'mrn',
  npi: 'npi',
  dea: 'dea',
  vin: 'vin',
  dl: 'dl',
  ac: 'acct',
  sn: 'serialno',
  mr: 'mrn',
};

/** Gives the last letter of an abbreviation the subjects and the role of its keyword. */
export function abbreviation(t: Tokens, i: number): void {
  const separator = t.separatorAfter(i);
  if ((separator !== DOT && separator !== SLASH) || t.separatorAfter(i - 1) === separator) return;
  let last = i;
  while (last - i < 2 && t.separatorAfter(last) === separator && t.length(last + 1) === 1 && t.digits[last + 1] === 0)
    last++;
  if (last === i || (last + 1 < t.count && t.separatorAfter(last) === separator)) return;
  const letters = t.text.slice(t.starts[i], t.ends[last]).replace(/[./]/g, '').toLowerCase();
  const word = ABBREVIATIONS[letters];
  if (word === undefined) return;
  const slot = wordAt(hashOf(word));
  t.subjects[last] = wordSubjects[slot] as number;
  t.roles[last] = wordRole[slot] as number;
}

/** Reads the phrase at token `i` and the value after it. Returns the token at which the scan for phrases continues. */
export function phrase(t: Tokens, i: number): number {
  if (i > 0 && t.ends[i - 1] === t.starts[i] && (t.digits[i - 1] as number) > 0) return i + 1;
  if (t.roles[i - 1] === role.technical) return i + 1;
  if (i > 1 && hasAny(t.subjects[i] as number, NAMED_AFTER)) valueBefore(t, i, t.subjects[i] as number);
  let bits = 0;
  let isAssigned = false;
  let isQuoted = false;
  let at = i;
  for (; ; at++) {
    t.steps++;
    if (at >= t.count || at - i >= PHRASE_LIMIT) return at;
    const own = t.subjects[at] as number;
    const kind = t.roles[at] as number;
    if ((t.digits[at] as number) > 0 && kind !== role.field) break;
    const isPassed = kind === role.filler || kind === role.person || kind === role.state || kind === role.provider;
    if (own === 0 && !isPassed && kind !== role.technical) break;
    if (kind === role.technical) {
      // `birth certificate no`, `medical certificate number`.
      if (at === i || !hasAny(bits, CERTIFIED) || !isWord(t, at, /^certificate$/i)) return at + 1;
      bits = (bits & ~CERTIFIED) | subject.licence;
    }
    if (kind === role.plural && isCount(t, at)) return at + 1;
    if (kind === role.person) bits |= PERSON;
    bits |= own;
    if (hasAny(bits, subject.licence) && isKeyWord(t, at)) return at + 1; // A license key is a product's.
    if (at + 1 >= t.count) return at + 1;
    const end = t.ends[at] as number;
    const next = t.starts[at + 1] as number;
    if (next - end > GAP_LIMIT + 2) return at + 1;
    isQuoted = false;
    for (let place = end; place < next; place++) {
      const code = t.text.charCodeAt(place);
      if (code === HASH) bits |= subject.number;
      else if (code === COLON || code === EQUALS) isAssigned = true;
      else if (code === 34 || code === 39) isQuoted = true;
      else if (code === 59 || code === 10 || code === 33 || code === 125) return at + 1;
      else if (code === 63 && next - place > 1)
        return at + 1; // Not in `/Patient?identifier=`.
      else if (code === 44 && kind !== role.state) return at + 1;
      else if (code === 40 && place === end && at > 0 && t.ends[at - 1] === t.starts[at])
        return at + 1; // `getRec(`
      else if (code === DOT && t.length(at) > 4 && next - place > 1) return at + 1;
    }
    t.steps += next - end;
    // `is` before a value assigns the value, as a colon does.
    if (kind === role.filler && next - end === 1 && t.length(at) === 2 && t.code(end - 1) === 115) isAssigned = true;
  }
  if (hasAny(bits, subject.name)) addName(t, at, bits, isAssigned, isQuoted);
  else if (bits === subject.patient && isAssigned && lastNameWord(t, at, 3) > at)
    t.add(at, lastNameWord(t, at, 3), 'name', 'keyword');
  if (hasAny(bits, subject.birth | subject.stay) && isMonth(t, at)) monthFirst(t, at);
  // No separator between phrase and value, as inside base64, where capital letters begin no words.
  if (at > i && t.ends[at - 1] === t.starts[at]) return Math.max(at, i + 1);
  // A query plan or a backup policy is no insurance.
  if (t.roles[i - 1] === role.machine) bits &= ~(subject.plan | subject.policy);
  // A word after the value may complete the phrase: `record number 4411 (medical)`.
  if (hasAny(bits, subject.record) && hasAny(bits, subject.id | subject.number))
    bits |= t.subjectsNear(at, 6, 4) & (subject.medical | subject.patient | subject.encounter);
  // `PT` is a term of MedDRA, with a code of eight digits; `.pt` a file of a model.
  const isShort = t.subjects[at - 1] === subject.encounter && t.length(at - 1) === 2;
  if (isShort && !hasAny(bits, subject.number) && !isPatient(t, at - 1)) return at;
  // The payer may be named after the member: `subscriber 771203984 not on file with payer`.
  if (hasAny(bits, subject.member)) bits |= t.subjectsNear(at, 0, 7) & subject.insurance;
  // A segment of a path, as in `/passport/…`, names a resource. Those of persons count.
  if (at === i + 1 && t.code((t.starts[i] as number) - 1) === SLASH && t.separatorAfter(i) === SLASH) bits &= IN_PATHS;
  if (!hasAny(bits, STRONG)) return Math.max(at, i + 1);
  // Phone numbers have groups of up to 7 digits.
  const maxDigits = hasAny(bits, subject.phone | subject.fax) ? 7 : 4;
  if (hasAny(bits, subject.plate) && plate(t, at, bits, isAssigned)) return Math.max(at, i + 1);
  const last = lastOfValue(t, isPrefix(t, at, bits) ? at + 1 : at, maxDigits);
  const kind = kindOf(t, bits, isAssigned, at, last);
  if (kind === undefined) return Math.max(at, i + 1);
  t.add(at, last, kind, 'keyword');
  return Math.max(list(t, at, last, kind), i + 1);
}

/** Whether a keyword in the plural has a count as its value: `total patients: 40`, `"patients": 40`. */
function isCount(t: Tokens, i: number): boolean {
  if (t.roles[i - 1] === role.count) return true;
  if (i + 1 >= t.count || t.digits[i + 1] !== t.length(i + 1)) return false;
  const end = t.ends[i + 1] as number;
  return /^["']?[:=] ?$/.test(t.text.slice(t.ends[i], t.starts[i + 1])) && !/^,? ?\d/.test(t.text.slice(end, end + 3));
}

const IN_PATHS = subject.ssn | subject.mrn | subject.patient | subject.member | subject.encounter | subject.medical;
const isPatient = (t: Tokens, i: number): boolean =>
  classes[t.code(t.starts[i] as number)] === LOWER && t.code((t.starts[i] as number) - 1) !== DOT;
const CERTIFIED = subject.birth | subject.stay | subject.medical;
const isWord = (t: Tokens, i: number, word: RegExp): boolean => word.test(t.text.slice(t.starts[i], t.ends[i]));
const isKeyWord = (t: Tokens, i: number): boolean => t.length(i) === 3 && isWord(t, i, /^keys?$/i);

/** Reports the values after the first one of a list: `MRNs 8840, 8841 and 8842`, `from 8840 to 8841`. */
function list(t: Tokens, first: number, firstLast: number, kind: PhiKind): number {
  const size = digitsIn(t, first, firstLast);
  let last = firstLast;
  for (;;) {
    let at = last + 1;
    t.steps++;
    if (at + 1 < t.count && JOINTS.has(t.text.slice(t.starts[at], t.ends[at]))) at++;
    const gap = at < t.count ? t.text.slice(t.ends[last], t.starts[at]) : '';
    const isNext = at > last + 1 ? gap.length <= 14 : /^["'\])]{0,2} ?[,|/] ?["'[(]{0,2}$/.test(gap);
    if (!isNext || (t.digits[at] as number) === 0) return last;
    const end = lastOfValue(t, at, 0);
    const digits = digitsIn(t, at, end);
    if (digits < 4 || digits < size - 2 || digits > size + 2) return last;
    t.add(at, end, kind, 'keyword');
    last = end;
  }
}

const JOINTS = new Set('and or to into vs versus nor'.split(' '));

function digitsIn(t: Tokens, first: number, last: number): number {
  let digits = 0;
  for (let at = first; at <= last; at++) digits += t.digits[at] as number;
  return digits;
}

/** Finds a name after its keyword: `patient name: John Smith`, `"lastName":"smith"`. */
function addName(t: Tokens, at: number, bits: number, isAssigned: boolean, isQuoted: boolean): void {
  if (!isAssigned || !hasAny(bits, PERSON | subject.patient | subject.member) || isPlaceholder(t.roles[at] as number))
    return;
  const last = lastNameWord(t, at, 4);
  // The name of a repository at GitHub, not of a person: `full_name: "owner/repository"`.
  let end = Math.max(at, last);
  while (end - at < 8 && (t.separatorAfter(end) === DASH || t.separatorAfter(end) === DOT)) end++;
  if (t.code(t.ends[end] as number) === SLASH) return;
  if (last >= at) t.add(at, last, 'name', 'keyword');
  else if ((isQuoted || t.code((t.starts[at] as number) - 1) === EQUALS) && t.digits[at] === 0) {
    t.add(at, at, 'name', 'keyword');
  }
}

/** Plates with letters and digits in groups, as of the USA, Britain, Germany, the Netherlands and Italy. */
const PLATE =
  /^(?:[A-Z]{1,3}[ -][A-Z]{1,2}[ -]?\d{1,4}|[A-Z]{2}[ -]\d{2}[ -][A-Z]{1,2}[ -]\d{4}|[A-Z]{2}\d{2}[ -]?[A-Z]{3}|[A-Z]{3}[ -]\d{3,4}|\d{3,4}[ -][A-Z]{2,3}|\d[ -]?[A-Z]{3}[ -]?\d{3}|[A-Z]{2}[ -]?\d{3}[ -]?[A-Z]{2}|[A-Z\d]{1,3}-[A-Z\d]{2,3}-[A-Z\d]{1,3})$/;

/** A laboratory also numbers its plates, often from 0001. */
const PLATE_ALONE = /^(?:(?!LAB|LIB|PLT|PCR|DNA|RNA|SEQ|MTP|PL)[A-Z]{3}-[1-9]\d{3}|[A-Z]{2}-\d{3}-[A-Z]{2})$/;

/** Finds the plate of a car. After `plate` alone, which may be one of a laboratory, only with a dash or a colon. */
function plate(t: Tokens, i: number, bits: number, isAssigned: boolean): boolean {
  const isOfCar = hasAny(bits, subject.licence | subject.vin | subject.number);
  if (!isOfCar && !isAssigned) return false;
  for (let last = Math.min(i + 3, t.count - 1); last >= i; last--) {
    t.steps += 10;
    const isNear = last === i || ((t.starts[last] as number) - (t.ends[last - 1] as number) === 1 && t.length(i) < 5);
    if (!isNear || (t.ends[last] as number) - (t.starts[i] as number) > 13 || t.separatorAfter(last) === DASH) continue;
    const text = t.text.slice(t.starts[i], t.ends[last]);
    if (!PLATE.test(text) || (!isOfCar && !PLATE_ALONE.test(text))) continue;
    t.add(i, last, 'vehicle', 'keyword');
    return true;
  }
  return false;
}

/** Whether token `i` is a prefix of the value, as `MX` in `policy no MX 44120938`. */
function isPrefix(t: Tokens, i: number, bits: number): boolean {
  if (
    !hasAny(bits, subject.id | subject.number | subject.account | subject.licence) ||
    t.digits[i] !== 0 ||
    t.length(i) > 4
  )
    return false;
  if (t.length(i) < 2 || t.separatorAfter(i) !== BLANK || t.roles[i] !== role.none || t.subjects[i] !== 0) return false;
  for (let at = t.starts[i] as number; at < (t.ends[i] as number); at++)
    if (classes[t.code(at)] !== UPPER) return false;
  return (t.digits[i + 1] as number) >= 5 && t.digits[i + 1] === t.length(i + 1);
}

const NAMED_AFTER = subject.ssn | subject.mrn | subject.phone | subject.fax | subject.patient;
const LINKING_WORDS = new Set(
  'is was not no a an the valid invalid known unknown existing your our any value for in of on field column key attribute'.split(
    ' ',
  ),
);
const FIELD_WORDS = new Set('field column key attribute'.split(' '));

/** Finds a value before its keyword: `219099999 is not a valid SSN`. */
function valueBefore(t: Tokens, i: number, bits: number): void {
  let hasVerb = false;
  let isField = false;
  let at = i - 1;
  for (; at >= 0 && i - at <= 9; at--) {
    t.steps++;
    if ((t.starts[at + 1] as number) - (t.ends[at] as number) > 3) return;
    if (t.digits[at] !== 0) break;
    const word = t.text.slice(t.starts[at], t.ends[at]);
    if (!LINKING_WORDS.has(word)) return;
    if (word === 'is' || word === 'was') hasVerb = true;
    if (at === i - 1) isField = FIELD_WORDS.has(word);
  }
  if (at < 0 || !(hasVerb || isField)) return;
  const digits = t.digits[at] as number;
  if (isField ? digits < 6 : digits !== t.length(at)) return;
  if (t.separatorAfter(at - 1) === DASH || t.separatorAfter(at - 1) === DOT) return;
  const kind = kindOf(t, bits | (isField ? (t.subjects[i + 1] as number) & subject.id : 0), true, at, at);
  if (kind) t.add(at, at, kind, 'keyword');
}

/**
 * Returns the last token of a value. A value consists of tokens joined by `-_./:`, and of groups of at most `maxDigits`
 * digits after blanks.
 */
function lastOfValue(t: Tokens, i: number, maxDigits: number): number {
  let last = i;
  let digits = t.digits[i] as number;
  while (last + 1 < t.count && last - i < VALUE_LIMIT) {
    t.steps++;
    const isTouching = t.ends[last] === t.starts[last + 1];
    const separator = t.separatorAfter(last);
    const more = t.digits[last + 1] as number;
    const isJoined =
      isTouching ||
      separator === DASH ||
      separator === UNDERSCORE ||
      separator === SLASH ||
      separator === COLON ||
      separator === DOT ||
      (separator === CLOSING && maxDigits === 7);
    const isGroup =
      separator === BLANK &&
      digits >= 2 &&
      more >= 2 &&
      more <= maxDigits &&
      more === t.length(last + 1) &&
      digits + more <= 20 &&
      t.digits[last] === t.length(last);
    if (!isJoined && !isGroup) break;
    digits += more;
    last++;
  }
  return last;
}

/** Returns the kind of a value, according to the keywords of its phrase; undefined if the value is no identifier. */
function kindOf(t: Tokens, bits: number, isAssigned: boolean, first: number, last: number): PhiKind | undefined {
  const digits = digitsIn(t, first, last);
  if (digits < 3) return undefined;
  if (digits === 12 && hasAny(bits, subject.account) && isCloudAccount(t, first, last)) return undefined;
  const start = t.starts[first] as number;
  if ((t.ends[last] as number) - start > VALUE_LIMIT_LENGTH) return undefined;
  const text = t.text.slice(start, t.ends[last]);
  // `UCSF-12345` is a number with a prefix; `account.dfs.core/2025`, `patient service-12345` are not.
  for (let at = first; t.digits[at] === 0; at++) {
    if (at - first > 1 || t.length(at) > 5) return undefined;
    const isOfSystem = isAssigned && t.separatorAfter(at) === COLON && /^[A-Z]+$/.test(t.text.slice(start, t.ends[at]));
    if (
      !isOfSystem &&
      t.separatorAfter(at) !== DASH &&
      !(at === first && t.separatorAfter(at) === BLANK) &&
      t.ends[at] !== t.starts[at + 1]
    )
      return undefined;
  }
  return classify(bits, isAssigned, text, digits, first === last && isCounted(t, last + 1));
}

/** Whether a cloud word is beside an account number of 12 digits. */
function isCloudAccount(t: Tokens, first: number, last: number): boolean {
  t.steps += 10;
  for (let at = Math.max(0, first - 6); at <= last + 4 && at < t.count; at++) {
    if (t.roles[at] === role.technical) return true;
  }
  return false;
}

/** Whether token `i` is the unit of a number before it: `12 of 40`, `120000 rows`. */
const isCounted = (t: Tokens, i: number): boolean =>
  i < t.count && UNITS.has(t.text.slice(t.starts[i], t.ends[i])) && t.separatorAfter(i - 1) === BLANK;

const UNITS = new Set(
  'of rows records events entries messages files items bytes tasks patients times ms requests jobs pods users edges'.split(
    ' ',
  ),
);
