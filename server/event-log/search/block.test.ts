import fc from 'fast-check';
import { expect, test } from 'vitest';
import { canonicalJson } from '../integrity/canonical.ts';
import { Block } from './block.ts';
import { termsOf } from './terms.ts';

// `an` and `c0` have the same hash.
const word = fc.constantFrom('an', 'c0', 'AN', 'cn', 'e0', 'Run', 'run', '7', 'ราม', '\n', 'a'.repeat(40));
const text = fc.array(word, { maxLength: 8 }).map((words) => words.join(' '));
const events = fc.array(fc.record({ type: text, actor: text, runId: text, message: text }), { maxLength: 12 });

const encodeds = (block: Block) => block.encode().map(({ lines }) => lines);

/** Blocks of the events: with their terms in turn, and with those of all at once. */
function blocksOf(jsons: readonly string[]) {
  const seqs = jsons.map((_, index) => index + 1);
  const added = new Block('p');
  for (const [index, json] of jsons.entries()) added.add(index + 1, json);
  const replaced = new Block('p', [...seqs]);
  replaced.replace(new Map(jsons.map((json, index) => [index + 1, termsOf(json)])));
  return { added, replaced };
}

test('[R5] a block has the terms of its events, also where hashes of terms are equal', () => {
  fc.assert(
    fc.property(events, (some) => {
      const { added, replaced } = blocksOf(some.map(canonicalJson));
      expect(encodeds(added)).toEqual(encodeds(replaced));
    }),
    { numRuns: 500 },
  );
});

test('[R5] [R6] a block that has dropped the terms of events takes the same terms of later events', () => {
  const json = canonicalJson({ actor: 'ada', message: 'an c0 Run', runId: 'run-7', type: 'run.started' });
  const block = new Block('p');
  block.add(1, json);
  block.drop(() => true);
  expect(encodeds(block)).toEqual([]);
  block.add(2, json);
  const found: (readonly number[])[] = [];
  for (const term of termsOf(json)) block.find({ terms: [term], isPrefix: false }, (places) => found.push(places));
  expect(found).toEqual([...termsOf(json)].map(() => [1]));
});
