import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { RunServer } from '../../server/run-server.ts';
import { Dice } from '../chaos/random.ts';
import type { ProcessOptions } from './process.ts';

/** Starts publishing processes, and kills them at seeded moments. */

export type Publishing = { child: ChildProcess; stdout(): string; stderr(): string; ended: Promise<unknown[]> };

/** `before` are commands of the shell, which limit the process. */
export function startPublishing(script: string, options: ProcessOptions, before = ''): Publishing {
  const args = ['-c', `${before} exec "$0" "$@"`, process.execPath, script, JSON.stringify(options)];
  const child = spawn('/bin/sh', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.on('data', (chunk: Buffer) => {
      output[name] += chunk;
    });
  }
  return { child, stdout: () => output.stdout, stderr: () => output.stderr, ended: once(child, 'close') };
}

export type KillPlan = {
  script: string;
  seed: number;
  kills: number;
  folder: string;
  target: () => { url: string; token: string };
  /** Called during each life, at a seeded moment of it. */
  disturb?: (dice: Dice) => Promise<void>;
};

export type Killed = {
  /** What `publish` took, in order. */
  taken: string[];
  /** Errors of the processes, without outages and without lines that a kill has cut. */
  failures: string[];
};

/** Publishes in `kills` processes after each other, each killed at a seeded moment; a last one sends the rest. */
export async function killPublishers({ script, seed, kills, folder, target, disturb }: KillPlan): Promise<Killed> {
  const dice = new Dice(seed);
  const takenPath = join(folder, 'taken');
  const common = { spillPath: join(folder, 'spill'), takenPath };
  const failures: string[] = [];
  for (let life = 0; life <= kills; life++) {
    const isLast = life === kills;
    const way = isLast ? 'drain' : 'untilKilled';
    const publishing = startPublishing(script, { ...common, ...target(), life, seed: dice.seed(), way });
    if (isLast) await publishing.ended;
    else {
      const lengthBefore = lengthOf(takenPath);
      while (lengthOf(takenPath) === lengthBefore && publishing.child.exitCode === null) await delay(1);
      const disturbed = disturb?.(dice);
      await delay(dice.between(0, 400));
      publishing.child.kill('SIGKILL');
      await publishing.ended;
      await disturbed;
    }
    failures.push(
      ...publishing
        .stderr()
        .split('\n')
        .filter((line) => line !== '' && !/^retried|incomplete last line/.test(line)),
    );
  }
  return { taken: readFileSync(takenPath, 'utf8').trim().split('\n'), failures };
}

const lengthOf = (path: string) => (existsSync(path) ? readFileSync(path).length : 0);

/** The names of the events in the log, in order. */
export async function namesOf({ log }: Pick<RunServer, 'log'>): Promise<string[]> {
  const names: string[] = [];
  let after = 0;
  while (after < log.head) {
    const page = await log.read({ scope: { kind: 'all' }, after, limit: 1_000 });
    for (const { event } of page.records) {
      const { message, progress } = event as { message?: string; progress?: number };
      names.push(progress === undefined ? (message?.split(' ', 1)[0] ?? '') : String(progress));
    }
    after = page.scannedTo;
  }
  return names;
}

/** Compares the log with what was taken: the names of lost and of repeated events, and whether the log has the order. */
export function judge(taken: readonly string[], logged: readonly string[]) {
  const counts = new Map<string, number>();
  for (const name of logged) counts.set(name, (counts.get(name) ?? 0) + 1);
  const isOrdered = logged.every((name, at) => {
    if (at === 0) return true;
    const [life = 0, number = 0] = partsOf(name);
    const [lifeBefore = 0, numberBefore = 0] = partsOf(logged[at - 1] as string);
    return life > lifeBefore || (life === lifeBefore && number > numberBefore);
  });
  return {
    lost: taken.filter((name) => !counts.has(name)),
    repeated: [...counts].filter(([, count]) => count > 1).map(([name]) => name),
    isOrdered,
  };
}

const partsOf = (name: string) => name.split('-').map(Number);
