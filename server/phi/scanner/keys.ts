import { kindOfKey } from '../key-values.ts';
import { BLANK, COLON, classes, DASH, DOT, EQUALS, hasAny, LOWER, UNDERSCORE } from './char-classes.ts';
import { classify, PERSON, STRONG } from './classify.ts';
import { hashOf, hashStart, role, subject, wordAt, wordRole, wordSubjects } from './keywords.ts';
import type { Tokens } from './tokens.ts';

/** Reads keys: those of objects, and those before a value in a text, as in `{"address.line": "…"}` or `person_id=…`. */

/** Tokens of a key that are read, and characters of its value. */
const KEY_TOKENS = 8;
const VALUE_LENGTH = 100;

/** Fields of HL7 v2 about a person, by segment: the keyword with the meaning of the field of each number. */
const HL7_FIELDS: Readonly<Record<string, Readonly<Record<number, string>>>> = {
  PID: {
    2: 'patientid',
    3: 'patientid',
    4: 'patientid',
    5: 'patientname',
    6: 'mothersmaidenname',
    7: 'dob',
    9: 'patientname',
    11: 'homeaddress',
    13: 'homephone',
    14: 'workphone',
    18: 'accountnumber',
    19: 'ssn',
    20: 'driverslicense',
    21: 'patientid',
    29: 'deathdatetime',
  },
  PV1: { 5: 'visitnumber', 19: 'visitnumber', 44: 'admitdatetime', 45: 'dischargedatetime', 50: 'visitnumber' },
  NK1: { 2: 'nextofkinname', 4: 'homeaddress', 5: 'homephone', 6: 'workphone' },
  IN1: { 16: 'insuredname', 18: 'dob', 19: 'homeaddress', 36: 'policynumber', 49: 'memberid' },
  GT1: { 3: 'guarantorname', 5: 'homeaddress', 6: 'homephone', 7: 'workphone', 8: 'dob', 12: 'ssn' },
  MRG: { 1: 'patientid', 3: 'accountnumber', 5: 'visitnumber', 7: 'patientname' },
};

/**
 * Gives the number of a field of HL7 v2, as in `PID-3` and `PV1.19.1`, the subjects of its keyword. `i` is the segment.
 * In a key, its letters may be small ones.
 */
export function hl7Field(t: Tokens, i: number, isKey = false): void {
  const separator = t.separatorAfter(i);
  if (separator !== DASH && separator !== DOT && !(isKey && separator === UNDERSCORE)) return;
  if (t.length(i + 1) > 2 || t.digits[i + 1] !== t.length(i + 1)) return;
  const segment = t.text.slice(t.starts[i], t.ends[i]);
  const word = HL7_FIELDS[isKey ? segment.toUpperCase() : segment]?.[t.value(i + 1)];
  if (word === undefined) return;
  let last = i + 1;
  while (last - i < 4 && t.separatorAfter(last) === DOT && t.digits[last + 1] === 1 && t.length(last + 1) === 1) last++;
  const slot = wordAt(hashOf(word));
  t.subjects[last] = wordSubjects[slot] as number;
  if (wordRole[slot] === role.person) t.subjects[last] = (t.subjects[last] as number) | PERSON;
  t.roles[last] = role.field;
}

/**
 * The subject bits of a key: the union over the known words at its end. 0 if the last word is unknown, as in
 * `memberCount`. Its last two to four words are also looked up as one word: `admissionDate`.
 */
export function wordsOfKey(t: Tokens, first: number, last: number): number {
  let bits = 0;
  for (let i = last; i >= first; i--) {
    const own = t.subjects[i] as number;
    const kind = t.roles[i] as number;
    const isNumber = t.digits[i] === t.length(i) && kind !== role.field;
    if (own === 0 && kind !== role.filler && kind !== role.person && !(isNumber && t.length(i) < 3)) {
      if (kind === role.technical || kind === role.count) return 0;
      break;
    }
    if (kind === role.person) bits |= PERSON;
    bits |= own;
  }
  bits |= joinedWords(t, first, last);
  // A number under `patients` is a count.
  return t.roles[last] === role.plural ? bits & ~COUNTED : bits;
}

