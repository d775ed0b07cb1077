import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * Ports below those that the system gives to `listen(0)` and to outgoing connections: between the look-up and the use, and
 * while a server that comes back is down, nothing else takes them. Each worker of the tests has its own part.
 */
const FIRST = 20_000;
const WORKERS = 12;
const PORTS = 1_000;

const first = FIRST + (Number(process.env.VITEST_POOL_ID ?? 0) % WORKERS) * PORTS;
let next = Math.floor(Math.random() * PORTS);

/** Returns a port on which nothing listens, for a server that starts later or that comes back at the same address. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < PORTS; tries++) {
    const port = first + (next++ % PORTS);
    if (await isFree(port)) return port;
  }
  throw new Error(`no port from ${first} on is free`);
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  const isListening = await once(server, 'listening').then(
    () => true,
    () => false,
  );
  if (!isListening) return false;
  server.close();
  await once(server, 'close');
  return true;
}
