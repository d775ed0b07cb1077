import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type ChainedRow, canonicalJson, GENESIS, KeyOrder, newSalt, payloadHash, rowHash } from './canonical.ts';

test('[L15] canonical JSON parses to the same value', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const plain = JSON.parse(JSON.stringify(value));
      expect(JSON.parse(canonicalJson(value))).toEqual(plain);
    }),
    { numRuns: 500 },
  );
});

test('[L15] canonical JSON does not depend on the order of keys', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue()), fc.array(fc.nat(50)), (value, keys) => {
      const entries = Object.entries(value).map((entry, index) => ({ entry, key: keys[index] ?? 0 }));
      const reordered = Object.fromEntries(entries.sort((a, b) => a.key - b.key).map(({ entry }) => entry));
      expect(canonicalJson({ nested: [reordered] })).toBe(canonicalJson({ nested: [value] }));
    }),
    { numRuns: 500 },
  );
});

test('[L15] merged fields have the same canonical JSON as a plain object, after any other object of their kind', () => {
  const fields = fc.dictionary(fc.constantFrom('seq', 'a', 'é', '10', '9', 'type'), fc.jsonValue());
  const extras = fc.record({ seq: fc.jsonValue(), '9': fc.jsonValue(), z: fc.jsonValue() });
  fc.assert(
    fc.property(fc.array(fc.record({ base: fields, extra: extras }), { minLength: 1, maxLength: 5 }), (objects) => {
      const order = new KeyOrder();
      for (const { base, extra } of objects) {
        const merged = order.merge('kind', base, extra);
        expect(merged).toEqual({ ...base, ...extra });
        expect(canonicalJson(merged)).toBe(canonicalJson({ ...base, ...extra }));
      }
    }),
    { numRuns: 500 },
  );
});

test('[L15] canonical JSON is that of RFC 8785', () => {
  // Examples of sections 3.2.2 and 3.2.3.
  const values = {
    numbers: [Number('333333333.33333329'), 1e30, 4.5, 2e-3, 0.000000000000000000000000001],
    string: '€$\u000f\nA\'B"\\\\"/',
    literals: [null, true, false],
  };
  expect(canonicalJson(values)).toBe(
    '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],' +
      '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
  );
  const keys = {
    '€': 'Euro',
    '\r': 'CR',
    '\ufb33': 'Dagesh',
    '1': 'One',
    '\ud83d\ude00': 'Emoji',
    '\u0080': 'C',
    ö: 'o',
  };
  expect(Object.values(JSON.parse(canonicalJson(keys)))).toHaveLength(7);
  expect(canonicalJson(keys)).toBe(
    '{"\\r":"CR","1":"One","\u0080":"C","ö":"o","€":"Euro","\ud83d\ude00":"Emoji","\ufb33":"Dagesh"}',
  );
});

test('keys with an undefined value are left out, as in JSON', () => {
  expect(canonicalJson({ b: undefined, a: [undefined, -0], c: {} })).toBe('{"a":[null,0],"c":{}}');
});

test('[L15] salts are 16 bytes and unique, and stay valid when the pool is refilled', () => {
  const salts = Array.from({ length: 2_000 }, newSalt);
  const texts = salts.map((salt) => salt.toString('hex'));
  newSalt().fill(0);
  expect(new Set(texts).size).toBe(2_000);
  expect(salts.every((salt) => salt.length === 16)).toBe(true);
  expect(salts.map((salt) => salt.toString('hex'))).toEqual(texts);
});

const row: ChainedRow = {
  seq: 2,
  projectId: 'p',
  runId: 'r',
  runSeq: 1,
  type: 'run.started',
  eventId: 'e',
  actor: 'ci',
  recordedAtMs: 1_767_225_600_000,
  payloadHash: payloadHash(Buffer.alloc(16, 1), '{}'),
  prevHash: GENESIS,
};

test('[L15] hashes equal those of sha256sum, so that a log can be checked without this code', () => {
  // printf '\1%.0s' {1..16} | cat - <(printf '{}') | sha256sum
  expect(payloadHash(Buffer.alloc(16, 1), '{}').toString('hex')).toBe(
    'd355d911d2f26a54dc0366196d99e2ffef085bb9edf7a495a342ea52c2a4c2f3',
  );
  expect(rowHash(row).toString('hex')).toBe('4dff6d3068b7005c38bc27341058e9895183445f6bdb45facaea00f6ddb2697f');
  expect(GENESIS.toString('hex')).toBe('0'.repeat(64));
});

test('[L15] payloads of any size and script are hashed as UTF-8', () => {
  const salt = Buffer.alloc(16, 1);
  for (const payload of ['', 'é😀～', 'é'.repeat(60_000), 'x'.repeat(300_000)]) {
    const expected = createHash('sha256').update(salt).update(payload).digest();
    expect(payloadHash(salt, payload)).toEqual(expected);
  }
});

test.each(Object.keys(row) as (keyof ChainedRow)[])('[L15] a change of %s changes the hash of the row', (key) => {
  const value = row[key];
  const other = typeof value === 'number' ? value + 1 : typeof value === 'string' ? `${value}x` : Buffer.alloc(32, 7);
  expect(rowHash({ ...row, [key]: other })).not.toEqual(rowHash(row));
});

test('[L15] the row hash covers the columns as a JSON array, whatever they contain', () => {
  const text = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('"', '\\', '\u007f', 'é', '\u2028', '\ud800'));
  fc.assert(
    fc.property(text, text, fc.oneof(fc.nat(), fc.double(), text), (runId, eventId, actor) => {
      const other = { ...row, runId, eventId, actor: actor as string };
      const { seq, projectId, runSeq, type, recordedAtMs, payloadHash, prevHash } = other;
      const columns = JSON.stringify([seq, projectId, runId, runSeq, type, eventId, actor, recordedAtMs]);
      const expected = createHash('sha256').update(columns).update(prevHash).update(payloadHash).digest();
      expect(rowHash(other)).toEqual(expected);
    }),
  );
});

test('[L15] the hash depends on the salt and on every character of the payload', () => {
  const hash = payloadHash(Buffer.alloc(16, 1), '{"a":1}');
  expect(payloadHash(Buffer.alloc(16, 2), '{"a":1}')).not.toEqual(hash);
  expect(payloadHash(Buffer.alloc(16, 1), '{"a":2}')).not.toEqual(hash);
});
