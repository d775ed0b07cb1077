import {
  BLANK,
  classes,
  DASH,
  DIGIT,
  DOT,
  hasAny,
  LOWER,
  plainSeparator,
  SEPARATOR,
  SLASH,
  UNDERSCORE,
  UPPER,
} from './char-classes.ts';
import { isCard, isDea, isIban, isMbi, isNpi, isVin } from './checksums.ts';
import { role, subject } from './keywords.ts';
import type { Finding, Tokens } from './tokens.ts';

/** Finds identifiers that are numbers or codes, by their shape, their checksum, or a keyword near them. */

const OPENING = 40;
const CLOSING = 41;

export function ssn(t: Tokens, i: number): boolean {
  if (!t.isNumber(i + 1, 2) || !t.isNumber(i + 2, 4)) return false;
  const separator = t.separatorAfter(i);
  if (separator !== t.separatorAfter(i + 1)) return false;
  const area = t.value(i);
  const isPossible = area !== 0 && area !== 666 && t.value(i + 1) !== 0 && t.value(i + 2) !== 0;
  const isNamed = hasAny(t.subjectsNear(i, 5, 4), subject.ssn);
  if (!isPossible && !isNamed) return false;
  if (separator === BLANK) {
    // Three columns of a table may look like an SSN with blanks, so no number may come before or after.
    const isAlone = !((t.digits[i - 1] as number) > 0 && t.separatorAfter(i - 1) === BLANK);
    const isLast = !(i + 3 < t.count && t.separatorAfter(i + 2) === BLANK && (t.digits[i + 3] as number) > 0);
    if (!isNamed && !(isAlone && isLast)) return false;
  } else if (separator === DOT || separator === DASH) {
    if (t.continues(i, i + 2, separator)) return false;
    if (separator === DOT && t.roles[i - 1] === role.technical) return false;
  } else if (!isNamed || (separator !== UNDERSCORE && separator !== SLASH)) return false;
  t.add(i, i + 2, 'ssn', isNamed ? 'keyword' : 'shape');
  return true;
}

export function bareSsn(t: Tokens, i: number): void {
  let isNamed = hasAny(t.context, subject.ssn);
  for (let at = Math.max(0, i - 3); at < i; at++)
    isNamed ||= ((t.subjects[at] as number) & (subject.ssn | subject.card)) === subject.ssn;
  t.steps += 3;
  if (isNamed) t.add(i, i, 'ssn', 'keyword');
}

export function phone(t: Tokens, i: number): boolean {
  if (!t.isNumber(i + 1, 3) || !t.isNumber(i + 2, 4)) return false;
  const start = t.starts[i] as number;
  const isBracketed = t.code(start - 1) === 40 && t.code(t.ends[i] as number) === 41;
  const between = (t.starts[i + 1] as number) - (t.ends[i] as number);
  const last = t.separatorAfter(i + 1);
  if (last !== DASH && last !== DOT && last !== BLANK) return false;
  const first = t.separatorAfter(i);
  if (isBracketed ? between > 3 : first !== DASH && first !== DOT && first !== BLANK && first !== SLASH) return false;
  const near = t.subjectsNear(i, 6, 4);
  const isNamed = hasAny(near, subject.phone | subject.contact | subject.fax);
  const begins = (at: number) => (t.code(t.starts[at] as number) as number) >= 50;
  const hasPrefix = t.isNumber(i - 1, 1) && t.value(i - 1) === 1;
  const isPossible = begins(i) && begins(i + 1);
  const isOfPatient = isPossible && first === BLANK && last === BLANK && hasAny(near, subject.patient | subject.member);
  const isEvident = isPossible && (isBracketed || (first === last && first !== BLANK) || first === SLASH);
  if (!isNamed && !isEvident && !isOfPatient) return false;
  // A longer chain of numbers is no phone number, except with the prefix `1-`.
  if (!isBracketed && first !== BLANK) {
    if (t.separatorAfter(i + 2) === last && (t.digits[i + 3] as number) > 0 && last !== BLANK) return false;
    if (t.separatorAfter(i - 1) === first && (t.digits[i - 1] as number) > 0 && !hasPrefix && !isNamed) return false;
  }
  const kind = hasAny(near, subject.fax) && !hasAny(near, subject.phone | subject.contact) ? 'fax' : 'phone';
  t.add(hasPrefix ? i - 1 : i, i + 2, kind, isNamed ? 'keyword' : 'shape');
  if (isBracketed && !hasPrefix) (t.found.at(-1) as Finding).start--;
  return true;
}

