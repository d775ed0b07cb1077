import type { Sample } from './phi-labelled.ts';

/**
 * A labelled set: invented identifiers by kind, spliced into log lines, and lines without identifiers. It uses the guard's
 * own keywords, so it shows regressions, not the quality of the guard; `npm run phi:report` measures that on other sets.
 */

/** Seeded random numbers (mulberry32). */
export function dice(seed: number) {
  let state = seed;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const int = (from: number, to: number) => from + Math.floor(next() * (to - from + 1));
  const pick = <T>(items: readonly T[]): T => items[int(0, items.length - 1)] as T;
  /** `#` a digit, `@` a capital letter. */
  const fill = (shape: string) =>
    shape.replace(/[#@]/g, (sign) => (sign === '#' ? String(int(0, 9)) : String.fromCharCode(65 + int(0, 25))));
  return { int, pick, fill };
}
type Dice = ReturnType<typeof dice>;

const two = (value: number) => String(value).padStart(2, '0');
const MONTHS = 'January February March April May June July August September October November December'.split(' ');

function withLuhn(digits: string): string {
  let sum = 0;
  for (let i = 0; i < digits.length; i++) {
    const digit = Number(digits[digits.length - 1 - i]) * (i % 2 === 0 ? 2 : 1);
    sum += digit > 9 ? digit - 9 : digit;
  }
  return digits + ((10 - (sum % 10)) % 10);
}
function iban({ fill }: Dice): string {
  const account = fill('##################');
  const check = 98n - (BigInt(`${account}131400`) % 97n);
  return `DE${two(Number(check))}${account}`;
}
function vin({ pick, fill }: Dice): string {
  const signs = '0123456789ABCDEFGHJKLMNPRSTUVWXYZ';
  const values = '0123456789.ABCDEFGH..JKLMN.P.R..STUVWXYZ';
  const weights = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
  const text = [...`1HG${Array.from({ length: 10 }, () => pick([...signs])).join('')}${fill('####')}`];
  const sum = text.reduce((all, sign, i) => all + (values.indexOf(sign) % 10) * (weights[i] as number), 0);
  text[8] = sum % 11 === 10 ? 'X' : String(sum % 11);
  return text.join('');
}
const ssn = ({ int, pick }: Dice, separators = ['-', '-', '-', ' ', '.']) => {
  const separator = pick(separators);
  return [int(100, 665), two(int(1, 99)), String(int(1, 9_999)).padStart(4, '0')].join(separator);
};
const area = ({ int }: Dice) => `${int(201, 989)}`;
const phone = (d: Dice) =>
  d
    .pick(['(A) B-#', 'A-B-#', 'A.B.#', '+1 A B #', '+1-A-B-#', '1-A-B-#', '(A)B-#'])
    .replace('A', area(d))
    .replace('B', area(d))
    .replace('#', d.fill('####'));
const date = (d: Dice) => {
  const [year, month, day] = [d.int(1_925, 2_024), d.int(1, 12), d.int(1, 28)];
  const name = MONTHS[month - 1] as string;
  return d.pick([
    `${month}/${day}/${year}`,
    `${two(month)}/${two(day)}/${year}`,
    `${two(month)}/${two(day)}/${two(year % 100)}`,
    `${two(month)}-${two(day)}-${year}`,
    `${two(day)}.${two(month)}.${year}`,
    `${name} ${day}, ${year}`,
    `${name.slice(0, 3)} ${day} ${year}`,
    `${day} ${name} ${year}`,
    `${two(day)}-${name.slice(0, 3).toUpperCase()}-${year}`,
  ]);
};
const isoDate = ({ int }: Dice) => `${int(1_925, 2_010)}-${two(int(1, 12))}-${two(int(1, 28))}`;
const ids = ['########', '#######', '##########', '@@#######', '@########', '@@-######', '###-###-###', '@@@######'];
const id = (d: Dice) => d.fill(d.pick(ids));
const keyword = (words: string[], value: (d: Dice) => string) => (d: Dice) => ({
  before: d.pick(words).replace('~', d.pick([': ', ' ', '=', ' is ', ' #', ': #'])),
  value: value(d),
});
const bare = (value: (d: Dice) => string, words = ['', 'for ', 'value ', 'row 17: ', 'got "']) => keyword(words, value);

/** Texts of each kind. `~` becomes a separator: `: `, ` `, `=` and others. */
export const kinds: Record<string, (d: Dice) => { before: string; value: string }> = {
  'e-mail': bare(
    ({ fill, pick }) =>
      `${pick(['jane.doe', 'j_doe', 'ann+lab', 'X'])}${fill('##')}@${pick(['example.org', 'mail.clinic.co.uk', 'st-mary.health'])}`,
  ),
  'SSN, formatted': bare(ssn),
  'card, grouped': bare((d) => {
    const digits = withLuhn(d.fill('4##############'));
    return (digits.match(/.{4}/g) as string[]).join(d.pick([' ', '-']));
  }),
  IBAN: bare((d) => (d.int(0, 1) === 0 ? iban(d) : (iban(d).match(/.{1,4}/g) as string[]).join(' '))),
  'SSN with a keyword': keyword(
    ['SSN~', 'ssn~', 'social security number~', 'Social Security No.: ', 'SS# ', 'soc sec, SSN: '],
    (d) => (d.int(0, 1) === 0 ? ssn(d, ['']) : ssn(d)),
  ),
  'phone with a keyword': keyword(
    ['phone~', 'tel: ', 'Telephone~', 'mobile~', 'cell phone~', 'call back phone ', 'contact: '],
    (d) => (d.int(0, 2) === 0 ? `${area(d)}${area(d)}${d.fill('####')}` : phone(d)),
  ),
  VIN: bare(vin, ['', 'VIN: ', 'vin=', 'vehicle ']),
  'date of birth': keyword(
    ['DOB~', 'dob=', 'date of birth~', 'Birth date: ', 'born ', 'born on ', 'birthdate~'],
    (d) => (d.int(0, 2) === 0 ? isoDate(d) : date(d)),
  ),
  'date, not ISO': bare(date, ['', 'seen on ', 'collected ', 'visit of ']),
  MRN: keyword(
    [
      'MRN~',
      'mrn=',
      'medical record number~',
      'Medical Record No. ',
      'med rec #',
      'patient ID~',
      'patient_id=',
      'patient number~',
      'chart number~',
      'hospital number~',
      'for patient ',
      'pt id~',
    ],
    id,
  ),
  plan: keyword(
    [
      'member ID~',
      'memberId=',
      'subscriber id~',
      'insurance ID~',
      'policy number~',
      'health plan number~',
      'Medicare number~',
      'Medicaid ID~',
      'insurance policy~',
      'beneficiary number~',
      'health plan beneficiary number~',
      'member_id=',
    ],
    id,
  ),
  account: keyword(
    ['account number~', 'Account No. ', 'acct#', 'acct no~', 'account: ', 'bank account~', 'accountNumber='],
    (d) => d.fill(d.pick(['########', '##########', '############', '###-######-#'])),
  ),
  licence: keyword(
    [
      "driver's license~",
      'drivers license number~',
      'license number~',
      'License No: ',
      'DL~',
      'licenseNumber=',
      'passport number~',
      'medical license~',
    ],
    (d) => d.fill(d.pick(['@#######', '########', '@@######', '@##-###-##-###'])),
  ),
  device: keyword(
    [
      'device serial number~',
      'device ID~',
      'serial number~',
      'Serial No. ',
      'pacemaker serial~',
      'IMEI~',
      'implant serial number~',
      'device identifier~',
    ],
    (d) => d.fill(d.pick(['@@########', '###############', '@@@-######-#'])),
  ),
};

const lines = [
  ['step derive failed: ', ' (attempt 2 of 3)'],
  ['2024-05-02 06:14:27,406 ERROR [worker-3] load.py:112 - ', ' rejected by constraint'],
  ['INFO Executor: Finished task 3.0 in stage 1.0 (TID 17). ', '; 4973169 bytes result sent to driver'],
  ['java.lang.IllegalStateException: bad row 4711: ', ' at com.acme.etl.Loader.run(Loader.java:127)'],
  ['POST /api/v2/subjects/17?x=1&', '&limit=50 400 in 12ms'],
  ['{"level":"warn","msg":"', '","pod":"qc-5d567cc74c-x2x4z"}'],
  ['could not parse ', ', line 12, column 44'],
  ['', ''],
] as const;

/** Spliced samples, `perKind` of each kind. */
export function spliced(seed: number, perKind: number): Sample[] {
  const d = dice(seed);
  return Object.entries(kinds).flatMap(([type, make]) =>
    Array.from({ length: perKind }, (_, index) => {
      const [head, tail] = d.pick(lines);
      const { before, value } = make(d);
      const start = head.length + before.length;
      const spans = [{ start, end: start + value.length, type }];
      return { id: `${type}-${index}`, text: head + before + value + tail, spans };
    }),
  );
}

/** Keys that name an identifier, each with a sample value. */
export const keys: readonly (readonly [key: string, value: string | number])[] = [
  ...'patient_name patientName first_name firstName lastName last_name surname family_name givenName maiden_name middleName full_name subscriberName'
    .split(' ')
    .map((key) => [key, 'Jane Doe'] as const),
  ...'ssn SSN patient_ssn socialSecurityNumber social_security_number'
    .split(' ')
    .map((key) => [key, '123456789'] as const),
  ...'mrn MRN patientMrn medical_record_number medicalRecordNumber patient_id patientId patientID PatientID chart_number hospital_number'
    .split(' ')
    .map((key) => [key, 'A1234567'] as const),
  ...'dob DOB birthDate birth_date dateOfBirth date_of_birth patient_dob admissionDate discharge_date dateOfDeath'
    .split(' ')
    .map((key) => [key, '1961-04-12'] as const),
  ...'phone phoneNumber phone_number homePhone mobile_phone telephone cellPhone fax fax_number contact_phone'
    .split(' ')
    .map((key) => [key, '4155550132'] as const),
  ...'email emailAddress email_address patientEmail contact_email'
    .split(' ')
    .map((key) => [key, 'jane@example.org'] as const),
  ...'memberId member_id subscriberId insurance_id insuranceNumber policyNumber policy_number medicareNumber medicaid_id health_plan_number beneficiaryId'
    .split(' ')
    .map((key) => [key, 'XY123456'] as const),
  ...'accountNumber account_number acct_no bankAccountNumber'.split(' ').map((key) => [key, '12345678'] as const),
  ...'licenseNumber license_number driversLicense drivers_license_number passportNumber npi dea_number'
    .split(' ')
    .map((key) => [key, 'D1234567'] as const),
  ...'vin VIN vehicle_id vehicleIdentificationNumber'.split(' ').map((key) => [key, '1HGCM82633A004352'] as const),
  ...'deviceSerialNumber device_serial device_id serialNumber imei'
    .split(' ')
    .map((key) => [key, 'SN12345678'] as const),
  ...'address street_address homeAddress address_line_1 patient_address'
    .split(' ')
    .map((key) => [key, '12 Main Street'] as const),
  ...'zip zip_code zipCode postal_code postalCode'.split(' ').map((key) => [key, '94107'] as const),
  ...'BRTHDTC deceasedDateTime DTHDTC birthTime death_datetime'.split(' ').map((key) => [key, '1961-04-12'] as const),
  ...'csn empi visit_number accession_number person_id visit_occurrence_id'
    .split(' ')
    .map((key) => [key, '88401273'] as const),
  ...'pat_name subject_name participant_name person_name nextOfKinName'
    .split(' ')
    .map((key) => [key, 'Jane Doe'] as const),
  ...'tax_id national_id'.split(' ').map((key) => [key, '219099999'] as const),
  ['mac_address', '00:1A:2B:3C:4D:5E'],
  ['mrn', 12_345_678],
  ['ssn', 123_456_789],
  ['phone', 4_155_550_132],
];

/** Pipeline log lines without identifiers. */
export const harmless: readonly string[] = [
  'Started run cc657742-8c2f-46d6-ac64-e5a22fac180d attempt 2',
  'run 0142G9HGX7WKDS083PZA7F3Y0B finished in 588.858281724s',
  'Jun 14 15:16:01 combo sshd(pam_unix)[19939]: authentication failure; logname= uid=0 euid=0 tty=NODEVssh ruser=',
  '[Sun Dec 04 04:47:44 2005] [notice] workerEnv.init() ok /etc/httpd/conf/workers2.properties',
  '17/06/09 20:10:40 INFO executor.CoarseGrainedExecutorBackend: Registered signal handlers for [TERM, HUP, INT]',
  '081109 203615 148 INFO dfs.DataNode$PacketResponder: PacketResponder 1 for block blk_38865049064139660 terminating',
  '- 1117838570 2005.06.03 R02-M1-N0-C:J12-U11 2005-06-03-15.42.50.675872 R02-M1-N0-C:J12-U11 RAS KERNEL INFO',
  '10.0.0.7 - - [02/May/2024:06:14:27 +0000] "GET /2013-10-17/keys/12 HTTP/1.1" 200 512',
  'Thu, 02 May 2024 06:14:27 GMT',
  '03-17 16:13:38.811  1702  2395 D WindowManager: printFreezingDisplayLogs',
  'Table 14.2.1 rendered in 00:41:35.8',
  'lic check of public library: license Apache-2.0, policy v2.12.0, plan 3 of 7, account service healthy',
  'member of group 1000(ci); phone-home disabled; SSN-format validator loaded, 12 rules; VIN decoder v1.51.25 skipped',
  'PT 54147360; LOINC 613-1, ICD-10 M24.99, SNOMED 834485595',
  'OPS-3994 closes PR #88; merge 8c6e9ce',
  'subjects enrolled: 1,204 of 1,250; processing patient 12040 of 12500',
  'assumed arn:aws:iam::260832995100:role/spark-runner',
  'kube-apiserver 1.29.3+k3s1 listening on 192.168.1.17:6443, docker-pullable://cortex@sha256:71d6f3c8',
  'certificate serial number a1:a1:a1:a1:a1:a1:a1:a1 of CN=example',
  'react@18.2.0 and foo@bar.js:41:13 and getty@tty1.service',
  'variant rs491162869 at chr5:496411157-338116384, table shape (546, 280, 9945)',
  'AWS account 112556298976, accountId=690649664278',
  'abfss://container@account.dfs.core.windows.net/raw/2025/07/14/part-83286',
  'std::vector<int> Foo::Bar::add 12:34:56',
  'What is the 5-year survival of a 70-year-old with a Gleason score of 7, diagnosed in 2021, on the DASH diet since January 2023?',
];
