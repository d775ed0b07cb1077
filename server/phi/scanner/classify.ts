import { hasAny } from './char-classes.ts';
import { subject } from './keywords.ts';
import type { PhiKind } from './tokens.ts';

/** Decides which kind of identifier a value is, from keywords (`keywords.ts`) before the value or in its key. */

/** A bit beside those of {@link subject}: a word such as `first` or `mother` shows that a name is a person's. */
export const PERSON = 1 << 31;

/** Weak subjects: they decide the kind of a value only together with a strong one. All other subjects are strong. */
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
const ISO_DATE = /^(?:19|20)\d\d-?[01]\d-?[0-3]\d(?:$|[T ]|[._-][a-z])/;
/** A locally administered MAC address identifies no hardware. Bit 1 of its first byte is set. */
const LOCAL_MAC = /^[0-9a-f][26ae][:-](?:[0-9a-f]{2}[:-]){4}[0-9a-f]{2}$/i;
const MAC = /^[0-9a-f]{2}(?:[:-]?[0-9a-f]{2}){5}$/i;
/** Numbers of computers: hexadecimal ones, identifiers on a bus, resolutions. */
const MACHINE = /^(?:0[xX][0-9A-Fa-f]+|[0-9A-Fa-f]{4}:[0-9A-Fa-f]{4}|\d+x\d+)$/;
/** The billing account of a cloud. */
const BILLING = /^[0-9A-F]{6}(?:-[0-9A-F]{6}){2}$/;
/** Accessions of public sequence archives. */
const SEQUENCE = /^(?:[EDS]R[APRSXZ]|GS[EM]|GC[AF]|PRJ|SAM|[NX][CGMPRT]_?|ENS|rs)[A-Z]{0,4}_?\d/;
/** Member numbers of insurers: letters, then digits. */
const MEMBER = /^[A-Z]{1,4}\d{6,12}[A-Z]?$/;
/** A plate of a car. A letter and many digits, as `P00000481`, is a plate of a laboratory. */
const PLATE = /^(?=.*\d)(?=.*[A-Z])(?![A-Z]-?\d{5,}$)[A-Z0-9][A-Z0-9 -]{3,8}$/;
const TICKET = /^[A-Z]{2,6}-\d{1,5}$/;
const LONG_NUMBER = /^\d{7,12}$/;
const VERSION = /^v?\d{1,3}(?:\.\d{1,5}){1,3}$/;

/**
 * Returns the kind of the value `text`; undefined if its keywords do not make it an identifier.
 *
 * - `bits`: the subjects of the keywords
 * - `isAssigned`: a colon, an equals sign or a key comes before the value
 * - `digits`: the number of digits in the value
 * - `isCount`: a unit comes after the value
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
    const isSign = (bits & (subject.ssn | subject.card)) === (subject.ssn | subject.card); // As in `SS#`.
    if (isSign ? digits >= 7 && (isNumbered || (isAssigned && digits === 9)) : digits >= 4 && !ISO_DATE.test(text))
      return 'ssn';
  }
  if (UUID.test(text) || ULID.test(text) || ISO_DATE.test(text) || isCount) return undefined;
  if (hasAny(bits, subject.mrn)) return 'mrn';
  if (hasAny(bits, subject.hardware) && hasAny(bits, subject.address))
    return MAC.test(text) && !LOCAL_MAC.test(text) ? 'device' : undefined;
  if (hasAny(bits, subject.hardware) && digits >= 6) return LOCAL_MAC.test(text) ? undefined : 'device';
  if (hasAny(bits, subject.vin) && digits >= 4 && /^[A-Z0-9]{11,17}$/i.test(text)) return 'vehicle';
  if (/^\d{4}$/.test(text) && /^(?:19|20)/.test(text) && !isNumbered) return undefined;
  if (hasAny(bits, subject.fax) && digits >= 7 && digits <= 15) return 'fax';
  if (hasAny(bits, subject.phone) && digits >= 7 && digits <= 15) return 'phone';
  if (LONG_HEX.test(text) && !/^\d+$/.test(text)) return undefined;
  // A short number without a word such as `id` is no plan: `ins: 1203` is a count of insertions.
  const least = isNumbered ? 3 : digits < text.length ? 4 : 6;
  if (hasAny(bits, subject.insurance) && digits >= least && !VERSION.test(text)) return 'plan';
  // A short or a plain number may be that of a subscriber to a queue, or of a policy of access.
  if (hasAny(bits, subject.member) && isNumbered && (digits >= 6 || (digits >= 4 && digits < text.length)))
    return 'plan';
  if (hasAny(bits, subject.member) && (isAssigned ? digits >= 6 : MEMBER.test(text))) return 'plan';
  if (hasAny(bits, subject.plan) && digits >= 4 && hasAny(bits, subject.medical | subject.policy)) return 'plan';
  const isPlain = hasAny(bits, subject.id) && !hasAny(bits, subject.number) && digits === text.length;
  if (hasAny(bits, subject.plan | subject.policy) && isNumbered && digits >= 5 && !TICKET.test(text) && !isPlain)
    return 'plan';
  if (hasAny(bits, subject.policy) && !isPlain && digits >= 5 && /^[A-Z]{0,4}-?\d+$/.test(text)) return 'plan';
  if (hasAny(bits, subject.licence)) {
    if (hasAny(bits, subject.personal) && digits >= 5) return 'licence';
    if (hasAny(bits, subject.plate)) return 'vehicle';
    if (digits >= 4 && (isNumbered || isAssigned || digits >= 5) && !TICKET.test(text) && !text.includes('.'))
      return 'licence';
  }
  if (hasAny(bits, subject.plate) && PLATE.test(text) && (isNumbered || /^[A-Z0-9]{6,8}$/.test(text))) return 'vehicle';
  if (MACHINE.test(text) || SEQUENCE.test(text) || BILLING.test(text)) return undefined;
  // No device without a word for number: `serial: 2024010101` is of a DNS zone, `sn=17` of a counter.
  const isSerial = hasAny(bits, subject.number | subject.device) || (isAssigned && /[A-Z]/.test(text));
  if (hasAny(bits, subject.serial) && digits >= 4 && isSerial) return 'device';
  if (hasAny(bits, subject.device) && isNumbered && digits >= 4) return 'device';
  if (hasAny(bits, subject.account)) {
    // An id of 12 digits is that of a cloud account.
    const isCloud =
      /^\d{12,13}$/.test(text) && hasAny(bits, subject.id) && !hasAny(bits, subject.number | subject.bank);
    if (!isCloud && digits >= (isNumbered || isAssigned || hasAny(bits, subject.bank) ? 5 : 6)) return 'account';
  }
  if (
    hasAny(bits, subject.bank) &&
    digits >= 8 &&
    (isNumbered || /^\d{9}$/.test(text) || (isAssigned && /^\d{10,17}$/.test(text)))
  )
    return 'account';
  if (hasAny(bits, subject.patient) && (isNumbered || hasAny(bits, subject.record))) return 'mrn';
  if (hasAny(bits, subject.medical) && (hasAny(bits, subject.record) || (isNumbered && digits >= 4))) return 'mrn';
  // A longer number is one of a system: `encounter 500192837`, `pt 4401928`.
  if (
    hasAny(bits, subject.encounter) &&
    (isNumbered ? digits >= 4 : !hasAny(bits, subject.record) && LONG_NUMBER.test(text))
  )
    return 'mrn';
  if (hasAny(bits, subject.patient) && digits >= 5) return 'mrn';
  return undefined;
}