export function barePhone(t: Tokens, i: number): void {
  if (t.roles[i - 1] === role.technical) return;
  if (called(t, i)) {
    t.add(i, i, 'phone', 'keyword');
    return;
  }
  const near = t.subjectsNear(i, 2, 0);
  if (!hasAny(near, subject.phone | subject.contact | subject.fax)) return;
  t.add(i, i, hasAny(near, subject.fax) ? 'fax' : 'phone', 'keyword');
}

/** Whether a number of ten digits comes after a word such as `called`, up to four words back: `call patient back at`. */
function called(t: Tokens, i: number): boolean {
  const start = t.starts[i] as number;
  if (t.length(i) !== 10 || t.code(start) < 50 || t.code(start + 3) < 50) return false;
  const before = t.roles[i - 1];
  const isLinked = before === role.filler || before === role.call || hasAny(t.subjects[i - 1] as number, LINKS);
  if (!isLinked) return false;
  for (let at = Math.max(0, i - 4); at < i; at++) {
    t.steps++;
    if (t.roles[at] === role.call || hasAny(t.subjects[at] as number, subject.contact)) return true;
  }
  return false;
}
const LINKS = subject.contact | subject.number | subject.patient;

/** Finds the number of a provider: an NPI directly after a word such as `provider`, or `provider id`. */
export function npi(t: Tokens, i: number): void {
  if ((isOfProvider(t, i) || isQualified(t, i)) && isNpi(t.digitsOf(i, i))) t.add(i, i, 'licence', 'checksum');
}

/** Whether `provider` comes before token `i`, up to two words such as `id` back. */
function isOfProvider(t: Tokens, i: number): boolean {
  let at = i - 1;
  while (i - at < 3 && (hasAny(t.subjects[at] as number, subject.id | subject.number) || t.roles[at] === role.state))
    at--;
  return t.roles[at] === role.provider;
}

/** Whether the qualifier of an NPI in X12 comes before token `i`: `XX*`. */
const isQualified = (t: Tokens, i: number): boolean =>
  t.separatorAfter(i - 1) === 42 && t.length(i - 1) === 2 && t.text.startsWith('XX', t.starts[i - 1]);

/** Finds the number of a prescriber at the Drug Enforcement Administration. */
export function dea(t: Tokens, i: number): void {
  if (isOfProvider(t, i) && isDea(t.text.slice(t.starts[i], t.ends[i]))) t.add(i, i, 'licence', 'checksum');
}

/** Finds a phone number in groups that begins with a zero, after a word such as `contact`: `01 42 68 53 00`. */
export function national(t: Tokens, i: number): void {
  if (i + 1 >= t.count || t.digits[i + 1] === 0 || (t.digits[i - 1] as number) > 0) return;
  let isNamed = false;
  for (let at = Math.max(0, i - 4); at < i; at++)
    isNamed ||=
      t.roles[at] === role.call || hasAny(t.subjects[at] as number, subject.phone | subject.contact | subject.fax);
  t.steps += 4;
  if (!isNamed) return;
  let digits = t.digits[i] as number;
  let last = i;
  let isSerial = true; // Each group begins with a zero, as in a row of numbers.
  while (last - i < 5 && last + 1 < t.count && t.digits[last + 1] === t.length(last + 1)) {
    const gap = t.text.slice(t.ends[last], t.starts[last + 1]);
    if (!/^(?:[ ./-]|\) ?| [/-] )$/.test(gap)) break;
    digits += t.digits[++last] as number;
    if (t.code(t.starts[last] as number) !== 48) isSerial = false;
  }
  if (digits >= 9 && digits <= 12 && !isSerial) t.add(i, last, 'phone', 'keyword');
}

