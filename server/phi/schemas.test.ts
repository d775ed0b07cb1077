import { describe, expect, test } from 'vitest';
import type { RunwireError } from '../../shared/errors.ts';
import { runwireEvents } from '../../shared/events.ts';
import { createPhiGuard } from './guard.ts';

/** Identifiers as standards, schemas and commands spell them. All values are invented. */

const guard = createPhiGuard(runwireEvents);
const guarded = (fields: object, policy: 'reject' | 'redact') => {
  try {
    const draft = { type: 'stage.progress', projectId: 'demo', runId: 'r1', ...fields };
    return guard(draft as never, policy) as unknown as { message: string; labels: object };
  } catch (error) {
    return (error as RunwireError).message;
  }
};
const redacted = (message: string) => (guarded({ message }, 'redact') as { message: string }).message;
const secret = (...parts: string[]) => parts.join('');

const keys: readonly (readonly [key: string, value: string])[] = [
  ['PID-3', '5512093'],
  ['PID.5.1', 'OKONKWO'],
  ['PID-7', '19710423'],
  ['PV1-19', 'V4410'],
  ['NK1.2', 'OKONKWO^EMEKA'],
  ['IN1-36', 'H5512093'],
  ['GT1.12', '481220943'],
  ['USUBJID', 'TRIAL7.1040'],
  ['SUBJID', '1040'],
  ['RFICDTC', '2013-05-21'],
  ['person_source_value', '3F0A91C27D55E810'],
  ['visit_source_value', '881209334'],
  ['visit_occurrence_id', '4410'],
  ['person_id', '4410'],
  ['subject_id', '20031'],
  ['hadm_id', '177001'],
  ['BENE_ID', '-20000031'],
  ['DESYNPUF_ID', '3F0A91C27D55E810'],
  ['CLM_ID', '55401299'],
  ['patient_ide', 'SITE-4410'],
  ['BENE_ZIP_CD', '02139'],
  ['DRIVERS', 'S12345678'],
  ['patient.identifier[0].value', '5512-B'],
  ['name[0].given', 'Grace'],
  ['address.line', '12 Harbour Road'],
  ['deceasedDateTime', '2013-05-21T10:00:00Z'],
];

describe('keys of schemas', () => {
  test.each(keys)('[S5] %s names an identifier as a label, in JSON and in quoted JSON', (key, value) => {
    expect(guarded({ message: 'm', labels: { [key]: value } }, 'reject')).toContain('looks like protected');
    for (const text of [JSON.stringify({ [key]: value }), `row 3: ${JSON.stringify(JSON.stringify({ [key]: value }))}`])
      expect(redacted(text)).not.toContain(value);
  });

  test.each([
    'processed patients_2023-11-02_part3.csv in 12 s',
    'total_patients=551209 patients=551209 num_encounters=4412093',
    '{"patients": 551209, "encounters": 7712093}',
    'http_requests_total{path="/patients"} 5512093',
    'PID: 44120 killed, PID-44120, PID 3 exited with 137',
    '{"id": 4412093, "data.id": "4412093-12", "value": "12345678", "zip": "gzip9", "drivers": "535.104.05"}',
    '{"address": "10.0.0.1:8080", "first": "2024-05-01", "contact": "team-12345678"}',
  ])('[S4] counts and keys of machines are left alone: %s', (message) => {
    expect(guarded({ message }, 'reject')).toMatchObject({ message });
  });

  test('[S4] a label with a count of patients is left alone', () => {
    const labels = { total_patients: '551209', patients: '551209', patientCount: '551209' };
    expect(guarded({ message: 'm', labels }, 'reject')).toMatchObject({ labels });
  });
});

describe('sentences', () => {
  test.each([
    ['AppointmentException: patient P-771203 has no slot', 'P-771203'],
    ['PatientNotFoundException: 55012093', '55012093'],
    ["unknown patient identifier: 'SITE:5501-93'", '5501-93'],
    ['rerun the note for pt 5501293', '5501293'],
    ['encounter 771209341 was closed twice', '771209341'],
    ['PID-3 = 5512093^^^SITE^MR is unknown', '5512093'],
    ['subscriber 771209341 is unknown to the payer', '771209341'],
    ['number plate GF67 KLP', 'GF67 KLP'],
    ['vehicle registration LK19 WXY', 'LK19 WXY'],
    ['license plate 7XYZ912, plate: KXT-4410', 'KXT-4410'],
    ['NM1*DN*1*ROE*JAN****XX*1245319599~', '1245319599'],
    ['prescriber BB1388568 is suspended', 'BB1388568'],
    ['GMC number 4481209', '4481209'],
    ['medical certificate number AB-551203', 'AB-551203'],
    ['iban=gb82west12345698765432', 'gb82west12345698765432'],
    ['emergency contact: 01 53 68 42 10', '01 53 68 42 10'],
    ['call me on 07911 123456', '07911 123456'],
    ['phone 030 / 1234567', '1234567'],
    ['Geburtsdatum 1971-04-23', '1971-04-23'],
  ])('[S3] an identifier in a sentence is found: %s', (text, value) => {
    expect(redacted(text)).not.toContain(value);
  });

  test.each([
    'openssl 3.0.13 30 Jan 2024, gcc 12.2.0 14 Dec 2022',
    'plate LIB-0001 processed, plate 12345678 of 96',
    'ICD-10 K22.80, RxNorm 446604, PT 70011512',
    'wrote checkpoint/last.pt 44120934',
    'helm chart 12345678, {"chartName": "etl-995fmg9j7-g68k6"}',
    'provider 1712345679 ms, prescriber BB1388567',
    'contact order 0012 0034 0056, let me 10 20 30',
  ])('[S4] harmless numbers are left alone: %s', (message) => {
    expect(guarded({ message }, 'reject')).toMatchObject({ message });
  });
});

describe('secrets at a fixed place', () => {
  test.each([
    ['mysql -u root -p# db', secret('Hunter', '2x!')],
    ['curl --user bob:# https://x', secret('Tr0ub', '4dor')],
    ['sshpass -p # ssh x', secret('Tr0ub', '4dor')],
    ['docker login -u ci -p # reg.io', secret('Gh7k', 'Lm22')],
    ['POST https://hooks.slack.com/services/#', secret('T01ABCDEF/B01ABCDEF/', 'abcDEF123ghiJKL456')],
    ['https://discord.com/api/webhooks/#', secret('1125512093344120934/', 'aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bD1f')],
    ['the new password is #, please change it', secret('Kx7-', 'plume9')],
    ['{"auths":{"r.io":{"auth":"#"}}}', secret('Y2k6aHVud', 'GVyMnh5eg==')],
    ['Passwort: #', secret('Wolke', '77x')],
  ])('[S18] the secret is masked: %s', (text, value) => {
    expect(redacted(text.replace('#', value))).toContain('[SECRET]');
    expect(redacted(text.replace('#', value))).not.toContain(value);
  });

  test.each([
    'mysql -u root -p db; curl -u $USER:$TOKEN https://x; docker run login -p 8080:80 image',
    'password is required for user2, the password was changed on 2024-05-01',
    'password is sha256-hashed, {"auth": "oauth2"}, auth: basic, .git/hooks 12',
  ])('[S18] text without a secret is not changed: %s', (message) => {
    expect(redacted(message)).toBe(message);
  });
});
