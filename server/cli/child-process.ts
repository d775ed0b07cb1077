import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants as files, mkdtempSync, openSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Lines } from './output-lines.ts';

/**
 * Runs one command: copies its output to the terminal unchanged, and calls `onLine` with each line. The command runs in
 * its own process group, so that a signal reaches every process that the command started, once.
 */

export type Exit = {
  /** Exit code as a shell reports it: 128 plus the number of the signal; 127 if the command does not exist. */
  code: number;
  signal?: NodeJS.Signals | undefined;
  /** Why the command could not be started. Undefined if the command was started. */
  reason?: string | undefined;
};

export type Running = { kill(signal: NodeJS.Signals): void; ended: Promise<Exit> };

/** A background process may keep the output open after the command's end. Reading ends after this time of silence. */
const SILENCE_MS = 1_000;

export function start(file: string, args: readonly string[], onLine: (line: string) => void): Running {
  const [out, error] = openPipes();
  const child = spawn(file, args, { stdio: ['inherit', out.writeFd, error.writeFd], detached: true });
  const exited = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  for (const { writeFd } of [out, error]) closeSync(writeFd);
  const outputs = [follow(out.reader, process.stdout, onLine), follow(error.reader, process.stderr, onLine)];

  const end = async (): Promise<Exit> => {
    try {
      const [code, signal] = await exited;
      await Promise.race([Promise.all(outputs.map((output) => output.closed)), silenceOf(outputs)]);
      return signal === null ? { code: code ?? 1 } : { code: 128 + constants.signals[signal], signal };
    } catch (cause) {
      const isMissing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
      return { code: isMissing ? 127 : 126, reason: isMissing ? 'command not found' : 'command cannot be started' };
    } finally {
      for (const output of outputs) output.end();
    }
  };

  return {
    ended: end(),
    kill: (signal) => {
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, signal);
      } catch {
        // The signal failed because every process of the group has ended.
      }
    },
  };
}

type Pipe = { reader: Socket; writeFd: number };

/**
 * Opens FIFOs (named pipes) for stdout and stderr. Node's own pipes are sockets: `echo > /dev/stderr` fails on a
 * socket, and a command that writes to a closed socket gets no SIGPIPE.
 */
function openPipes(): [Pipe, Pipe] {
  const folder = mkdtempSync(join(tmpdir(), 'runwire-'));
  const paths = [join(folder, 'out'), join(folder, 'error')] as const;
  try {
    execFileSync('mkfifo', ['-m', '600', ...paths], { stdio: 'ignore' });
    return [openPipe(paths[0]), openPipe(paths[1])];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function openPipe(path: string): Pipe {
  // Without O_NONBLOCK, this call would wait until the other end is opened.
  const fd = openSync(path, files.O_RDONLY | files.O_NONBLOCK);
  const writeFd = openSync(path, files.O_WRONLY);
  return { reader: new Socket({ fd, readable: true, writable: false }), writeFd };
}

type Output = { closed: Promise<unknown>; readonly isSilent: boolean; end(): void };

function follow(from: Socket, to: NodeJS.WriteStream, onLine: (line: string) => void): Output {
  const lines = new Lines(onLine);
  let lastChunkAt = performance.now();
  const onData = (chunk: Buffer) => {
    lastChunkAt = performance.now();
    lines.push(chunk);
  };
  // Called after an error of `to`. Closing `from` gives the command SIGPIPE, as in a pipeline of a shell.
  const stop = () => from.destroy();
  const closed = new Promise((resolve) => from.once('close', resolve));
  from.on('data', onData);
  from.on('error', () => undefined);
  to.on('error', stop);
  if (to.writable) from.pipe(to, { end: false });
  else stop();
  return {
    closed,
    get isSilent() {
      return from.destroyed || (!to.writableNeedDrain && performance.now() - lastChunkAt >= SILENCE_MS);
    },
    end: () => {
      from.off('data', onData);
      to.off('error', stop);
      lines.end();
    },
  };
}

/** Resolves once there was no output for {@link SILENCE_MS}. */
function silenceOf(outputs: readonly Output[]): Promise<void> {
  return new Promise((resolve) => {
    const since = performance.now();
    const timer = setInterval(() => {
      if (performance.now() - since < SILENCE_MS || !outputs.every((output) => output.isSilent)) return;
      clearInterval(timer);
      resolve();
    }, SILENCE_MS / 5);
    timer.unref();
  });
}
