import { expect, test } from 'vitest';
import { Turns } from '../slices.ts';
import { JsonReader, MAX_VALUES } from './json.ts';

const parse = (text: string) => new JsonReader(new Turns()).parse(Buffer.from(text));
const native = (text: string) => {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch {
    return 'not-json';
  }
};

/** A text that is longer than several pieces. */
const long = (member: (index: number) => string, open = '[', close = ']') =>
  `${open}${Array.from({ length: 20_000 }, (_, index) => member(index)).join(',')}${close}`;

const texts = {
  numbers: long((index) => `${index}`.padEnd(12)),
  arrays: long((index) => `[${index},[],[{}]]`),
  objects: long((index) => `{"index":${index},"text":"a,b[{\\"\\\\"}`),
  keys: long((index) => `"key ${index}" : {"a":[${index}]}`, '{', '}'),
  'a key twice': long((index) => `"${index % 3}":[${index}]`, '{', '}'),
  nested: `{"a":${long((index) => `{"b":[${index}]}`)},"c":[${long((index) => `"${index}"`)},${long(String)}]}`,
  'a prototype': long((index) => `"__proto__":{"a":${index}}`, '{', '}'),
  'a divided prototype': `{"__proto__":${long((index) => `${index}`.padEnd(9), ' [')} ,"b":1}`,
  blanks: `\n${long((index) => ` ${index}\t`, ' [ ', ' ] ')} \r\n`,
  'other scripts': long((index) => `"日本 ${index} é"`),
};

test.each(Object.entries(texts))(
  '[Q17] %s: a text that is parsed in pieces has the value of JSON.parse',
  async (_, text) => {
    expect(text.length).toBeGreaterThan(2 * 64 * 1024);
    expect(await parse(text)).toEqual(native(text));
  },
);

test.each(Object.entries(texts))(
  '[Q17] %s: a text with one wrong byte is refused exactly when JSON.parse refuses it',
  async (_, text) => {
    const places = [0, 1, 2, 65_530, 65_536, 70_000, 131_072, text.length - 2, text.length - 1];
    for (const place of places) {
      for (const wrong of ['', ',', ',,', ']', '}', '[', '{', '"', '\\', ':', ' ', '1', '[]', ',]']) {
        const changed = text.slice(0, place) + wrong + text.slice(place + 1);
        // Compared as text: a deep comparison of large values takes long.
        expect(JSON.stringify(await parse(changed)) === JSON.stringify(native(changed))).toBe(true);
      }
    }
  },
);

test.each(['-', '1', '1.', '1e', 'null', '""', '[]', '{}', '[1', ''])(
  '[Q17] %j beside a container of several pieces is refused exactly when JSON.parse refuses it',
  async (other) => {
    const [array, object] = [texts.numbers, texts.keys];
    const members = [array, object].flatMap((value) => [
      `${other}${value}`,
      `${value}${other}`,
      `${value}${other}${value}`,
    ]);
    for (const text of members.flatMap((member) => [`[${member}]`, `{"a":${member}}`])) {
      expect(JSON.stringify(await parse(text)) === JSON.stringify(native(text))).toBe(true);
    }
  },
);

test('[Q17] a text with too many values or levels is refused', async () => {
  expect(await parse(`[${'[],'.repeat(MAX_VALUES)}0]`)).toBe('too-many-values');
  expect(await parse(`${'['.repeat(501)}${']'.repeat(501)}`)).toBe('not-json');
  expect(await parse(`"${'['.repeat(501)}"`)).toEqual({ value: '['.repeat(501) });
});

test('[Q17] bodies that are parsed at the same time leave turns of the event loop to others', async () => {
  const turns = new Turns();
  let seen = 0;
  let isParsing = true;
  const count = () => {
    seen++;
    if (isParsing) setImmediate(count);
  };
  setImmediate(count);
  const body = Buffer.from(`[${'{},'.repeat(MAX_VALUES / 2 - 2)}0]`);
  await Promise.all(Array.from({ length: 4 }, () => new JsonReader(turns).parse(body)));
  isParsing = false;
  expect(seen).toBeGreaterThan(4);
});
