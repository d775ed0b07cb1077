import { describe, expect, test } from 'vitest';
import type { RunwireError } from '../../shared/errors.ts';
import { runwireEvents } from '../../shared/events.ts';
import { createPhiGuard, Walker } from './guard.ts';

/** Values are invented, and put together: scanners of repositories read this file too. */
const RANDOM = 'a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8';
const of = (...parts: string[]) => parts.join('');
const aws = of('wJalrXUtnFEMI', '/K7MDENG/bPxRfiCYEXAMPLEKEY');
const azure = of('abC1+23/d4E5f6G7h8I9j0', 'KL==');
const jwt = `${of('eyJ', 'hbGciOiJIUzI1NiJ9')}.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4`;
const pem = (kind: string) =>
  of('-----BEGIN ', kind, 'PRIVATE KEY-----\nMIIEpAIBAAKCAQEA1c7+9z5Pad\nQ==\n-----END ', kind, 'PRIVATE KEY-----');

const envelope = { projectId: 'demo', runId: 'r1', timestamp: '2026-01-05T12:00:00.000Z', eventId: 'e1' };
const guard = createPhiGuard(runwireEvents);
const guarded = (fields: object, type = 'stage.progress', policy: 'reject' | 'redact' = 'reject') => {
  try {
    return guard({ type, ...envelope, ...fields } as never, policy) as unknown as { [field: string]: unknown };
  } catch (error) {
    return (error as RunwireError).message;
  }
};
const message = (text: string) => (guarded({ message: text }) as { message: string }).message;

describe('tokens by their shapes', () => {
  test.each([
    of('gh', 'p_', RANDOM),
    of('gh', 'o_', RANDOM),
    of('github_', 'pat_11AAAAAAA0a1B2c3D4e5F6_', RANDOM),
    of('gl', 'pat-', RANDOM.slice(0, 20)),
    of('AK', 'IAIOSFODNN7EXAMPLE'),
    of('AS', 'IAY34FZKBOKMUTVV7A'),
    of('AI', 'zaSyA1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q'),
    of('xox', 'b-123456789012-123456789012-a1B2c3D4e5F6'),
    of('sk', '_live_', RANDOM.slice(0, 24)),
    of('np', 'm_', RANDOM),
    of('sk', '-proj-', RANDOM, '_x-y'),
    of('hv', 's.CAESIJ', RANDOM),
    of('dap', 'i0123456789abcdef0123456789abcdef'),
    jwt,
    pem(''),
    pem('RSA '),
  ])('[S18] masks %s', (secret) => {
    expect(message(`failed with ${secret}, retry`)).toBe('failed with [SECRET], retry');
    if (!/\s/.test(secret)) expect(guarded({ runId: secret })).toContain('an id is not redacted');
  });

  test('[S18] a private key that is cut, or escaped as in JSON, is masked', () => {
    const [head = '', first = ''] = pem('').split('\n');
    expect(message(`cannot parse ${head} ${first}`)).toBe('cannot parse [SECRET]');
    expect(message(`{"private_key": "${pem('').replaceAll('\n', '\\n')}", "x": 1}`)).not.toContain('MIIE');
  });

  test.each([
    'sk-learn-pipeline-2024-run-0001, npm_config_registry, hf_hub_download, xoxo-1',
    `base64 ${Buffer.from('{"v":"meta.k8s.io/v1","rv":6082}').toString('base64')}`,
    '-----BEGIN CERTIFICATE----- MIIB',
    'role AROAIOSFODNN7EXAMPLE, digest abcdef0123456789abcd',
  ])('[S18] leaves %s alone', (text) => {
    expect(message(text)).toBe(text);
  });
});

