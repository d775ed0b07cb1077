import { describe, expect, test } from 'vitest';
import { ADDRESS_REFUSED, type Resolver, WebhookAddresses } from './addresses.ts';

const refused = [
  ...[
    '127.0.0.1',
    '127.8.9.1',
    '0.0.0.0',
    '10.1.2.3',
    '100.64.0.1',
    '100.100.100.200',
    '169.254.169.254',
    '172.16.0.1',
  ],
  ...[
    '172.31.255.255',
    '192.168.1.1',
    '192.0.0.192',
    '192.0.2.1',
    '198.18.0.1',
    '198.51.100.7',
    '203.0.113.9',
    '224.0.0.1',
  ],
  ...['255.255.255.255', '240.0.0.1', '168.63.129.16', '192.88.99.1'],
  ...['::', '::1', '::ffff:127.0.0.1', '::ffff:7f00:1', '::ffff:10.0.0.1', '::127.0.0.1', 'fe80::1', 'fe80::1%eth0'],
  ...['fc00::1', 'fd00:ec2::254', 'ff02::1', '64:ff9b::7f00:1', '64:ff9b:1::1', '100::1', '2001::1', '2001:db8::1'],
  ...['2002:7f00:1::', '3fff::1', '5f00::1', 'not an address', ''],
];
const open = [
  ...['1.1.1.1', '93.184.215.14', '172.15.0.1', '172.32.0.1', '100.63.255.255', '100.128.0.1', '192.0.1.1'],
  ...['2606:4700::1111', '2a00:1450::1', '::ffff:1.1.1.1', '2001:4860:4860::8888'],
];

describe('[O11] addresses', () => {
  test('[O11] private, loopback, link-local, reserved and metadata addresses are refused in each form', () => {
    const addresses = new WebhookAddresses();
    for (const address of refused) expect(addresses.allows(address, 'example.org'), address).toBe(false);
    for (const address of open) expect(addresses.allows(address, 'example.org'), address).toBe(true);
  });

  test('[O11] a network, an address or a host that is listed is allowed, and nothing else', () => {
    const addresses = new WebhookAddresses(['10.0.0.0/8', 'fd00::/8', '192.168.1.7', 'Hooks.Internal', 'localhost']);
    expect(addresses.allows('10.2.3.4', 'any.example')).toBe(true);
    expect(addresses.allows('::ffff:10.2.3.4', 'any.example')).toBe(true);
    expect(addresses.allows('fd00::7', 'any.example')).toBe(true);
    expect(addresses.allows('192.168.1.7', 'any.example')).toBe(true);
    expect(addresses.allows('192.168.1.8', 'any.example')).toBe(false);
    expect(addresses.allows('192.168.1.8', 'hooks.internal')).toBe(true);
    expect(addresses.allows('192.168.1.8', 'hooks.internal.')).toBe(true);
    expect(addresses.allows('192.168.1.8', 'x.hooks.internal')).toBe(false);
    expect(addresses.allows('127.0.0.1', 'localhost')).toBe(true);
    expect(addresses.allows('127.0.0.1', '127.0.0.1')).toBe(false);
  });

  test('[O11] an address is https, or http for localhost that is listed, without user, password and fragment', () => {
    const strict = new WebhookAddresses();
    const local = new WebhookAddresses(['127.0.0.0/8']);
    for (const url of ['https://example.org/hook?a=b', 'https://example.org:8443/', 'https://[2606:4700::1111]/']) {
      expect(strict.problemOf(url), url).toBeUndefined();
    }
    const bad = [
      ...['http://example.org/', 'ftp://example.org/', 'example.org', '', 'https://', 'javascript:alert(1)'],
      ...['https://user@example.org/', 'https://user:pass@example.org/', 'https://example.org/#f'],
      ...['https://127.0.0.1/', 'https://2130706433/', 'https://0x7f.1/', 'https://0177.0.0.1/', 'https://[::1]/'],
      ...['https://[::ffff:169.254.169.254]/', 'https://169.254.169.254/latest/meta-data', 'http://localhost:3001/'],
      ...['http://127.0.0.1/', `https://example.org/${'x'.repeat(2_000)}`, 'https://localhost/'],
    ];
    for (const url of bad) expect(strict.problemOf(url), url).toBeDefined();
    for (const url of ['http://127.0.0.1:9/', 'http://localhost:9/', 'https://localhost/']) {
      expect(local.problemOf(url), url).toBeUndefined();
    }
    for (const url of ['http://127.0.0.1.example.org/', 'http://10.0.0.1/', 'http://[::1]/']) {
      expect(local.problemOf(url), url).toBeDefined();
    }
  });

  test('[O11] a lookup returns only addresses that are allowed, and fails if there is none', async () => {
    const answers = new Map([
      ['mixed.example', ['10.0.0.1', '1.1.1.1']],
      ['inner.example', ['10.0.0.1', '::1']],
    ]);
    const resolver: Resolver = (host, callback) =>
      callback(
        null,
        (answers.get(host) ?? []).map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
      );
    const { lookup } = new WebhookAddresses([], resolver);
    const look = (host: string, all: boolean) =>
      new Promise((resolve) => lookup(host, { all }, (error, address) => resolve(error ?? address)));
    expect(await look('mixed.example', true)).toEqual([{ address: '1.1.1.1', family: 4 }]);
    expect(await look('mixed.example', false)).toBe('1.1.1.1');
    expect(await look('inner.example', true)).toMatchObject({ code: ADDRESS_REFUSED });
  });

  test('[O11] an entry that is no host, address or network is refused with its path', () => {
    for (const entry of [
      '10.0.0.0/33',
      'a b',
      'https://example.org',
      '*',
      '*.example.org',
      '1.2.3',
      '',
      'a/b',
      '10.0.0/8',
    ]) {
      expect(() => new WebhookAddresses(['example.org', entry]), entry).toThrow(
        expect.objectContaining({ code: 'INVALID_INPUT', path: 'webhookAllow.1' }),
      );
    }
  });
});
