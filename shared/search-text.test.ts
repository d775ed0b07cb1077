import { expect, test } from 'vitest';
import { eachText, holdsAll, parseText, wordsOf } from './search-text.ts';

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

test('[R2] text without spaces between words is found by a word or a phrase inside it', () => {
  const sentences = {
    thai: 'การประมวลผลล้มเหลวเพราะพื้นที่ดิสก์ไม่เพียงพอ',
    lao: 'ການປະມວນຜົນລົ້ມເຫຼວເພາະພື້ນທີ່ດິສກ໌ບໍ່ພຽງພໍ',
    khmer: 'ដំណើរការ\u200bបាន\u200bបរាជ័យ\u200bព្រោះ\u200bថាស\u200bពេញ',
    burmese: 'ဒစ်နေရာမလုံလောက်သောကြောင့်လုပ်ဆောင်မှုမအောင်မြင်ပါ',
    chinese: '由于磁盘空间不足，处理失败',
    japanese: 'ディスク容量が不足したためサーバーerrorとガイドbookの処理に失敗',
  };
  const finds = (sentence: keyof typeof sentences, text: string) =>
    holdsAll({ message: `stage 3: ${sentences[sentence]}!` }, parseText(text));
  for (const [sentence, ...texts] of [
    ['thai', 'ล้มเหลว', 'ดิสก์', '"พื้นที่ดิสก์"', 'ดิสก์ ล้มเหลว stage', 'ล', 'ล้มเห'],
    ['lao', 'ລົ້ມເຫຼວ', '"ດິສກ໌"', 'ພື້ນທີ່'],
    ['khmer', 'បរាជ័យ', '"ថាសពេញ"', 'ថាស\u200bពេញ'],
    ['burmese', 'လုပ်ဆောင်မှု', '"မအောင်မြင်"'],
    ['chinese', '空间', '"空间不足"', '失败 磁盘'],
    ['japanese', '容量', 'サーバー', '"サーバー"', 'ガイド', 'error サーバー', '"book"', '処理'],
  ] as const) {
    expect(texts.filter((text) => !finds(sentence, text))).toEqual([]);
  }
  for (const [sentence, ...texts] of [
    ['thai', 'เหลวล้ม', '"ดิสก์พื้นที่"', 'ล้มเหลวดิสก์', 'ฮ'],
    ['khmer', 'ពេញថាស'],
    ['chinese', '间空', '"不足空间"'],
    ['japanese', '"erro"', 'erro サーバー', 'ーサ'],
  ] as const) {
    expect(texts.filter((text) => finds(sentence, text))).toEqual([]);
  }
});

test('[R2] a UUID is found whole and by its first 8 characters, not by fewer', () => {
  const event = { eventId: 'beef0000-e29b-41d4-a716-446655440000' };
  const finds = (text: string) => holdsAll(event, parseText(text));
  expect(
    ['beef0000-e29b-41d4-a716-446655440000', 'BEEF0000', '"beef0000-e29b-41d4-a716-446655440000"'].filter(finds),
  ).toHaveLength(3);
  expect(['b', 'beef', 'beef000', 'e29b'].filter(finds)).toEqual([]);
});

test('[R2] an instant is not searched, and a text that begins with a time is', () => {
  const found: string[] = [];
  eachText({ at: '2026-11-26T10:00:00.000Z', message: '2026-11-26T10:00:00.000Z the disk is full' }, (text) => {
    found.push(text);
  });
  expect(found).toEqual(['2026-11-26T10:00:00.000Z the disk is full']);
});
