import { type ChildProcess, execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { ReadyDraft } from '../server/event-log/log.ts';

/** What the benches share: rounds in turn, how figures are shown, drafts, and the process of the readers. */

export const ROUNDS = 5;

export type Figure = { median: number; min: number; max: number };
function figure(samples: number[]): Figure {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (index: number) => sorted[index] as number;
  return { median: at(Math.floor(sorted.length / 2)), min: at(0), max: at(sorted.length - 1) };
}

export const say = (text = '') => process.stdout.write(`${text}\n`);
const show = (value: number) => (value >= 100 ? Math.round(value).toLocaleString('en-US') : value.toPrecision(3));
export const row = (name: string, unit: string, { median, min, max }: Figure, ratio = '') =>
  say(`  ${name.padEnd(44)} ${show(median).padStart(9)} ${unit}  (${show(min)}–${show(max)})${ratio && `  ${ratio}`}`);
export const times = (of: Figure, peer: Figure) => `${(of.median / peer.median).toFixed(2)} ×`;

/** Rounds of each contender in turn, so that a slow moment of the machine hits all of them. */
export async function inTurn<K extends string>(contenders: Record<K, () => Promise<number> | number>) {
  const samples = Object.fromEntries(Object.keys(contenders).map((name) => [name, [] as number[]]));
  for (let round = -1; round < ROUNDS; round++) {
    for (const name of Object.keys(contenders) as K[]) {
      const sample = await contenders[name]();
      if (round >= 0) samples[name]?.push(sample); // The first is for warming up.
    }
  }
  return Object.fromEntries(Object.entries(samples).map(([name, of]) => [name, figure(of)])) as Record<K, Figure>;
}

export const perSecond = async (count: number, work: () => unknown): Promise<number> => {
  const begun = performance.now();
  await work();
  return (count / (performance.now() - begun)) * 1000;
};

let drafted = 0;
export const draft = (runId: string, type: string, fields: object): ReadyDraft => {
  const index = drafted++;
  return {
    type,
    projectId: 'bench',
    runId,
    timestamp: new Date(1_700_000_000_000 + index).toISOString(),
    eventId: `event-${String(index).padStart(10, '0')}`,
    ...fields,
  };
};
export const progressOf = (runId: string, index: number) =>
  draft(runId, 'stage.progress', {
    stageId: `stage-${index % 10}`,
    progress: index % 100,
    message: `${'epoch 12 of 40: loss 0.0731, accuracy 0.981 '.repeat(3)}${index}`,
  });

/** Starts the process of the readers: it on the second core, this one on the first, where the machine lets us choose. */
export function startLoad(): ChildProcess {
  const load = fork(fileURLToPath(new URL('./load.ts', import.meta.url)), { execArgv: ['--import', 'tsx'] });
  try {
    for (const [pid, core] of [process.pid, load.pid].entries()) {
      execFileSync('taskset', ['-cp', String(pid), String(core)], { stdio: 'ignore' });
    }
  } catch {
    say('  (no taskset: the processes are not bound to cores)');
  }
  return load;
}

export const answer = async (load: ChildProcess, command: object): Promise<void> => {
  load.send(command);
  await once(load, 'message');
};
