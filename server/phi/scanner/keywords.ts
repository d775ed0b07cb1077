/**
 * Keywords: words that show the kind of a value near them. Context words and checksums follow the lists of Microsoft
 * Presidio (https://github.com/microsoft/presidio, MIT). Words that cause false alarms in operational logs are left
 * out, or need a second word. The tokenizer computes a hash of each word while it reads the text, so the lookup
 * allocates nothing.
 */

import { hook, PLACES, SECRET_WORDS, TOKEN_SHAPES } from './secret-words.ts';

/** Bits of the subjects that a word can name. A phrase has the union of its words' bits. */
export const subject = {
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
  /** A licence of a person: driver's licence, passport, NPI. */
  personal: 1 << 18,
  vin: 1 << 19,
  plate: 1 << 20,
  device: 1 << 21,
  serial: 1 << 22,
  /** Names a device without a second word: IMEI, UDI, MAC. */
  hardware: 1 << 23,
  birth: 1 << 24,
  /** Admitted, discharged: a date near it concerns a person. */
  stay: 1 << 25,
  id: 1 << 26,
  number: 1 << 27,
  name: 1 << 28,
  address: 1 << 29,
  zip: 1 << 30,
} as const;

/** The function of a word in a phrase. */
export const role = {
  none: 0,
  /** May come between a keyword and its value. */
  filler: 1,
  month: 2,
  /** An abbreviated month, or a month that is also an ordinary word. */
  shortMonth: 3,
  title: 4,
  /** Makes the keyword after it technical: a cloud account, the serial number of a certificate. */
  technical: 5,
  /** The owner or kind of a name or number: first, home, mother's. Also a filler. */
  person: 6,
  /** A data type or an empty value in the place of a name. */
  placeholder: 7,
  /** Makes the plan or policy after it technical: a query plan, a backup policy. */
  machine: 8,
  /** May come between a keyword and its value, and is no name: not found, invalid, changed. */
  state: 9,
  /** A number after it is that of a telephone: called, voicemail. */
  call: 10,
  /** A filler with a provider's number after it. */
  provider: 11,
  /** Makes the plural after it a count: `total_patients`. */
  count: 12,
  /** A keyword in the plural. A number that it has as its value is a count. */
  plural: 13,
  /** The number of a field of HL7 v2, as `3` in `PID-3`. */
  field: 14,
  /** The name of a segment of HL7 v2 without a digit: `PID`. */
  segment: 15,
} as const;

