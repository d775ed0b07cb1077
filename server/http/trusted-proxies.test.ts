import { expect, test } from 'vitest';
import { TrustedProxies } from './trusted-proxies.ts';

const addressOf = (trusted: string[], peer: string | undefined, forwarded?: string) =>
  new TrustedProxies(trusted).addressOf({
    socket: { remoteAddress: peer },
    headers: forwarded === undefined ? {} : { 'x-forwarded-for': forwarded },
  } as never);

test.each([
  ['no proxy is trusted', [], '127.0.0.1', '1.2.3.4', '127.0.0.1'],
  ['a proxy', ['127.0.0.1'], '127.0.0.1', '1.2.3.4', '1.2.3.4'],
  ['a proxy that sends no header', ['127.0.0.1'], '127.0.0.1', undefined, '127.0.0.1'],
  ['an address that a client invented', ['127.0.0.1'], '127.0.0.1', '9.9.9.9, 1.2.3.4', '1.2.3.4'],
  ['two proxies', ['127.0.0.1', '10.0.0.0/8'], '127.0.0.1', '9.9.9.9, 1.2.3.4, 10.1.2.3', '1.2.3.4'],
  ['a client that is no proxy', ['10.0.0.0/8'], '1.2.3.4', '9.9.9.9', '1.2.3.4'],
  ['text that is no address', ['127.0.0.1'], '127.0.0.1', '1.2.3.4, unknown', '127.0.0.1'],
  ['a mapped IPv4 address', ['127.0.0.1'], '::ffff:127.0.0.1', '1.2.3.4', '1.2.3.4'],
  ['a mapped IPv4 client', [], '::ffff:1.2.3.4', undefined, '1.2.3.4'],
  ['an IPv6 proxy', ['fd00::/8'], 'fd12::1', '2001:db8::7', '2001:db8:0:0::/64'],
  ['another IPv6 address of the same network', [], '2001:DB8:0:0:1:2:3:4', undefined, '2001:db8:0:0::/64'],
  ['another IPv6 network', [], '2001:db8:0:1::7', undefined, '2001:db8:0:1::/64'],
  ['a closed socket', ['127.0.0.1'], undefined, '1.2.3.4', ''],
])('[W21] the address of a client behind trusted proxies: %s', (_name, trusted, peer, forwarded, expected) => {
  expect(addressOf(trusted, peer, forwarded)).toBe(expected);
});

test('[W21] text that is neither an address nor a network is refused by its place', () => {
  for (const text of ['', 'localhost', '10.0.0.0/33', '10.0.0.0/', '10.0.0.0/8/8', '10.0.0.0/x', 'fd00::/129']) {
    expect(() => new TrustedProxies(['127.0.0.1', text]), text).toThrow(
      expect.objectContaining({ code: 'INVALID_INPUT', path: 'trustedProxies.1' }),
    );
  }
});
