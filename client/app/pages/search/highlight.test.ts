import { describe, expect, test } from 'vitest';
import { withoutOperators } from './filter.ts';
import { highlighter, otherHit } from './highlight.ts';

const marked = (search: string, text: string) =>
  highlighter(search)(text)
    .map((part) => (part.isHit ? `[${part.text}]` : part.text))
    .join('');

describe('highlighter', () => {
  test('[U67] whole words are hits, without case and diacritics, and the last one with its ending', () => {
    expect(marked('out mem', 'Out of MEMORY: about memorial')).toBe('[Out] of [MEMORY]: about [memorial]');
    expect(marked('emile', 'Émile und Emilesson')).toBe('[Émile] und [Emilesson]');
    expect(marked('"emile"', 'Émile und Emilesson')).toBe('[Émile] und Emilesson');
    expect(marked('ﬁle', 'a file')).toBe('a [file]');
  });
  test('[U67] words between quotes are a hit side by side', () => {
    expect(marked('"of memory"', 'out of  memory, memory of')).toBe('out [of  memory], memory of');
    expect(marked('run-17', 'run 17 and run-171')).toBe('[run 17] and [run-171]');
  });
  test('[U67] a hit may be inside of a sentence without spaces', () => {
    expect(marked('失敗', '処理が失敗した')).toBe('処理が[失敗]した');
  });
  test('[U67] any text can be searched for, and the parts are the whole text', () => {
    for (const search of ['', '"', '(a*', '\\', '[', '$&', 'x "y']) {
      const text = 'a (b) [c] \\ $& "x" y';
      expect(
        highlighter(search)(text)
          .map((part) => part.text)
          .join(''),
      ).toBe(text);
    }
  });
  test('[U67] a hit outside of the sentence is named by its field', () => {
    const event = { type: 'run.created', name: 'Nightly', labels: { team: 'genomics' }, runId: 'r1' };
    expect(otherHit(event, highlighter('genom'))).toBe('team: genomics');
    expect(otherHit(event, highlighter('nothing'))).toBe(undefined);
  });
});

test('[U68] operators are taken out of a text, and an unknown type stays in it', () => {
  const isType = (type: string) => type === 'stage.failed';
  const found = (text: string, isWhole: boolean) => withoutOperators(text, isWhole, isType);
  expect(found('disk type:stage.failed project:ml who:"ci bot" full', true)).toEqual({
    text: 'disk full',
    types: ['stage.failed'],
    projects: ['ml'],
    actors: ['ci bot'],
    isTyping: false,
  });
  expect(found('who:ci', false)).toMatchObject({ text: 'who:ci', actors: [], isTyping: true });
  expect(found('who:ci ', false)).toMatchObject({ text: '', actors: ['ci'], isTyping: false });
  expect(found('type:nonsense http://x', true)).toMatchObject({ text: 'type:nonsense http://x', types: [] });
});