const words: readonly (readonly [string, bits: number, role?: number])[] = [
  [
    'ssn ssns socialsecurity socialsecuritynumber ssnnumber itin nino aadhaar nas taxid taxpayerid nationalid socialinsurancenumber',
    subject.ssn,
  ],
  // Only with a number sign, a word for number, or nine digits after a colon; see `classify.ts`.
  ['ss social soc tax taxpayer sin tin', subject.ssn | subject.card],
  [
    'phone phones telephone tel mobile cellphone phonenumber phonenum telephonenumber mobilenumber whatsapp',
    subject.phone,
  ],
  ['homephone workphone cellnumber phoneno telecom telefon telefonnummer handynummer telefono', subject.phone],
  ['cell contact sms callback', subject.contact],
  ['emergencycontact', subject.contact | subject.name, role.person],
  ['fax faxes facsimile faxnumber faxno', subject.fax],
  ['email emails mail mailto emailaddress', subject.email],
  ['mrn mrns mrnumber medrec medicalrecordnumber medicalrecordno medicalrecord mrnnumber medicalrecordid', subject.mrn],
  ['medical med health healthcare hospital clinic clinical emr ehr', subject.medical],
  ['record records rec', subject.record],
  ['chart', subject.record | subject.encounter],
  ['patient', subject.patient],
  ['patients', subject.patient, role.plural],
  ['usubjid subjid rsubjid personsourcevalue desynpufid desynpuf beneid patientide', subject.mrn],
  ['patientsourcevalue', subject.mrn],
  ['pt', subject.encounter], // Also a MedDRA preferred term, and physiotherapy. Only with a number sign.
  ['personid patientidentifierlist subjectid', subject.patient | subject.id],
  [
    'patientid patientidentifier patientno patientnumber ptid patid patientennummer patientennr',
    subject.patient | subject.id,
  ],
  ['encounter', subject.encounter],
  ['encounters', subject.encounter, role.plural],
  ['encounterid csn empi visitid visitnumber visitoccurrenceid visitsourcevalue', subject.encounter | subject.id],
  ['encounteride hadm hadmid icustay icustayid stayid fallnummer', subject.encounter | subject.id],
  ['visit accession', subject.encounter],
  ['member subscriber beneficiary enrollee insured policyholder cardholder bene', subject.member],
  ['members subscribers', subject.member, role.plural],
  ['clmid versichertennummer krankenversichertennummer', subject.insurance | subject.id],
  [
    'memberid subscriberid beneficiaryid enrolleeid membernumber subscribernumber memberno',
    subject.member | subject.id,
  ],
  [
    'insurance insur ins insurer insurers medicare medicaid hicn mbi hmo ppo payer tricare medigap healthplan',
    subject.insurance,
  ],
  [
    'insuranceid insurancenumber medicareid medicaidid medicarenumber medicaidnumber mbn nhs',
    subject.insurance | subject.id,
  ],
  ['groupnumber', subject.insurance | subject.id],
  ['healthplanid healthplannumber healthplanbeneficiarynumber insurancepolicynumber', subject.insurance | subject.id],
  ['plan', subject.plan],
  ['planid plannumber', subject.plan | subject.id],
  ['policy', subject.policy],
  ['policynumber policyno policynum policyid', subject.policy | subject.id],
  ['account acct accts', subject.account],
  ['accountnumber acctnumber acctno accountno accountnum acctnum accountnr', subject.account | subject.number],
  ['kontonummer kontonr', subject.account | subject.number],
  ['accountid acctid', subject.account | subject.id],
  ['bank routing aba checking savings guarantor billing iban swift', subject.bank],
  ['bankaccount', subject.bank | subject.account],
  ['routingnumber', subject.bank | subject.number],
  ['card visa mastercard amex credit debit creditcard ccnumber cardnumber pan', subject.card],
  ['jcb discover maestro diners unionpay cc ccnum cardno payment payments charged', subject.card],
  ['license licence lic licenses certification', subject.licence],
  ['licensenumber licencenumber licenseno licno licensenum', subject.licence | subject.number],
  ['licenseid licenceid', subject.licence | subject.id],
  ['driver drivers driving', subject.personal],
  [
    'dl passport passports dea npi driverslicense driverlicense driverslicence passportnumber npinumber',
    subject.licence | subject.personal,
  ],
  [
    'nationalprovideridentifier driverslicensenumber driverlicensenumber deanumber passportno',
    subject.licence | subject.personal,
  ],
  ['gmc nmc gphc hcpc ahpra lanr rpps upin', subject.licence],
  ['providersourcevalue', subject.licence | subject.personal],
  ['vehicle', subject.vin | subject.plate],
  ['vin vins vinnumber chassis vehicleid vehicleidentificationnumber', subject.vin],
  ['plate plates', subject.plate],
  ['licenseplate licenceplate platenumber numberplate vehicleregistration kennzeichen', subject.plate | subject.number],
  ['device devices implant pacemaker pump defibrillator prosthesis glucometer ventilator', subject.device],
  ['deviceid deviceidentifier', subject.device | subject.id],
  ['deviceserial deviceserialnumber', subject.device | subject.serial],
  ['serial sn', subject.serial],
  ['serialnumber serialno seriennummer', subject.serial | subject.number],
  ['imei meid imsi iccid udi udid hardware deviceuid udidi', subject.hardware],
  // Only a value with the form of a MAC address.
  ['mac macs macaddress', subject.hardware | subject.address],
  [
    'dob bday birthdate birthday dateofbirth born birth birthdt birthdatetime birthtime brthdtc brthdt dobdtc geburtsdatum geboren',
    subject.birth,
  ],
  ['admitted admit discharged discharge deceased died death', subject.stay],
  ['rficdtc rfstdtc rfendtc rfxstdtc rfxendtc admittime dischtime deathtime', subject.stay],
  ['deceaseddatetime deceaseddate dthdtc deathdatetime admitdatetime dischargedatetime', subject.stay],
  ['admissiondate admitdate dischargedate deathdate dateofdeath dod admissiondt dischargedt', subject.stay],
  ['dateofservice servicedate visitdate dos', subject.stay],
  ['id ids identifier ident identification code identifiers', subject.id],
  ['number numbers no num nr nbr', subject.number],
  ['name names', subject.name],
  [
    'patname invnam personname subjectname participantname legalname guardianname nextofkinname',
    subject.name,
    role.person,
  ],
  ['emergencycontactname', subject.name, role.person],
  ['patientname ptname subscribername membername insuredname guarantorname', subject.name, role.person],
  [
    'firstname lastname givenname familyname middlename maidenname surname fname lname fullname',
    subject.name,
    role.person,
  ],
  ['forename nextofkin mothersmaidenname', subject.name, role.person],
  ['address addr street streetaddress addressline homeaddress mailingaddress residence', subject.address],
  ['zip zipcode postcode postalcode postal zipcd', subject.zip],
  [
    'is was are were the of for her his their its my our your s value with under on in as to a an it and new',
    0,
    role.filler,
  ],
  [
    'text system type use datetime to back string from issue includes using ending last4 listed claim sec date dt show shows',
    0,
    role.filler,
  ],
  [
    'security associated assigned current eq equals key valued valuestring registration reg council ide cd',
    0,
    role.filler,
  ],
  ['maiden', subject.name, role.person],
  ['first last given middle family mother mothers father spouse guardian full legal', 0, role.person],
  [
    'home work primary secondary personal preferred emergency daytime evening business customer person client',
    0,
    role.filler,
  ],
  ['doctor parent employee individual responsible party kin next old previous original raw', 0, role.filler],
  ['src line holder alt alternate main permanent mailing residential', 0, role.filler],
  [
    'aws gcp azure cloud iam arn sts ecr assumed storage service x509 certificate cert tls ssl version build release zone',
    0,
    role.technical,
  ],
  ['gpu cpu pci usb dimm nic psu bios firmware motherboard board monitor sdk', 0, role.technical],
  ['provider providers prescriber physician taxonomy', 0, role.provider],
  ['total count counts', 0, role.count],
  ['pid mrg', 0, role.segment],
  ['me call called calling dial dialed dialled voicemail texted phoned rang', 0, role.call],
  ['redis disk nvme ssd etcd tenant tag', 0, role.technical],
  ['query execution explain terraform backup retention rollout deployment test', 0, role.machine],
  ['january february april june july august september october november december', 0, role.month],
  ['jan feb mar apr may jun jul aug sep sept oct nov dec march', 0, role.shortMonth],
  ['mr mrs ms dr', 0, role.title],
  ['null none undefined varchar required true false empty nil', 0, role.placeholder],
  ['redacted masked hidden removed na anonymous deidentified must cannot column field', 0, role.placeholder],
  ['not found failed failure fails invalid format mismatch mismatched exists exist existing already', 0, role.state],
  ['duplicate duplicated duplicates unknown missing lookup validation check detected expected received', 0, role.state],
  [
    'rejected malformed incorrect wrong bad unrecognized unmatched match conflict error exception changed updated',
    0,
    role.state,
  ],
];

