import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { canonicalJson } from '../integrity/canonical.ts';
import { Block } from './block.ts';
import { termsOf } from './terms.ts';

// `an` and `c0` have the same hash.
const word = fc.constantFrom('an', 'c0', 'AN', 'cn', 'e0', 'Run', 'run', '7', 'ราม', '\n', 'a'.repeat(40));
const text = fc.array(word, { maxLength: 8 }).map((words) => words.join(' '));
const events = fc.array(fc.record({ type: text, actor: text, runId: text, message: text }), {
  maxLength: 24,
  size: 'max',
});

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
  for (let seq = 1; seq <= 20; seq++) block.add(seq, json);
  block.drop(() => true);
  expect(encodeds(block)).toEqual([]);
  block.add(21, json);
  const found: (readonly number[])[] = [];
  for (const term of termsOf(json)) block.find({ terms: [term], isPrefix: false }, (places) => found.push(places));
  expect(found).toEqual([...termsOf(json)].map(() => [20]));
});

test('[R5] blocks of one event each, as many projects have them, take little memory', () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const json = canonicalJson({ actor: 'ada', message: 'an c0 Run', runId: 'run-7', type: 'run.started' });
  collect();
  const before = process.memoryUsage().heapUsed;
  const blocks = Array.from({ length: 2_000 }, (_, index) => new Block(`p${index}`));
  for (const block of blocks) block.add(1, json);
  collect();
  expect((process.memoryUsage().heapUsed - before) / blocks.length).toBeLessThan(5_000);
});
