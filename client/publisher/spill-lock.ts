import { RunwireError } from '../../shared/errors.ts';
import type { Fs, Node } from './node.ts';

const encoder = new TextEncoder();

/** Attempts to take a lock that other processes take at the same time. */
const MAX_ATTEMPTS = 10;

/**
 * Locks a file for this process by a second file, `<path>.lock`, which names the process. Returns the function that
 * unlocks it. Throws `UNAVAILABLE` while a running process has the lock.
 *
 * Node.js has no lock that ends with its process. The lock of an ended process is replaced. Its number may have been
 * given to another process meanwhile, so the lock also has the start of the process, where the system shows it (Linux).
 */
export function lockFile(node: Node, path: string): () => void {
  const { fs } = node;
  const lock = `${path}.lock`;
  const { pid } = node.process;
  const mine = `${pid} ${startOf(fs, pid)}\n`;
  const draft = `${lock}.${pid}.${Math.random().toString(36).slice(2)}`;
  fs.writeFileSync(draft, encoder.encode(mine), { mode: 0o600 });
  try {
    for (let attempt = 1; ; attempt++) {
      // A link is made with its content in one step, and fails if the name exists.
      if (tryTo(() => fs.linkSync(draft, lock), 'EEXIST')) return () => unlock(fs, lock, mine);
      const held = read(fs, lock);
      if (attempt > MAX_ATTEMPTS || (held !== undefined && isRunning(node, held))) {
        const holder = held?.split(' ', 1)[0] ?? 'unknown';
        throw new RunwireError('UNAVAILABLE', `the spill file ${path} is in use by process ${holder}`);
      }
      // Another process may replace the same lock. The rename moves one lock, and a lock that was not read goes back.
      const moved = `${draft}.old`;
      if (held === undefined || !tryTo(() => fs.renameSync(lock, moved), 'ENOENT')) continue;
      if (read(fs, moved) !== held) tryTo(() => fs.linkSync(moved, lock), 'EEXIST');
      fs.rmSync(moved, { force: true });
    }
  } finally {
    fs.rmSync(draft, { force: true });
  }
}

function unlock(fs: Fs, lock: string, mine: string): void {
  if (read(fs, lock) === mine) fs.rmSync(lock, { force: true });
}

/** Returns whether the process that a lock names is running. */
function isRunning({ fs, process }: Node, lock: string): boolean {
  const [name = '', start = ''] = lock.trim().split(' ');
  const pid = Number(name);
  if (!(pid > 0)) return false;
  try {
    process.kill(pid, 0); // Signal 0 only checks the process.
  } catch (error) {
    if ((error as { code?: string }).code === 'ESRCH') return false; // EPERM: it runs as another user.
  }
  return startOf(fs, pid) === start;
}

/** Returns when a process started, in ticks of Linux since the machine started; empty on other systems. */
function startOf(fs: Fs, pid: number): string {
  const stat = read(fs, `/proc/${pid}/stat`) ?? '';
  // The name of the program, in parentheses, may contain blanks.
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}

function read(fs: Fs, path: string): string | undefined {
  try {
    return fs.readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** Returns whether `action` succeeded; false if it failed with `code`. */
function tryTo(action: () => void, code: string): boolean {
  try {
    action();
    return true;
  } catch (error) {
    if ((error as { code?: string }).code === code) return false;
    throw error;
  }
}
