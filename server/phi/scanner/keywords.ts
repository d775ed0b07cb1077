/**
 * The words that tell what a value beside them is. Context words and checksums follow the lists that Microsoft Presidio
 * publishes (https://github.com/microsoft/presidio, MIT), with those that fire in operational logs left out or made to
 * ask for a second word. Words are looked up by a hash that the tokeniser computes as it goes, so that the hot path
 * allocates nothing.
 */

/** What a word is about; a phrase is the union of its words. */
export const about = {
  ssn: 1 << 0,
  phone: 1 << 1,
  contact: 1 << 2,
  fax: 1 << 3,
  email: 1 << 4,
  mrn: 1 << 5,
  medical: 1 << 6,
  record: 1 << 7,
  patient: 1 << 8,
  encounter: 1 << 9,
  member: 1 << 10,
  insurance: 1 << 11,
  plan: 1 << 12,
  policy: 1 << 13,
  account: 1 << 14,
  bank: 1 << 15,
  card: 1 << 16,
  licence: 1 << 17,
  /** Makes a licence a person's: driver's, passport, NPI. */
  personal: 1 << 18,
  vin: 1 << 19,
  plate: 1 << 20,
  device: 1 << 21,
  serial: 1 << 22,
  /** IMEI, UDI, MAC: a device by itself. */
  hardware: 1 << 23,
  birth: 1 << 24,
  /** Admitted, discharged: a date near it is a person's. */
  stay: 1 << 25,
  id: 1 << 26,
  number: 1 << 27,
  name: 1 << 28,
  address: 1 << 29,
  zip: 1 << 30,
} as const;

/** How a word behaves inside a phrase. */
export const role = {
  none: 0,
  /** May stand between a keyword and its value. */
  filler: 1,
  month: 2,
  /** An abbreviated month, or one that is a word as well. */
  shortMonth: 3,
  title: 4,
  /** Makes what follows a thing of computers: an account at a cloud, a certificate's serial number. */
  technical: 5,
  /** Whose name or number it is: first, home, mother's. A filler too. */
  person: 6,
  /** A type or a blank rather than a value. */
  placeholder: 7,
  /** Makes a plan or a policy one of machines. */
  machine: 8,
} as const;

