import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants as files, mkdtempSync, openSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Lines } from './output-lines.ts';

/**
 * One real command: its output goes on to the terminal as it is, and its lines are looked at on the way. It gets a
 * process group of its own, so that a signal reaches all that it has started, and reaches it once.
 */

export type Exit = {
  /** As a shell would give it: 128 and the signal's number, 127 for a command that is not there. */
  code: number;
  signal?: NodeJS.Signals | undefined;
  /** Why it could not even be started. */
  reason?: string | undefined;
};

export type Running = { kill(signal: NodeJS.Signals): void; ended: Promise<Exit> };

/** After its end, output that something in the background still holds open is waited for until it falls silent. */
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
      await Promise.race([Promise.all(outputs.map((output) => output.closed)), silence(outputs)]);
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
        // All of the group are gone.
      }
    },
  };
}

type Pipe = { reader: Socket; writeFd: number };

/**
 * Pipes for stdout and stderr. What Node makes itself are sockets, on which `echo > /dev/stderr` fails, and which give a
 * command another error than SIGPIPE.
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
  // Without O_NONBLOCK, opening the one end would wait for the other.
  const fd = openSync(path, files.O_RDONLY | files.O_NONBLOCK);
  const writeFd = openSync(path, files.O_WRONLY);
  return { reader: new Socket({ fd, readable: true, writable: false }), writeFd };
}

type Output = { closed: Promise<unknown>; readonly isSilent: boolean; end(): void };

function follow(from: Socket, to: NodeJS.WriteStream, onLine: (line: string) => void): Output {
  const lines = new Lines(onLine);
  let heardAt = performance.now();
  const hear = (chunk: Buffer) => {
    heardAt = performance.now();
    lines.push(chunk);
  };
  // When nobody reads any more, the command hears of it as it would without us.
  const giveUp = () => from.destroy();
  const closed = new Promise((resolve) => from.once('close', resolve));
  from.on('data', hear);
  from.on('error', () => undefined);
  to.on('error', giveUp);
  if (to.writable) from.pipe(to, { end: false });
  else giveUp();
  return {
    closed,
    get isSilent() {
      return from.destroyed || (!to.writableNeedDrain && performance.now() - heardAt >= SILENCE_MS);
    },
    end: () => {
      from.off('data', hear);
      to.off('error', giveUp);
      lines.end();
    },
  };
}

/** Resolves when no output has come for a while. */
function silence(outputs: readonly Output[]): Promise<void> {
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
