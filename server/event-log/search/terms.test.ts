import fc from 'fast-check';
import { expect, test } from 'vitest';
import { eachText, wordsOf } from '../../../shared/search-text.ts';
import { canonicalJson } from '../integrity/canonical.ts';
import { CommittedEvents } from './committed.ts';
import { fieldTerm, termAt, termsOf } from './terms.ts';

/** The terms of an event by its parsed object. */
function termsOfParsed(json: string): Set<string> {
  const event = JSON.parse(json) as { type: string; runId: string; actor: string };
  const terms = new Set([
    fieldTerm('type', event.type),
    fieldTerm('run', event.runId),
    fieldTerm('actor', event.actor),
  ]);
  eachText(event, (text) => {
    const words = wordsOf(text);
    for (let index = 0; index < words.length; index++) terms.add(termAt(words, index));
  });
  return terms;
}

const uuid = '550e8400-e29b-41d4-a716-446655440000';
const piece = fc.oneof(
  fc.constantFrom(uuid, uuid.toUpperCase(), `${uuid}x`, uuid.slice(0, 20), '2026-11-26T10:00:00.000Z', '2026-11-26'),
  fc.constantFrom(
    '"',
    '\\',
    '\n',
    '\u001f',
    '{',
    '}',
    ':',
    ',',
    'type',
    'actor',
    '":"',
    ' ',
    '-',
    'A',
    'Émile',
    'ระบบ',
    '東京',
    '🚀',
  ),
  fc.string({ unit: 'grapheme-ascii' }),
  fc.string({ unit: 'binary' }).map((text) => text.toWellFormed()),
);
const anyText = fc.array(piece, { maxLength: 6 }).map((pieces) => pieces.join(''));
const anyValue = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    anyText,
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.constantFrom(null, true, false),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(fc.oneof(anyText, fc.constantFrom('type', 'actor', 'runId')), tie('value'), { maxKeys: 3 }),
  ),
})).value;

test('[R2] [R5] the terms that are read from the JSON text of an event are those of the event', () => {
  const event = fc.record({
    type: anyText,
    actor: anyText,
    runId: anyText,
    aaa: anyValue,
    message: anyText,
    zzz: anyValue,
  });
  fc.assert(
    fc.property(event, (one) => {
      const json = canonicalJson(one);
      expect([...termsOf(json)].sort()).toEqual([...termsOfParsed(json)].sort());
    }),
    { numRuns: 1_000 },
  );
});

test('[R5] a damaged JSON text has some terms or none, and is no error', () => {
  for (const json of [
    '',
    '{',
    '"',
    '{"type":"',
    '{"type":"a b',
    '{"message":"\\x one"}',
    '{"message":"one\\',
    'one "two" three',
  ])
    expect(termsOf(json).size).toBeLessThan(4);
});

const events = (from: number, count: number, json = '{}') =>
  Array.from({ length: count }, (_, index) => ({ seq: from + index, projectId: 'p', json }));
const seqsOf = (some: readonly { seq: number }[] | undefined) => some?.map(({ seq }) => seq);

test('[R5] committed events are kept while they are contiguous and bounded in number and size', () => {
  const committed = new CommittedEvents();
  expect(committed.after(0, 10)).toBeUndefined();
  committed.add(events(5, 4));
  expect([committed.after(3, 10), seqsOf(committed.after(4, 2)), seqsOf(committed.after(6, 10))]).toEqual([
    undefined,
    [5, 6],
    [7, 8],
  ]);
  committed.add(events(10, 1));
  expect([seqsOf(committed.after(7, 10)), committed.after(8, 10)]).toEqual([[8], undefined]);
  committed.add(events(10, 20_000));
  expect(seqsOf(committed.after(9, 20_000))).toHaveLength(8_192);
  committed.clear();
  committed.add(events(1, 100, 'x'.repeat(100_000)));
  expect(seqsOf(committed.after(0, 100))).toHaveLength(41);
  expect(committed.after(41, 100)).toBeUndefined();
  committed.add(events(200, 1));
  expect(seqsOf(committed.after(199, 100))).toEqual([200]);
});
