import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Check, type Row, show, showBound, showReached } from './figures.ts';

/** `npm run bench:table < results.json`: writes the results of `npm run bench -- --json` into docs/benchmarks.md. */

type Results = {
  takenAt: string;
  isQuick: boolean;
  rounds: number;
  seconds: number;
  machine: { processor: string; cores: number; memoryGiB: number; system: string; pinning: string; loadBefore: number };
  versions: Record<string, string>;
  rows: Row[];
  checks: Check[];
  notes: string[];
};

const BEGIN = '<!-- results: written by `npm run bench:table` -->';
const END = '<!-- end of results -->';

function render({ takenAt, isQuick, rounds, seconds, machine, versions, rows, checks, notes }: Results): string {
  const out = [
    `Taken ${takenAt.slice(0, 10)} in ${seconds} s${isQuick ? ' with `--quick`' : ''}, median of ${rounds} rounds (least to most).`,
    `${machine.cores} × ${machine.processor}, ${machine.memoryGiB} GiB, ${machine.system}; ${machine.pinning}.`,
    `Load of the machine before: ${show(machine.loadBefore)}${machine.loadBefore > 0.5 ? ', so it was **not quiet**: to be taken again' : ''}.`,
    `${Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')}.`,
    '',
    '### What is promised',
    '',
    '| | | found | promised | |',
    '|---|---|---:|---|---|',
    ...checks.map((check) => {
      const { line, name, value, unit, bound } = check;
      return `| ${line} | ${name} | ${show(value)} ${unit} | ${showBound(bound)} | ${showReached(check)} |`;
    }),
    '',
    '### Figures',
  ];
  let of = '';
  for (const { line, name, unit, median, min, max } of rows) {
    if (line !== of) out.push('', `**${line}**`, '', '| | median | least to most |', '|---|---:|---|');
    of = line;
    out.push(`| ${name.trim()} | ${show(median)} ${unit} | ${show(min)}–${show(max)} |`);
  }
  if (notes.length > 0) out.push('', ...notes.map((note) => `- ${note}`));
  return out.join('\n');
}

const path = fileURLToPath(new URL('../docs/benchmarks.md', import.meta.url));
const text = readFileSync(path, 'utf8');
const [before, after] = [text.indexOf(BEGIN), text.indexOf(END)];
if (before < 0 || after < 0) throw new Error(`${path} lacks the markers ${BEGIN} and ${END}`);
const results = JSON.parse(readFileSync(0, 'utf8')) as Results;
writeFileSync(path, `${text.slice(0, before + BEGIN.length)}\n\n${render(results)}\n\n${text.slice(after)}`);
