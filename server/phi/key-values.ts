import { classify, PERSON } from './scanner/classify.ts';
import { subject } from './scanner/keywords.ts';
import type { PhiKind } from './scanner/tokens.ts';

/** Decides which kind of identifier a value is, from the words of its key. */

const EMPTY =
  /^(?:n\/?a|none|null|undefined|unknown|redacted|masked|hidden|true|false|string|test|\[.*\]|<.*>|\{.*\}|[*xX#.\-?_ ]+)$/i;

/**
 * The kind of identifier in a value, according to the subjects of its key. Undefined if the value is empty, or has a
 * form that does not fit the key.
 */
export function kindOfKey(words: number, text: string): PhiKind | undefined {
  const value = text.length > 256 ? text.slice(0, 256) : text.trim();
  if (value.length < 2 || EMPTY.test(value)) return undefined;
  let digits = 0;
  for (let i = 0; i < value.length; i++) if (value.charCodeAt(i) >= 48 && value.charCodeAt(i) <= 57) digits++;
  const is = (mask: number) => (words & mask) !== 0;
  if (is(subject.name) && is(PERSON | subject.patient | subject.member)) {
    return /\p{L}/u.test(value) && !/[/\\:=<>{}@_]/.test(value) && !isUuid(value) ? 'name' : undefined;
  }
  if (is(subject.name) && !is(subject.contact)) return undefined;
  if (is(subject.email)) return value.includes('@') ? 'email' : undefined;
  // The column `DRIVERS` of Synthea.
  if (is(subject.personal) && !is(subject.licence)) return /^[A-Z]\d{7,12}$/.test(value) ? 'licence' : undefined;
  if (is(subject.zip)) return /^[A-Z\d][A-Z\d -]{2,9}$/i.test(value) && digits > 1 ? 'zip' : undefined;
  if (is(subject.address) && !is(subject.hardware)) {
    return digits > 0 && /^[\dA-Z#][\w.#'-]*(?:,? +[\w.,#'-]+)+$/i.test(value) ? 'address' : undefined;
  }
  // A key `account` names a cloud account too. Its number has 12 digits.
  if (is(subject.account) && !is(subject.number | subject.bank | subject.card) && /^\d{12,13}$/.test(value))
    return undefined;
  if (is(subject.stay) && digits >= 6) return 'date';
  if (is(subject.contact) && digits >= 7 && digits <= 15 && /^[+\d][\d ().-]+$|^\(/.test(value)) return 'phone';
  return digits >= 2 ? classify(words, true, value, digits) : undefined;
}

export function isUuid(text: string): boolean {
  if (text.length !== 36) return false;
  for (let i = 0; i < 36; i++) {
    const code = text.charCodeAt(i);
    const isDash = i === 8 || i === 13 || i === 18 || i === 23;
    const isHex = (code >= 48 && code <= 57) || ((code | 32) >= 97 && (code | 32) <= 102);
    if (isDash ? code !== 45 : !isHex) return false;
  }
  return true;
}

/** From identifier types of HL7 v2 to keys: https://terminology.hl7.org/CodeSystem-v2-0203.html */
export const IDENTIFIER_TYPES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    MR: 'mrn',
    PI: 'patientId',
    PT: 'patientId',
    SS: 'ssn',
    DL: 'driversLicense',
    PPN: 'passport',
    MB: 'memberId',
    SN: 'subscriberNumber',
    MC: 'medicareId',
    MA: 'medicaidId',
    AN: 'accountNumber',
  }),
);
