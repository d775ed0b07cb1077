import { RunwireError } from '../../shared/errors.ts';
import type { Fs, Node } from './node.ts';

const encoder = new TextEncoder();

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
    const holder = holderAfter(node, draft, lock);
    if (holder === undefined) return () => unlock(fs, lock, mine);
    throw new RunwireError('UNAVAILABLE', `the spill file ${path} is in use by process ${holder}`);
  } finally {
    fs.rmSync(draft, { force: true });
  }
}

/**
 * Tries to take a lock. Returns undefined, or the process that has it. To replace the lock of an ended process is the right of
 * the holder of `<lock>.next`, a lock too: otherwise a process that has read the old lock could remove the new one.
 */
function holderAfter(node: Node, draft: string, lock: string): string | undefined {
  const { fs } = node;
  for (;;) {
    // A link is made with its content in one step, and fails if the name exists.
    if (tryTo(() => fs.linkSync(draft, lock), 'EEXIST')) return undefined;
    const held = read(fs, lock);
    if (held === undefined) continue; // It has just been released.
    const next = `${lock}.next`;
    const holder = isRunning(node, held) ? held.split(' ', 1)[0] : holderAfter(node, draft, next);
    if (holder !== undefined) return holder;
    if (read(fs, lock) === held) {
      fs.renameSync(next, lock);
      return undefined;
    }
    fs.rmSync(next, { force: true }); // Another process has replaced the lock meanwhile.
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
