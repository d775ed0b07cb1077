import { RunwireError } from '../../shared/errors.ts';
import { type Fs, nodeOf } from './node.ts';
import { lockFile } from './spill-lock.ts';

/**
 * The file of drafts that the server has not answered yet. `append` writes before it returns, so the drafts outlive the
 * process, at any end. There is no fsync: a crash of the machine may lose the last seconds.
 *
 * Each line is an entry, the drafts of a request or of a part of it, or a list of settled entries:
 *
 *     +[{"type":"run.created",…}]     entry 0
 *     +[{…},{…}]                      entry 1
 *     -0,1                            entries 0 and 1 are settled
 *
 * A file without pending entries is cut to 0 bytes. A file with many settled entries is written again. Drafts that were
 * stored, but not marked as settled, are sent again after a crash, and the server drops them by their ids.
 */

/** Size of settled entries from which the file is written again, if the pending entries are smaller. */
const REWRITE_BYTES = 1024 * 1024;

const encoder = new TextEncoder();

/** Drafts as JSON, separated by commas. */
type Entry = { json: string; bytes: number };

export class SpillFile {
  readonly #fs: Fs;
  readonly #path: string;
  readonly #unlock: () => void;
  readonly #onError: (error: RunwireError, willRetry: boolean) => void;
  /** The entries that are not settled, in order, each with its number in the file. */
  readonly #pending = new Map<Entry, number>();
  #fd: number;
  #size = 0;
  #pendingBytes = 0;
  #entries = 0;
  #isFailing = false;

  /** Opens a file and locks it. Throws `UNAVAILABLE` if it cannot be opened, or if another publisher uses it. */
  constructor(path: string, onError: (error: RunwireError, willRetry: boolean) => void) {
    const node = nodeOf(globalThis);
    if (!node) throw new RunwireError('INVALID_INPUT', 'a spill file needs Node.js', { path: 'spillPath' });
    const { fs } = node;
    this.#fs = fs;
    this.#onError = onError;
    try {
      // Drafts are written before the PHI guard of the server checks them: only the owner may read them.
      fs.closeSync(fs.openSync(path, 'a', 0o600));
      this.#path = fs.realpathSync(path);
      this.#unlock = lockFile(node, this.#path);
      this.#fd = fs.openSync(this.#path, 'r+');
    } catch (cause) {
      throw openError(path, cause);
    }
  }

