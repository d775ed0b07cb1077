/** What the spill file uses of `node:fs`. */
export type Fs = {
  closeSync(fd: number): void;
  fstatSync(fd: number): { nlink: number };
  ftruncateSync(fd: number, size: number): void;
  linkSync(existing: string, path: string): void;
  openSync(path: string, flags: string, mode?: number): number;
  readFileSync(path: string, encoding: 'utf8'): string;
  realpathSync(path: string): string;
  renameSync(from: string, to: string): void;
  rmSync(path: string, options: { force: true }): void;
  writeFileSync(path: string, data: Uint8Array, options: { mode: number }): void;
  writeSync(fd: number, data: Uint8Array, offset: number, length: number, position: number): number;
};

type Process = {
  pid: number;
  /** Throws `ESRCH` if no process has this number. Signal 0 only checks. */
  kill(pid: number, signal: 0): unknown;
};

export type Node = { fs: Fs; process: Process };

/**
 * Returns what the spill file needs of Node.js (20.16 and later), Bun or Deno; undefined elsewhere. It comes from the
 * process, not from an import: `publish` writes before it returns, so a dynamic import would be too late, and a static one
 * would break browsers.
 */
export function nodeOf(scope: object): Node | undefined {
  const { process } = scope as { process?: Process & { getBuiltinModule?(name: string): unknown } };
  const fs = process?.getBuiltinModule?.('node:fs') as Fs | undefined;
  return process && fs && { fs, process };
}
