import { describe, expect, test } from 'vitest';
import { loadConfig } from '../config.ts';
import { isHttps, Origins } from './origins.ts';

type Headers = { origin?: string; host?: string; 'x-forwarded-proto'?: string };
const asked = (headers: Headers, encrypted?: true) => ({ headers, socket: { encrypted } as never });

describe('the origin of a page', () => {
  const origins = new Origins({ allowed: ['https://app.example.org', 'capacitor://localhost'] });

  test.each([
    [undefined, 'localhost:3001', true],
    ['http://localhost:3001', 'localhost:3001', true],
    ['http://localhost:3001', 'LOCALHOST:3001', true],
    ['https://runs.example.org', 'runs.example.org', true],
    ['https://runs.example.org', 'runs.example.org:443', true],
    ['http://runs.example.org', 'runs.example.org:80', true],
    ['https://runs.example.org.', 'runs.example.org.', true],
    ['http://[::1]:3001', '[::1]:3001', true],
    ['http://[::1]:3001', '[0:0:0:0:0:0:0:1]:3001', true],
    ['https://app.example.org', 'localhost:3001', true],
    ['capacitor://localhost', 'localhost:3001', true],
    ['https://app.example.org:8443', 'localhost:3001', false],
    ['http://app.example.org', 'localhost:3001', false],
    ['https://app.example.org.', 'localhost:3001', false],
    ['https://APP.example.org', 'localhost:3001', false],
    ['https://app.example.org/', 'localhost:3001', false],
    ['https://app.example.org.evil.org', 'localhost:3001', false],
    ['https://evil.app.example.org', 'localhost:3001', false],
    ['https://evil.org', 'localhost:3001', false],
    ['http://localhost:3002', 'localhost:3001', false],
    ['http://localhost', 'localhost:3001', false],
    ['http://localhost:3001.evil.org', 'localhost:3001', false],
    ['http://localhost:3001@evil.org', 'localhost:3001', false],
    ['http://evil@localhost:3001', 'localhost:3001', false],
    ['http://localhost:3001/evil', 'localhost:3001', false],
    ['http://localhost:3001, http://evil.org', 'localhost:3001', false],
    ['https://runs.example.org.', 'runs.example.org', false],
    ['https://RUNS.example.org', 'runs.example.org', false],
    ['ws://localhost:3001', 'localhost:3001', false],
    ['file://', '', false],
    ['chrome-extension://localhost:3001', 'localhost:3001', false],
    ['null', 'localhost:3001', false],
    ['null', 'null', false],
    ['', 'localhost:3001', false],
    ['*', '*', false],
    ['http://localhost:3001', undefined, false],
    ['http://evil.org', 'user@evil.org', false],
    ['http://evil.org', 'evil.org/path', false],
    ['http://evil.org', 'evil.org?localhost:3001', false],
    ['http://[', '[', false],
  ])('[A2] [N1] %s at Host %s: %s', (origin, host, is) => {
    expect(origins.allows(asked({ ...(origin === undefined ? {} : { origin }), ...(host ? { host } : {}) }))).toBe(is);
  });

  test.each([
    ['http://runs.example.org', undefined, undefined, true],
    ['http://runs.example.org', 'http', undefined, true],
    ['http://runs.example.org', 'https', undefined, false],
    ['http://runs.example.org', 'HTTPS , http', undefined, false],
    ['http://runs.example.org', undefined, true, false],
    ['https://runs.example.org', undefined, true, true],
    ['https://runs.example.org', 'https', undefined, true],
    // A proxy that sets no X-Forwarded-Proto, or sets it for its own hop.
    ['https://runs.example.org', undefined, undefined, true],
    ['https://runs.example.org', 'http', undefined, true],
  ] as const)('[N1] %s with X-Forwarded-Proto %s, encrypted %s: %s', (origin, proto, encrypted, is) => {
    const headers = { origin, host: 'runs.example.org', ...(proto ? { 'x-forwarded-proto': proto } : {}) };
    expect(origins.allows(asked(headers, encrypted))).toBe(is);
  });

  test('[N1] TLS is detected from X-Forwarded-Proto, otherwise from the socket', () => {
    expect(isHttps(asked({}))).toBe(false);
    expect(isHttps(asked({}, true))).toBe(true);
    expect(isHttps(asked({ 'x-forwarded-proto': 'https' }))).toBe(true);
    expect(isHttps(asked({ 'x-forwarded-proto': 'http, https' }))).toBe(false);
  });

  test.each([
    '*',
    'null',
    '',
    'https://a.example/',
    'https://A.example',
    'a.example',
    'https://a.example:443',
    'https://*.a',
  ])('[N1] %j is refused as an allowed origin: it would never match, or match too much', (origin) => {
    expect(() => new Origins({ allowed: ['https://b.example', origin] })).toThrow(
      expect.objectContaining({ code: 'INVALID_INPUT', path: 'allowedOrigins.1' }),
    );
    if (origin === '') return; // A list in the environment skips it.
    expect(() => loadConfig({ AUTH_SECRET: 'x'.repeat(32), ALLOWED_ORIGINS: origin })).toThrow(
      /^ALLOWED_ORIGINS: must/,
    );
  });
});

describe('the Host of a request', () => {
  const allowed = ['https://app.example.org', 'http://box.example:8080'];

  test.each([
    ['localhost:3001', true],
    ['LocalHost', true],
    ['app.localhost:3001', true],
    ['127.0.0.1:3001', true],
    ['127.8.9.1', true],
    ['[::1]:3001', true],
    ['app.example.org', true],
    ['box.example:8080', true],
    ['box.example', false],
    ['evil.example:3001', false],
    ['localhost.evil.example', false],
    ['127.0.0.1.evil.example', false],
    ['evil.example@localhost', false],
    ['192.168.0.1:3001', false],
    ['0.0.0.0:3001', false],
    ['[::]:3001', false],
    ['', false],
    [undefined, false],
  ])('[N2] %s with onlyLocalHosts: %s', (host, is) => {
    const request = asked(host === undefined ? {} : { host });
    expect(new Origins({ allowed, onlyLocalHosts: true }).knowsHost(request)).toBe(is);
    expect(new Origins({ allowed }).knowsHost(request)).toBe(true);
  });
});