/** Finds a phone number with `+` and 8 to 15 digits in groups. */
export function international(t: Tokens, i: number): void {
  const before = t.code((t.starts[i] as number) - 2);
  if (before < 128 && classes[before] !== SEPARATOR) return;
  let digits = t.digits[i] as number;
  let last = i;
  while (last - i < 6 && last + 1 < t.count) {
    const next = last + 1;
    const width = (t.starts[next] as number) - (t.ends[last] as number);
    const separator = plainSeparator(t.code(t.ends[last] as number));
    if (
      width > 2 ||
      !(separator === BLANK || separator === DASH || separator === DOT || separator === 40 || separator === 41)
    )
      break;
    const more = t.digits[next] as number;
    if (more !== t.length(next) || digits + more > 15) break;
    digits += more;
    last = next;
  }
  t.steps += last - i;
  if (digits >= 8 && digits <= 15) t.add(i, last, 'phone', 'shape');
}

/** Finds a card number in groups: four groups of four digits, or 4-6-5 digits (American Express). */
export function card(t: Tokens, i: number): boolean {
  const separator = t.separatorAfter(i);
  if (separator !== DASH && separator !== BLANK && separator !== DOT) return false;
  let last = i;
  if (t.isNumber(i + 1, 6) && (t.isNumber(i + 2, 5) || t.isNumber(i + 2, 4))) last = i + 2;
  else if (t.isNumber(i + 1, 4) && t.isNumber(i + 2, 4) && t.isNumber(i + 3, 4)) last = i + 3;
  // Diners Club: 4-4-4-2 digits.
  else if (t.isNumber(i + 1, 4) && t.isNumber(i + 2, 4) && t.isNumber(i + 3, 2) && t.code(t.starts[i] as number) === 51)
    last = i + 3;
  else return false;
  for (let at = i; at < last; at++) if (t.separatorAfter(at) !== separator) return false;
  if (t.continues(i, last, separator) && !(separator === BLANK && hasAny(t.subjectsNear(i, 3, 0), subject.card)))
    return false;
  if (!isCard(t.digitsOf(i, last))) return false;
  t.add(i, last, 'account', 'checksum');
  return true;
}

export function bareCard(t: Tokens, i: number): void {
  if (!hasAny(t.subjectsNear(i, 4, 0), subject.card | subject.account)) return;
  if (isCard(t.digitsOf(i, i))) t.add(i, i, 'account', 'checksum');
}

/**
 * Finds a device identifier (UDI) as printed on labels: `(01)00844588003288(17)141120(21)1098`. A UDI identifies a
 * single device only with a serial number, `(21)`.
 */
export function udi(t: Tokens, i: number): void {
  const isFirst = t.isNumber(i - 1, 2) && t.value(i - 1) === 1 && t.separatorAfter(i - 1) === CLOSING;
  if (!isFirst || t.code((t.starts[i - 1] as number) - 1) !== OPENING) return;
  let last = i;
  let hasSerial = false;
  while (last - i < 8 && (t.separatorAfter(last) === OPENING || t.separatorAfter(last) === CLOSING)) {
    last++;
    if (t.separatorAfter(last) === CLOSING && t.isNumber(last, 2) && t.value(last) === 21) hasSerial = true;
  }
  t.steps += last - i;
  if (hasSerial || hasAny(t.subjectsNear(i - 1, 4, 0), subject.hardware | subject.device))
    t.add(i - 1, last, 'device', 'shape');
}

/** The form of a VIN without a check digit, as in Europe. */
const VIN = /^(?=.*\d)(?=.*[A-Z])[A-HJ-NPR-Z0-9]{17}$/i;

