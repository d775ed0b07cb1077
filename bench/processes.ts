import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';

/** The assignment of processes to cores. */

const canPin = availableParallelism() > 1 && spawnSync('taskset', ['-c', '0,1', 'true']).status === 0;
export const pinning = canPin
  ? 'each server on core 0, its load on core 1'
  : 'NOT bound to cores (there is no taskset, or one core only): the figures say little';

/** A command that pins a process to one core, with all its threads. */
export function pinned(core: number, command: string, args: string[]): [string, string[]] {
  return canPin ? ['taskset', ['-c', String(core), command, ...args]] : [command, args];
}

/** Pins a process that runs already, and those that it starts afterwards. */
export function pin(core: number, pid: number): void {
  if (canPin) spawnSync('taskset', ['-cp', String(core), String(pid)]);
}