const a = about;
const words: readonly (readonly [string, bits: number, role?: number])[] = [
  ['ssn ssns soc socialsecurity socialsecuritynumber ssnnumber social itin nino aadhaar nas', a.ssn],
  ['ss', a.ssn | a.card], // Only with a number sign; see `scan.ts`.
  ['phone phones telephone tel mobile cellphone phonenumber phonenum telephonenumber mobilenumber whatsapp', a.phone],
  ['homephone workphone cellnumber phoneno', a.phone],
  ['cell contact sms callback', a.contact],
  ['emergencycontact', a.contact | a.name, role.person],
  ['fax faxes facsimile faxnumber faxno', a.fax],
  ['email emails mail mailto emailaddress', a.email],
  ['mrn mrns mrnumber medrec medicalrecordnumber medicalrecordno medicalrecord mrnnumber medicalrecordid', a.mrn],
  ['medical med health healthcare hospital clinic clinical emr ehr', a.medical],
  ['record records rec', a.record],
  ['chart', a.record | a.encounter],
  ['patient patients', a.patient],
  ['pt', a.encounter], // Also a preferred term of MedDRA, and physiotherapy: only with a number sign.
  ['patientid patientidentifier patientno patientnumber ptid patid', a.patient | a.id],
  ['encounter encounters', a.encounter],
  ['encounterid', a.encounter | a.id],
  ['member subscriber beneficiary enrollee insured policyholder cardholder', a.member],
  ['memberid subscriberid beneficiaryid enrolleeid membernumber subscribernumber memberno', a.member | a.id],
  [
    'insurance insur ins insurer insurers medicare medicaid hicn mbi hmo ppo payer tricare medigap healthplan',
    a.insurance,
  ],
  ['insuranceid insurancenumber medicareid medicaidid medicarenumber medicaidnumber mbn nhs', a.insurance | a.id],
  ['healthplanid healthplannumber healthplanbeneficiarynumber insurancepolicynumber', a.insurance | a.id],
  ['plan', a.plan],
  ['planid plannumber', a.plan | a.id],
  ['policy', a.policy],
  ['policynumber policyno policynum policyid', a.policy | a.id],
  ['account acct accts', a.account],
  ['accountnumber acctnumber acctno accountno accountnum acctnum accountnr', a.account | a.number],
  ['accountid acctid', a.account | a.id],
  ['bank routing aba checking savings guarantor billing iban swift', a.bank],
  ['bankaccount', a.bank | a.account],
  ['routingnumber', a.bank | a.number],
  ['card visa mastercard amex credit debit creditcard ccnumber cardnumber pan', a.card],
  ['license licence lic licenses', a.licence],
  ['licensenumber licencenumber licenseno licno licensenum', a.licence | a.number],
  ['licenseid licenceid', a.licence | a.id],
  ['driver drivers driving', a.personal],
  [
    'dl passport passports dea npi driverslicense driverlicense driverslicence passportnumber npinumber',
    a.licence | a.personal,
  ],
  ['nationalprovideridentifier driverslicensenumber driverlicensenumber deanumber passportno', a.licence | a.personal],
  ['vin vins vinnumber chassis vehicle vehicleid vehicleidentificationnumber', a.vin],
  ['plate plates licenseplate licenceplate platenumber', a.plate],
  ['device devices implant pacemaker pump defibrillator prosthesis glucometer ventilator', a.device],
  ['deviceid deviceidentifier', a.device | a.id],
  ['deviceserial deviceserialnumber', a.device | a.serial],
  ['serial sn', a.serial],
  ['serialnumber serialno', a.serial | a.number],
  ['imei meid imsi iccid udi udid mac macs macaddress hardware', a.hardware],
  ['dob bday birthdate birthday dateofbirth born birth birthdt birthdatetime', a.birth],
  ['admitted admit discharged discharge deceased died death', a.stay],
  ['admissiondate admitdate dischargedate deathdate dateofdeath dod admissiondt dischargedt', a.stay],
  ['dateofservice servicedate visitdate dos', a.stay],
  ['id ids identifier ident identification code identifiers', a.id],
  ['number numbers no num nr nbr', a.number],
  ['name names', a.name],
  ['patientname ptname subscribername membername insuredname guarantorname', a.name, role.person],
  ['firstname lastname givenname familyname middlename maidenname surname fname lname fullname', a.name, role.person],
  ['forename nextofkin mothersmaidenname', a.name, role.person],
  ['address addr street streetaddress addressline homeaddress mailingaddress residence', a.address],
  ['zip zipcode postcode postalcode postal', a.zip],
  [
    'is was are were the of for her his their its my our your s value with under on in as to a an it and new',
    0,
    role.filler,
  ],
  [
    'text system type use string from issue includes using ending last4 listed claim sec date dt show shows',
    0,
    role.filler,
  ],
  ['security associated assigned current eq equals key valued valuestring', 0, role.filler],
  ['first last given middle maiden family mother mothers father spouse guardian full legal', 0, role.person],
  [
    'home work primary secondary personal preferred emergency daytime evening business customer person client',
    0,
    role.filler,
  ],
  [
    'provider physician doctor parent employee individual responsible party kin next old previous original raw',
    0,
    role.filler,
  ],
  ['src line holder alt alternate main permanent mailing residential', 0, role.filler],
  [
    'aws gcp azure cloud iam storage service x509 certificate cert tls ssl version build release zone',
    0,
    role.technical,
  ],
  ['redis disk nvme ssd etcd tenant tag', 0, role.technical],
  ['query execution explain terraform backup retention rollout deployment test', 0, role.machine],
  ['january february april june july august september october november december', 0, role.month],
  ['jan feb mar apr may jun jul aug sep sept oct nov dec march', 0, role.shortMonth],
  ['mr mrs ms dr', 0, role.title],
  ['null none undefined unknown varchar required missing invalid true false empty nil', 0, role.placeholder],
  ['redacted masked hidden removed na anonymous deidentified not must cannot column field', 0, role.placeholder],
];

/** The hash that the tokeniser computes; ASCII letters count without case. */
export const hashStart = 7;
export const hashNext = (hash: number, code: number): number => (Math.imul(hash, 31) + (code | 32)) | 0;
export function hashOf(word: string): number {
  let hash = hashStart;
  for (let i = 0; i < word.length; i++) hash = hashNext(hash, word.charCodeAt(i));
  return hash;
}

const SLOTS = 4_096;
const hashes = new Int32Array(SLOTS);
const bitsOf = new Int32Array(SLOTS);
const roleOf = new Uint8Array(SLOTS);
const slotOf = (hash: number): number => {
  let slot = (hash ^ (hash >>> 15)) & (SLOTS - 1);
  while (hashes[slot] !== 0 && hashes[slot] !== hash) slot = (slot + 1) & (SLOTS - 1);
  return slot;
};
for (const [list, bits, kind = role.none] of words) {
  for (const word of list.split(' ')) {
    const hash = hashOf(word);
    const slot = slotOf(hash);
    hashes[slot] = hash;
    bitsOf[slot] = bits;
    roleOf[slot] = kind;
  }
}

/** Where the word of a hash stands in the tables; an unknown one at a place that says nothing. */
export const wordAt = slotOf;
export const wordBits = bitsOf;
export const wordRole = roleOf;
