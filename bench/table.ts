import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Check, type Row, show, showBound } from './figures.ts';

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
  const [lost, kept] = [false, true].map((isKept) => checks.filter(({ isReached }) => isReached === isKept)) as [
    Check[],
    Check[],
  ];
  const out = [
    `Taken ${takenAt.slice(0, 10)} in ${seconds} s${isQuick ? ' with `--quick`' : ''}, median of ${rounds} rounds (least to most).`,
    `${machine.cores} × ${machine.processor}, ${machine.memoryGiB} GiB, ${machine.system}; ${machine.pinning}.`,
    `Load of the machine before: ${show(machine.loadBefore)}${machine.loadBefore > 0.5 ? ', so it was **not quiet**: to be taken again' : ''}.`,
    `${Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')}.`,
    '',
    ...figures(rows.filter(({ line }) => line === rows[0]?.line)),
    ...promises('Lost', lost),
    ...promises('Kept', kept),
    '### Other figures',
    '',
    ...figures(rows.filter(({ line }) => line !== rows[0]?.line)),
    ...notes.map((note) => `- ${note}`),
  ];
  return out.join('\n').trimEnd();
}

/** Medians, and least to most. */
function figures(rows: readonly Row[]): string[] {
  const out: string[] = [];
  let of = '';
  for (const { line, name, unit, median, min, max } of rows) {
    if (line !== of) out.push(...(of ? [''] : []), `**${line}**`, '', '| | |', '|---|---|');
    of = line;
    const figure = `${show(median)} ${unit}${min === max ? '' : ` (${show(min)}–${show(max)})`}`;
    // A row without a name is another figure of the row before.
    if (name === '') out.push(`${out.pop()?.slice(0, -2)}; ${figure} |`);
    else out.push(`| ${name.trim()} | ${figure} |`);
  }
  return [...out, ''];
}

function promises(title: string, checks: readonly Check[]): string[] {
  if (checks.length === 0) return [];
  const rows = checks.map(({ line, name, value, unit, bound }) => {
    return `| ${line} | ${name} | ${show(value)} ${unit} | ${showBound(bound)} |`;
  });
  return [`### ${title}`, '', '| | | found | promised |', '|---|---|---:|---|', ...rows, ''];
}

const path = fileURLToPath(new URL('../docs/benchmarks.md', import.meta.url));
const text = readFileSync(path, 'utf8');
const [before, after] = [text.indexOf(BEGIN), text.indexOf(END)];
if (before < 0 || after < 0) throw new Error(`${path} lacks the markers ${BEGIN} and ${END}`);
const results = JSON.parse(readFileSync(0, 'utf8')) as Results;
writeFileSync(path, `${text.slice(0, before + BEGIN.length)}\n\n${render(results)}\n\n${text.slice(after)}`);