  /**
   * Returns the entries that a former process left, in order. `entryOf` makes an entry of its drafts. Call it once, before
   * `append`. Throws `UNAVAILABLE` if the file cannot be read and written.
   */
  recover<E extends Entry>(entryOf: (drafts: readonly object[]) => E): E[] {
    try {
      const entries = this.#read().map((drafts) => entryOf(drafts));
      for (const entry of entries) this.#pending.set(entry, 0);
      this.#rewrite();
      return entries;
    } catch (cause) {
      this.#fs.closeSync(this.#fd);
      this.#unlock();
      throw openError(this.#path, cause);
    }
  }

  /** Writes entries. Throws `UNAVAILABLE` if not all of them could be written; then none is in the file. */
  append(entries: readonly Entry[]): void {
    const text = entries.map(lineOf).join('');
    try {
      this.#write(text);
    } catch (cause) {
      throw unavailable(`the events were not taken: the spill file ${this.#path} cannot be written`, cause);
    }
    for (const entry of entries) {
      this.#pending.set(entry, this.#entries++);
      this.#pendingBytes += entry.bytes;
    }
  }

  /** Marks entries as stored or refused. A failure is reported, once: the entries are then sent again after a crash. */
  settle(entries: readonly Entry[]): void {
    const numbers: number[] = [];
    for (const entry of entries) {
      const number = this.#pending.get(entry);
      if (number === undefined) continue;
      numbers.push(number);
      this.#pending.delete(entry);
      this.#pendingBytes -= entry.bytes;
    }
    if (numbers.length === 0) return;
    try {
      if (this.#pending.size === 0) this.#truncate(0);
      else this.#write(`-${numbers.join(',')}\n`);
      const isRemoved = this.#fs.fstatSync(this.#fd).nlink === 0;
      if (isRemoved || this.#size - this.#pendingBytes > Math.max(REWRITE_BYTES, this.#pendingBytes)) this.#rewrite();
      this.#isFailing = false;
    } catch (cause) {
      if (!this.#isFailing) this.#onError(unavailable(`the spill file ${this.#path} cannot be written`, cause), true);
      this.#isFailing = true;
    }
  }

  /** Removes the file if all entries are settled, and unlocks it. */
  close(): void {
    this.#fs.closeSync(this.#fd);
    if (this.#pending.size === 0) this.#fs.rmSync(this.#path, { force: true });
    this.#unlock();
  }

  #read(): (readonly object[])[] {
    const text = this.#fs.readFileSync(this.#path, 'utf8');
    if (!['', '+', '+['].includes(text.slice(0, 2))) {
      throw new RunwireError('INVALID_INPUT', `${this.#path} is not a spill file`, { path: 'spillPath' });
    }
    const lines = text.split('\n');
    const torn = lines.pop(); // A whole file ends with a newline.
    const entries: (readonly object[] | undefined)[] = [];
    let damaged = 0;
    for (const line of lines) {
      if (line.startsWith('-')) {
        for (const number of line.slice(1).split(','))
          if (Number(number) < entries.length) delete entries[Number(number)];
        continue;
      }
      const drafts = line.startsWith('+') ? draftsOf(line.slice(1)) : undefined;
      if (!drafts) damaged++;
      entries.push(drafts);
    }
    const report = (what: string) => this.#onError(unavailable(`the spill file ${this.#path} has ${what}`), false);
    if (damaged > 0) report(`lines that cannot be read (${damaged}); the others are sent`);
    // The call of `publish` had not returned, or the machine has crashed.
    if (torn !== '') report('an incomplete last line, which is not sent');
    return entries.filter((drafts) => drafts !== undefined);
  }

  #write(text: string): void {
    const bytes = encoder.encode(text);
    try {
      for (let at = 0; at < bytes.length; ) {
        at += this.#fs.writeSync(this.#fd, bytes, at, bytes.length - at, this.#size + at);
      }
    } catch (error) {
      this.#truncate(this.#size); // A full disk may have taken the first bytes.
      throw error;
    }
    this.#size += bytes.length;
  }

  #truncate(size: number): void {
    this.#fs.ftruncateSync(this.#fd, size);
    this.#size = size;
    if (size === 0) this.#entries = 0;
  }

  /** Writes the pending entries to a new file, which then replaces the old one in a single step. */
  #rewrite(): void {
    const path = `${this.#path}.new`;
    const bytes = encoder.encode([...this.#pending.keys()].map(lineOf).join(''));
    try {
      this.#fs.writeFileSync(path, bytes, { mode: 0o600 });
    } catch (error) {
      this.#fs.rmSync(path, { force: true });
      throw error;
    }
    this.#fs.closeSync(this.#fd); // Windows does not replace an open file.
    try {
      this.#fs.renameSync(path, this.#path);
    } finally {
      this.#fd = this.#fs.openSync(this.#path, 'r+');
    }
    this.#size = bytes.length;
    this.#entries = 0;
    this.#pendingBytes = 0;
    for (const entry of this.#pending.keys()) {
      this.#pending.set(entry, this.#entries++);
      this.#pendingBytes += entry.bytes;
    }
  }
}

const lineOf = ({ json }: Entry) => `+[${json}]\n`;

function draftsOf(json: string): object[] | undefined {
  try {
    const drafts: unknown = JSON.parse(json);
    return Array.isArray(drafts) && drafts.length > 0 ? drafts : undefined;
  } catch {
    return undefined;
  }
}

const openError = (path: string, cause: unknown) =>
  cause instanceof RunwireError ? cause : unavailable(`the spill file ${path} cannot be opened`, cause);

function unavailable(message: string, cause?: unknown): RunwireError {
  const { code } = (cause ?? {}) as { code?: string };
  return new RunwireError('UNAVAILABLE', `${message}${code === undefined ? '' : ` (${code})`}`, { cause });
}
