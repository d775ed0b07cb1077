import { parseArgs } from 'node:util';
import { bundleServer } from '../chaos/server.ts';
import { fuzz, type Report } from './run.ts';

/**
 * Sends random input to the HTTP and WebSocket interfaces of a server:
 *
 *     npm run fuzz -- --seconds 600
 *     npm run fuzz -- --seconds 60 --only ws
 *     npm run fuzz -- --seed 12345 --at 678   # replays one case
 */

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string' },
    only: { type: 'string' },
    at: { type: 'string' },
  },
});
const say = (text: string) => process.stdout.write(`${text}\n`);
const numberOf = (name: 'seconds' | 'seed' | 'at', fallback: number): number => {
  const value = Number(values[name] ?? fallback);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${name} must be a non-negative integer`);
  return value;
};
const { only } = values;
if (only !== undefined && only !== 'ws' && only !== 'http') throw new Error('--only is ws or http');

function describe({ cases, inputs, coverage, witnessed, heapBytes }: Report): string {
  const rows = [...coverage]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([kind, covered]) => {
      const outcomes = [...covered.outcomes].sort(([, a], [, b]) => b - a);
      const most = outcomes.slice(0, 5).map(([outcome, count]) => `${outcome} ${count}`);
      return `${kind.padEnd(40)} ${String(covered.cases).padStart(7)} ${String(covered.inputs).padStart(8)}  ${most.join(', ')}`;
    });
  const heaps = heapBytes.map((bytes) => (bytes / 2 ** 20).toFixed(1)).join(' ');
  return `${rows.join('\n')}\n${coverage.size} kinds, ${cases} cases, ${inputs} inputs; the bystander read ${witnessed} events; heap in MiB: ${heaps}`;
}

const seed = numberOf('seed', Math.floor(Math.random() * 2 ** 31));
say(`seed ${seed}`);
using bundle = await bundleServer();
const at = values.at === undefined ? undefined : numberOf('at', 0);
const report = await fuzz({ script: bundle.path, seed, seconds: numberOf('seconds', 60), only, at, say });
say(describe(report));
for (const { n, what, given } of report.problems) {
  say(`\n${what}\n  npm run fuzz -- --seed ${seed} --at ${n}${only ? ` --only ${only}` : ''}`);
  if (given) say(`  ${JSON.stringify(given).slice(0, 4_000)}`);
}
say(report.problems.length === 0 ? '0 problems' : `\n${report.problems.length} problems`);
process.exitCode = report.problems.length === 0 ? 0 : 1;
