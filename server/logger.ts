import { fstatSync } from 'node:fs';
import { Socket } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import pino, { type Logger } from 'pino';

/** Size of the lines that wait until stderr is read. Further lines are dropped. */
const MAX_WAITING_BYTES = 1024 * 1024;
const FLUSH_LIMIT_MS = 500;
const STDERR = 2;

/**
 * The log of a server's process, on stderr. A pipe or a socket is written without waiting: a reader that stalls does not hold the
 * event loop. A line reports how many others were dropped meanwhile. `close` writes the rest, for at most 0.5 s. Rejected: pino's
 * asynchronous destination, because its write blocks a thread, and the process cannot exit before that thread.
 */
export function openLogger(): { logger: Logger; close(): Promise<void> } {
  const stat = fstatSync(STDERR);
  if (!stat.isFIFO() && !stat.isSocket()) {
    return { logger: pino({ level: 'info' }, pino.destination(STDERR)), close: async () => undefined };
  }
  const stream = new Socket({ fd: STDERR, readable: false, writable: true });
  stream.on('error', () => undefined); // The reader has closed stderr.
  let dropped = 0;
  const write = (line: string) => {
    if (stream.writableLength > MAX_WAITING_BYTES) dropped++;
    else if (!stream.destroyed) stream.write(line);
  };
  const logger = pino({ level: 'info' }, { write });
  stream.on('drain', () => {
    if (dropped === 0) return;
    const lines = dropped;
    dropped = 0;
    logger.warn({ lines }, 'lines of this log were dropped: stderr was read too slowly');
  });
  const close = async () => {
    const written = new Promise<void>((resolve) => stream.write('', () => resolve()));
    await Promise.race([written, setTimeout(FLUSH_LIMIT_MS)]);
    stream.destroy();
  };
  return { logger, close };
}
