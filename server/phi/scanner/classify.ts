import { hasAny } from './char-classes.ts';
import { subject } from './keywords.ts';
import type { PhiKind } from './tokens.ts';

/** Decides from the keywords of a value, in the text before it or in its key, which kind of identifier the value is. */

/** A bit beside those of {@link subject}: a word such as `first` or `mother` belongs to a person. */
export const PERSON = 1 << 31;

/** Subjects that identify a kind only together with a strong one. */
const WEAK =
  subject.id |
  subject.number |
  subject.record |
  subject.name |
  subject.address |
  subject.zip |
  subject.contact |
  subject.email |
  subject.stay |
  subject.personal |
  PERSON;
export const STRONG = ~WEAK;

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/i;
const LONG_HEX = /^(?:[0-9a-f]{16,}$|(?:[0-9a-f]{2}:){3})/i;
const ULID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/;
const ISO_DATE = /^(?:19|20)\d\d-?[01]\d-?[0-3]\d(?:$|[T ])/;
/** Bit 1 of the first byte marks a locally administered MAC address. */
const LOCAL_MAC = /^[0-9a-f][26ae][:-](?:[0-9a-f]{2}[:-]){4}[0-9a-f]{2}$/i;
/** Member numbers of insurers: letters, then digits. */
const MEMBER = /^[A-Z]{1,4}\d{6,12}[A-Z]?$/;
const TICKET = /^[A-Z]{2,6}-\d{1,5}$/;
const VERSION = /^v?\d{1,3}(?:\.\d{1,5}){1,3}$/;

/**
 * The kind of a value; undefined when its keywords do not make it an identifier. `bits` are the subjects of the keywords.
 * `isAssigned`: a colon, an equals sign or a key leads to the value. `digits`: digits in `text`. `isCount`: a unit follows.
 */
export function classify(
  bits: number,
  isAssigned: boolean,
  text: string,
  digits: number,
  isCount = false,
): PhiKind | undefined {
  if (hasAny(bits, subject.birth)) return digits >= 4 && !(digits === 4 && text.length === 4) ? 'date' : undefined;
  const isNumbered = hasAny(bits, subject.id | subject.number);
  if (hasAny(bits, subject.ssn)) {
    const isSign = (bits & (subject.ssn | subject.card)) === (subject.ssn | subject.card); // `SS#`
    if (isSign ? digits >= 7 && isNumbered : digits >= 4 && !ISO_DATE.test(text)) return 'ssn';
  }
  if (UUID.test(text) || ULID.test(text) || ISO_DATE.test(text) || isCount) return undefined;
  if (hasAny(bits, subject.mrn)) return 'mrn';
  if (hasAny(bits, subject.hardware) && digits >= 6) return LOCAL_MAC.test(text) ? undefined : 'device';
  if (hasAny(bits, subject.vin) && digits >= 4 && /^[A-Z0-9]{11,17}$/i.test(text)) return 'vehicle';
  if (/^\d{4}$/.test(text) && /^(?:19|20)/.test(text) && !isNumbered) return undefined;
  if (hasAny(bits, subject.fax) && digits >= 7 && digits <= 15) return 'fax';
  if (hasAny(bits, subject.phone) && digits >= 7 && digits <= 15) return 'phone';
  if (LONG_HEX.test(text) && !/^\d+$/.test(text)) return undefined;
  // `ins: 1203` is a count of insertions.
  const least = isNumbered ? 3 : digits < text.length ? 4 : 6;
  if (hasAny(bits, subject.insurance) && digits >= least && !VERSION.test(text)) return 'plan';
  if (hasAny(bits, subject.member) && isNumbered && digits >= 4) return 'plan';
  if (hasAny(bits, subject.member) && (isAssigned ? digits >= 6 : MEMBER.test(text))) return 'plan';
  if (hasAny(bits, subject.plan) && digits >= 4 && hasAny(bits, subject.medical | subject.policy)) return 'plan';
  if (hasAny(bits, subject.plan | subject.policy) && isNumbered && digits >= 5 && !TICKET.test(text)) return 'plan';
  if (hasAny(bits, subject.policy) && digits >= 5 && /^[A-Z]{0,4}-?\d+$/.test(text)) return 'plan';
  if (hasAny(bits, subject.licence)) {
    if (hasAny(bits, subject.personal) && digits >= 5) return 'licence';
    if (hasAny(bits, subject.plate)) return 'vehicle';
    if (digits >= 4 && (isNumbered || isAssigned || digits >= 5) && !TICKET.test(text) && !text.includes('.'))
      return 'licence';
  }
  if (hasAny(bits, subject.plate) && isNumbered && /^[A-Z0-9][A-Z0-9 -]{3,8}$/.test(text) && /[A-Z]/.test(text))
    return 'vehicle';
  // `serial: 2024010101` is of a name server, `sn=17` of a counter.
  const isSerial = hasAny(bits, subject.number | subject.device) || (isAssigned && /[A-Z]/.test(text));
  if (hasAny(bits, subject.serial) && digits >= 4 && isSerial) return 'device';
  if (hasAny(bits, subject.device) && isNumbered && digits >= 4) return 'device';
  if (hasAny(bits, subject.account)) {
    // Cloud accounts have 12 digits.
    const isCloud = /^\d{12,13}$/.test(text) && !hasAny(bits, subject.number | subject.bank | subject.card);
    if (!isCloud && digits >= (isNumbered || isAssigned || hasAny(bits, subject.bank) ? 5 : 6)) return 'account';
  }
  if (hasAny(bits, subject.bank) && digits >= 8 && (isNumbered || /^\d{9}$/.test(text))) return 'account';
  if (hasAny(bits, subject.patient) && (isNumbered || hasAny(bits, subject.record))) return 'mrn';
  if (hasAny(bits, subject.medical) && (hasAny(bits, subject.record) || (isNumbered && digits >= 4))) return 'mrn';
  if (hasAny(bits, subject.encounter) && isNumbered && digits >= 4) return 'mrn';
  if (hasAny(bits, subject.patient) && digits >= 5) return 'mrn';
  return undefined;
}