describe('values after their words', () => {
  test.each([
    ['password=hunter2', 'password=[SECRET]'],
    ['passwd: s3cr3t! again', 'passwd: [SECRET] again'],
    ['PASSWORD = "correct horse"', 'PASSWORD = "[SECRET]"'],
    ["'password': 'x y z'", "'password': '[SECRET]'"],
    ['{\\"password\\":\\"p4ss\\"}', '{\\"password\\":\\"[SECRET]\\"}'],
    ['password: changeme', 'password: [SECRET]'],
    ['password%3Dhunter2&x=1', 'password%3D[SECRET]&x=1'],
    ['Server=x;User Id=sa;Password=P@ss;Pooling=1', 'Server=x;User Id=sa;Password=[SECRET];Pooling=1'],
    ['DB_PASSWORD=hunter2 PGPASSWORD=hunter3', 'DB_PASSWORD=[SECRET] PGPASSWORD=[SECRET]'],
    ['secret=9f8e7d6c5b4a, token=abc123def456', 'secret=[SECRET], token=[SECRET]'],
    ['api_key=Zx81Yy27 x-api-key: 7d9f8a6b5c4d', 'api_key=[SECRET] x-api-key: [SECRET]'],
    [`aws_secret_access_key=${aws}`, 'aws_secret_access_key=[SECRET]'],
    [`"SecretAccessKey": "${aws}"`, '"SecretAccessKey": "[SECRET]"'],
    [`AccountName=a;AccountKey=${azure};X=1`, 'AccountName=a;AccountKey=[SECRET];X=1'],
    ['?sv=2022&sig=Zm9vYmFy%2Bbaz%2FQux123%3D&se=1', '?sv=2022&sig=[SECRET]&se=1'],
    ['Authorization: Bearer abcdEFGH1234', 'Authorization: Bearer [SECRET]'],
    ['Authorization: Basic dXNlcjpwYXNz', 'Authorization: Basic [SECRET]'],
    ['authorization: token 1234abcd5678', 'authorization: token [SECRET]'],
    ['mysql --password hunter22 --db-token abc123def', 'mysql --password [SECRET] --db-token [SECRET]'],
    ['<password>hunter2</password>', '<password>[SECRET]</password>'],
    ["ALTER USER x WITH PASSWORD 'hunter2'", "ALTER USER x WITH PASSWORD '[SECRET]'"],
    ['postgres://app:s3cr3t@db.internal:5432/x', 'postgres://app:[SECRET]@db.internal:5432/x'],
    ['mongodb+srv://u:p/w@cluster0.mongodb.net/db', 'mongodb+srv://u:[SECRET]@cluster0.mongodb.net/db'],
    ['redis://:pass@r:6379', 'redis://:[SECRET]@r:6379'],
    ['jdbc:oracle:thin:scott/tiger@//h:1521/s', 'jdbc:oracle:thin:scott/[SECRET]@//h:1521/s'],
  ])('[S18] %s', (text, expected) => {
    expect(message(text)).toBe(expected);
    expect(message(expected)).toBe(expected);
  });

  test.each([
    'password: required',
    'password must be at least 8 characters',
    'invalid password for user x: 3 attempts',
    'password=*** password={{x}} password=$PASS password=os.environ["X"] password=getpass()',
    'Unexpected token: } at 12:3; token: expected 5, got 7',
    'max_tokens=4096 token_type=bearer pageToken=abc123def next page token: CAESA123',
    'secretName: db-creds-2, secret: my-db-secret-2, secret=projects/p1/secrets/x/versions/3',
    'partition key: a1b2c3 primary key=id42 key=a1b2c3 idempotency key: 0b2f-11',
    'basic authentication failed 401, Bearer authentication failed: 401, authorization failed: 403',
    'https://host:8080/path/@scope/pkg@1.2 ssh://git@host:22/a https://user@host/x',
    'pass=12 fail=3, pass: 3/4, signature mismatch: 3, "signature": "MEQCICuKFDZKFWYOBWK"',
    'password reset at 12:30, cookie: 3, access token: granted 2024',
  ])('[S18] leaves %s alone', (text) => {
    expect(message(text)).toBe(text);
  });

  test('[S18] a secret is masked also where it has the form of an identifier', () => {
    expect(message('token=4111-1111-1111-1111x and AccountKey=12345678aB')).toBe(
      'token=[SECRET] and AccountKey=[SECRET]',
    );
  });
});

describe('keys', () => {
  test.each([
    ['password', 'hunter2'],
    ['dbPassword', 'x y z'],
    ['api_key', 'abcd1234'],
    ['clientSecret', 'zxcv1234'],
    ['AWS_SECRET_ACCESS_KEY', aws],
    ['authorization', 'Bearer 12'],
  ])('[S18] the key %s makes its value a secret', (key, value) => {
    for (const policy of ['reject', 'redact'] as const) {
      expect(guarded({ labels: { [key]: value } }, 'run.created', policy)).toMatchObject({
        labels: { [key]: '[SECRET]' },
      });
    }
  });

  test('[S18] a sibling names the secret, and keys that only resemble those of secrets do not', () => {
    expect(guarded({ env: [{ name: 'DB_PASSWORD', value: 'hunter2' }] })).toMatchObject({
      env: [{ name: 'DB_PASSWORD', value: '[SECRET]' }],
    });
    const labels = { secretName: 'abc123456', tokenCount: 'abc12345', pageToken: 'abc12345', secret: 'my-secret' };
    expect(guarded({ labels }, 'run.created')).toMatchObject({ labels });
  });

  test('[S9] [S18] secrets are masked in fields of the allow-list too', () => {
    const walker = new Walker(runwireEvents, { allow: ['message', 'labels'] });
    const draft = {
      type: 'stage.progress',
      message: 'MRN 77188312, password=hunter2',
      labels: { password: 'hunter2' },
    };
    expect(walker.guard(draft, 'reject')).toMatchObject({
      message: 'MRN 77188312, password=[SECRET]',
      labels: { password: '[SECRET]' },
    });
  });
});