/** Finds an identifier in one token: a VIN, a Medicare number. */
export function coded(t: Tokens, i: number, length: number): void {
  const start = t.starts[i] as number;
  const before = t.code(start - 1);
  const after = t.code(t.ends[i] as number);
  if (before === DASH || after === DASH || (before < 128 && classes[before] !== SEPARATOR)) return;
  const text = t.text.slice(start, t.ends[i]);
  if (length === 17 && isVin(text)) t.add(i, i, 'vehicle', 'checksum');
  else if (length === 17 && VIN.test(text) && hasAny(t.subjectsNear(i, 6, 3), subject.vin))
    t.add(i, i, 'vehicle', 'keyword');
  else if (length === 11 && isMbi(text)) t.add(i, i, 'plan', 'shape');
}

/** Finds a Medicare number in groups, or an IBAN with or without blanks. */
export function spaced(t: Tokens, i: number, length: number, digits: number): void {
  const start = t.starts[i] as number;
  if (length === 4 && digits >= 2 && t.length(i + 1) === 3 && t.length(i + 2) === 4 && i + 2 < t.count) {
    const separator = t.separatorAfter(i);
    if ((separator === DASH || separator === BLANK) && separator === t.separatorAfter(i + 1)) {
      const text = t.text.slice(start, t.ends[i + 2]);
      const isLonger = separator === DASH && (t.separatorAfter(i - 1) === DASH || t.separatorAfter(i + 2) === DASH);
      if (!isLonger && isMbi(text.split(text[4] as string).join(''))) t.add(i, i + 2, 'plan', 'shape');
    }
  }
  if (length < 4 || length > 34) return;
  if (classes[t.code(start + 2)] !== DIGIT || classes[t.code(start + 3)] !== DIGIT) return;
  if ((classes[t.code(start)] as number) < LOWER || (classes[t.code(start + 1)] as number) < LOWER) return;
  const isUpper = classes[t.code(start)] === UPPER && classes[t.code(start + 1)] === UPPER;
  if (!isUpper && !hasAny(t.subjectsNear(i, 2, 0), subject.bank)) return;
  const part = (first: number, end: number) =>
    isUpper ? t.text.slice(first, end) : t.text.slice(first, end).toUpperCase();
  let text = part(start, t.ends[i] as number);
  if (isIban(text)) {
    t.add(i, i, 'account', 'checksum');
    return;
  }
  if (length !== 4) return;
  const separator = t.separatorAfter(i);
  if (separator !== BLANK && separator !== DASH) return;
  let found = -1;
  for (let last = i + 1; last < t.count && last < i + 9; last++) {
    if (t.separatorAfter(last - 1) !== separator || t.length(last) > 4) break;
    text += part(t.starts[last] as number, t.ends[last] as number);
    t.steps++;
    // The longest match wins: one prefix in 97 passes the checksum by chance.
    if (isIban(text)) found = last;
    if (t.length(last) < 4) break;
  }
  if (found > 0) t.add(i, found, 'account', 'checksum');
}

/** Finds a keyword and its value in one token: `MRN12345678`, `SSN219-09-9999`. */
export function joined(t: Tokens, i: number, first: number): void {
  const bits = t.subjects[i] as number;
  if (!hasAny(bits, subject.mrn | subject.ssn | subject.birth)) return;
  let digits = first;
  let last = i;
  while (
    last - i < 3 &&
    (t.separatorAfter(last) === DASH || t.separatorAfter(last) === SLASH) &&
    t.digits[last + 1] === t.length(last + 1)
  ) {
    digits += t.digits[++last] as number;
  }
  if (hasAny(bits, subject.mrn) && digits >= 4) t.add(i, last, 'mrn', 'keyword');
  else if (hasAny(bits, subject.ssn) && digits >= 9) t.add(i, last, 'ssn', 'keyword');
  else if (hasAny(bits, subject.birth) && digits >= 6) t.add(i, last, 'date', 'keyword');
}