/** The hash of a word, computed character by character. The hash ignores the case of ASCII letters. */
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
const hookOf = new Uint8Array(SLOTS);
const slotOf = (hash: number): number => {
  let slot = (hash ^ (hash >>> 15)) & (SLOTS - 1);
  while (hashes[slot] !== 0 && hashes[slot] !== hash) slot = (slot + 1) & (SLOTS - 1);
  return slot;
};
const slotOfWord = (word: string): number => {
  const hash = hashOf(word);
  const slot = slotOf(hash);
  hashes[slot] = hash;
  return slot;
};
for (const [list, bits, kind = role.none] of words) {
  for (const word of list.split(' ')) {
    const slot = slotOfWord(word);
    bitsOf[slot] = bits;
    roleOf[slot] = kind;
  }
}
for (const [list, kind] of SECRET_WORDS) for (const word of list.split(' ')) hookOf[slotOfWord(word)] = kind;
for (const word of PLACES.keys()) hookOf[slotOfWord(word)] = hook.place;
for (const word of TOKEN_SHAPES.keys()) hookOf[slotOfWord(word)] = hook.prefix;

/** The index of a hash in the tables below. The entry of an unknown word has no subjects, no role and no hook. */
export const wordAt = slotOf;
export const wordSubjects = bitsOf;
export const wordRole = roleOf;
/** The kind of secret (`secret-words.ts`) that may begin at a word. */
export const wordHook = hookOf;
