import fc from 'fast-check';
import { expect, test } from 'vitest';
import { commonPrefix, cutMiddle, NameList } from './names.ts';

test('[U45] the common prefix ends at a separator, and is that of at least 80 % of the names', () => {
  const of = (count: number, name: (index: number) => string) =>
    Array.from({ length: count }, (_, index) => name(index));
  expect(commonPrefix(of(10, (n) => `warehouse.marts.line_v${n}`))).toBe('warehouse.marts.line_');
  expect(commonPrefix([...of(8, (n) => `load.part ${n}`), 'zip', 'ship'])).toBe('load.part ');
  expect(commonPrefix([...of(7, (n) => `load.part ${n}`), 'zip', 'ship', 'mail'])).toBe('');
  // Too few names, too short a prefix, and names that would be empty.
  expect(commonPrefix(of(4, (n) => `load.part ${n}`))).toBe('');
  expect(commonPrefix(of(10, (n) => `a.${n}`))).toBe('');
  expect(commonPrefix(of(10, () => 'the same name'))).toBe('the same ');
  expect(commonPrefix(of(10, () => 'same'))).toBe('');
});

test('[U45] a cut name has at most the wanted number of letters, and still the one that tells it from others', () => {
  expect(cutMiddle('short', 12)).toBe('short');
  expect(cutMiddle('warehouse.marts.line_v37', 12)).toBe('wareh…ne_v37');
  expect(cutMiddle('revenue_by_region_v37 (incremental, full)', 16, 20)).toContain('37');
  for (let limit = 8; limit <= 40; limit++) {
    for (let at = 0; at < 60; at++)
      expect(cutMiddle(`${'x'.repeat(at)}!${'x'.repeat(59 - at)}`, limit, at)).toContain('!');
  }
  fc.assert(
    fc.property(
      fc.string({ minLength: 1, maxLength: 80, unit: 'binary' }),
      fc.nat(79),
      fc.integer({ min: 8, max: 40 }),
      (text, nat, limit) => {
        const letters = [...text];
        const at = nat % letters.length;
        const marked = letters.map((letter, index) =>
          index === at ? '\u{1F600}' : letter === '\u{1F600}' ? 'x' : letter,
        );
        const name = marked.join('');
        const cut = cutMiddle(name, limit, name.indexOf('\u{1F600}'));
        expect([...cut].length).toBeLessThanOrEqual(limit);
        expect(cut).toContain('\u{1F600}');
      },
    ),
  );
});

test('[U45] names differ at the letter after what each has in common with any other', () => {
  const names = ['line 1 of the mart', 'line 12 of the mart', 'other'];
  const list = new NameList();
  list.prefixOf(names.map((name) => ({ name })));
  expect(names.map((name) => list.differsAt(name))).toEqual([6, 6, 0]);
});
