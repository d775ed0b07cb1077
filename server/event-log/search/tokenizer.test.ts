import { expect, test } from 'vitest';
import { holdsAll, parseText, wordsOf } from './tokenizer.ts';

test('[R2] words are split in any script, and case and diacritics are ignored', () => {
  const uuid = '550e8400-e29b-41d4-a716-446655440000';
  expect(wordsOf(`Émile ÜBER İzmir stage_one run-17 v1.2 ${uuid}`)).toEqual([
    'emile',
    'uber',
    'izmir',
    'stage',
    'one',
    'run',
    '17',
    'v1',
    '2',
    uuid,
  ]);
  expect(wordsOf('東京タワー 🚀go ﬁne йод १२')).toEqual([
    '東',
    '京',
    'タ',
    'ワ',
    'ー',
    '🚀',
    'go',
    'fine',
    'иод',
    '१२',
  ]);
  expect(wordsOf('*** "" -- \0')).toEqual([]);
});

test('[R2] a query matches all words, phrases in quotes, and the last word as a prefix', () => {
  const event = { type: 'x', name: 'Variant calling failed', error: { message: 'no space left on device' } };
  const finds = (text: string) => holdsAll(event, parseText(text));
  const found = [
    'failed VARIANT',
    'call',
    'calling "no space left"',
    'variant-calling',
    'left dev',
    '"space left',
    'on-dev',
  ];
  expect(found.filter((text) => !finds(text))).toEqual([]);
  const missed = [
    'call failed',
    'variant left-space',
    '"space on"',
    '"left dev"',
    'failed-no',
    'nothing failed',
    'name',
  ];
  expect(missed.filter(finds)).toEqual([]);
});

test('[R2] a UUID is found whole and by its first 8 characters, not by fewer', () => {
  const event = { eventId: 'beef0000-e29b-41d4-a716-446655440000' };
  const finds = (text: string) => holdsAll(event, parseText(text));
  expect(
    ['beef0000-e29b-41d4-a716-446655440000', 'BEEF0000', '"beef0000-e29b-41d4-a716-446655440000"'].filter(finds),
  ).toHaveLength(3);
  expect(['b', 'beef', 'beef000', 'e29b'].filter(finds)).toEqual([]);
});
