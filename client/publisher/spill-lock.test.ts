import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { Fs } from './node.ts';
import { lockFile } from './spill-lock.ts';

/** Locks as a running process. Calls `before` with the number of each file operation. Returns whether it has the lock. */
function lockAs(pid: number, path: string, before: (operation: number) => void = () => undefined): boolean {
  let operations = 0;
  const watched = new Proxy(fs as unknown as Fs, {
    get: (target, name: keyof Fs) => {
      return (...args: never[]) => {
        before(operations++);
        return (target[name] as (...args: never[]) => unknown)(...args);
      };
    },
  });
  try {
    lockFile({ fs: watched, process: { pid, kill: process.kill.bind(process) } }, path);
    return true;
  } catch (error) {
    expect(error).toMatchObject({ code: 'UNAVAILABLE', message: expect.stringContaining('is in use by process') });
    return false;
  }
}

function folderWith(locks: Record<string, string>): string {
  const folder = fs.mkdtempSync(join(tmpdir(), 'runwire-lock-'));
  onTestFinished(() => fs.rmSync(folder, { recursive: true }));
  for (const [name, content] of Object.entries(locks)) fs.writeFileSync(join(folder, name), content);
  return join(folder, 'spill');
}

const ended = `${2 ** 22 + 1} 1\n`; // No process has so high a number.

test.each([
  ['its process has ended', { 'spill.lock': ended }],
  ['a process has ended while it replaced it', { 'spill.lock': ended, 'spill.lock.next': ended }],
])('[P13] of processes that take a lock at the same time, one gets it: %s', (_case, locks) => {
  let operations = 0;
  lockAs(process.pid, folderWith(locks), (operation) => {
    operations = operation;
  });
  expect(operations).toBeGreaterThan(5);
  for (let first = 0; first <= operations; first++) {
    for (let second = first; second <= operations; second++) {
      const path = folderWith(locks);
      let holders = 0;
      const isHeld = lockAs(process.pid, path, (operation) => {
        if (operation === first && lockAs(process.ppid, path)) holders++;
        if (operation === second && lockAs(1, path)) holders++;
      });
      expect([first, second, holders + Number(isHeld)]).toEqual([first, second, 1]);
      expect(fs.readdirSync(join(path, '..'))).toEqual(['spill.lock']);
    }
  }
});