const COUNTED = subject.patient | subject.member | subject.encounter;

/** The subject bits of the last two, three and four words, each time as one word. Computes the hashes from the end. */
function joinedWords(t: Tokens, first: number, last: number): number {
  let bits = 0;
  let sum = 0;
  let power = 1;
  const from = Math.max(first, last - 3);
  for (let i = last; i >= from; i--) {
    for (let at = (t.ends[i] as number) - 1; at >= (t.starts[i] as number); at--) {
      const code = t.text.charCodeAt(at);
      if (code >= 128 || (classes[code] as number) < LOWER) continue;
      sum = (sum + Math.imul(code | 32, power)) | 0;
      power = Math.imul(power, 31);
    }
    if (i === last && first < last) continue;
    const slot = wordAt((Math.imul(hashStart, power) + sum) | 0);
    bits |= (wordSubjects[slot] as number) | (wordRole[slot] === role.person ? PERSON : 0);
  }
  t.steps += (t.ends[last] as number) - (t.starts[from] as number);
  return bits;
}

/** Finds the value of a key in a text. `last` is the last token before a colon or an equals sign. */
export function keyed(t: Tokens, last: number): void {
  let end = t.ends[last] as number;
  if (t.code(end) === 92) end++;
  const quote = t.code(end);
  const isQuoted = quote === 34 || quote === 39;
  let first = last;
  while (first > 0 && last - first < KEY_TOKENS && isJoint(t, first)) first--;
  if (isQuoted ? t.code((t.starts[first] as number) - 1) !== quote : first === last) return;
  const bits = wordsOfKey(t, first, last);
  if (bits === 0) return;
  const value = valueAfterKey(t, isQuoted ? end + 1 : end);
  if (value === undefined) return;
  const text = t.text.slice(value.start, value.end);
  t.steps += text.length;
  if (isQuoted) {
    const kind = kindOfKey(bits, text);
    if (kind) t.found.push({ ...value, kind, rule: 'key', isSoft: false });
    return;
  }
  const digits = text.replace(/\D/g, '').length;
  const kind = hasAny(bits, STRONG) && digits >= 3 && /^[\w-]+$/.test(text) && classify(bits, true, text, digits);
  if (kind) t.found.push({ ...value, kind, rule: 'key', isSoft: false });
}

/** Whether a token and the one before it belong to one key: `personId`, `person_id`, `name[0].given`. */
function isJoint(t: Tokens, i: number): boolean {
  const from = t.ends[i - 1] as number;
  const to = t.starts[i] as number;
  if (to - from > 2) return false;
  for (let at = from; at < to; at++) {
    const code = t.text.charCodeAt(at);
    if (code !== UNDERSCORE && code !== DOT && code !== DASH && code !== 91 && code !== 93) return false;
  }
  return true;
}

/** The value after a key that ends at `from`. */
function valueAfterKey(t: Tokens, from: number): { start: number; end: number } | undefined {
  let start = from;
  for (; start - from < 6; start++) {
    const code = t.code(start);
    if (code !== BLANK && code !== COLON && code !== EQUALS && code !== 92) break;
  }
  const quote = t.code(start);
  const isQuoted = quote === 34 || quote === 39;
  if (isQuoted) start++;
  const limit = Math.min(t.text.length, start + VALUE_LENGTH);
  let end = start;
  for (; end < limit; end++) {
    const code = t.text.charCodeAt(end);
    if (isQuoted ? code === quote || code === 92 : ENDS.includes(String.fromCharCode(code))) break;
  }
  // A longer value is no identifier.
  return end === start || (end === limit && limit < t.text.length) ? undefined : { start, end };
}

const ENDS = ' \t\r\n,;&|"\'`()[]{}<>';
