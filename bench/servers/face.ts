import { type AddressInfo, createServer, type Socket } from 'node:net';
import { type BenchEvent, eventOf, runOf } from './event.ts';

/**
 * The interface of each contender process to the parent, and its measurements. The clock and the CPU account of a
 * delivery start when the contender calls `begin`, at the end of the commit. They stop when the load generator reports
 * the last frame and the process could send the next event: work that a server defers until after its last write is
 * part of the cost.
 */

export type ContenderServer = {
  port: number;
  path: string;
  /** WebSocket subprotocol, or an offered extension. */
  protocol?: string;
  /** Messages of each reader, `$RUN` replaced by its run; a number waits for this many server messages. */
  greetings: (string | number)[];
  /** Readers that would receive an event. */
  subscribed(): number;
  /** Sends the events of one tick to the readers of their runs. Call `begin` when the delivery starts. */
  emit?(events: BenchEvent[], begin: () => void): void | Promise<void>;
  /** Further requests of the parent. */
  also?: Record<string, (argument: never) => unknown>;
};

export type Shape = {
  events: number;
  /** Events emitted at once; default 1. */
  perTick?: number;
  /** Ticks after which to wait until all readers have everything; default 1, one at a time. */
  ticksPerAck?: number;
  /** Events go to these runs at random. */
  runs: number;
  readersPerRun: number;
};
export type Measured = { deliveries: number; seconds: number; cpuMicros: number };

export type PacedShape = { events: number; intervalMs: number };
/** `begins`: the start of each delivery by event index, in ns. `cpuShare`: of one core. */
export type Paced = { begins: [number, string][]; cpuShare: number };

export type Memory = { heapUsed: number; external: number; rss: number };
export type Started = Omit<ContenderServer, 'emit' | 'subscribed' | 'also'> & { controlPort: number };

/** Requests of the parent, and their responses. */
export type Face = {
  measure(shape: Shape): Measured;
  paced(shape: PacedShape): Paced;
  /** The time at which the load generator reports everything as received, in ns. */
  acked(): string;
  subscribed(): number;
  memory(): Memory;
};
export type Ask = { kind: string; argument: unknown };

const cpuMicros = () => {
  const { user, system } = process.cpuUsage();
  return user + system;
};
/** Reading the CPU time takes a few µs: twice per tick, once within the account. */
const now = () => ({ ns: process.hrtime.bigint(), cpu: cpuMicros() });
type Moment = ReturnType<typeof now>;
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Serves the parent until it disconnects. */
export async function serve({ emit, subscribed, also, ...contender }: ContenderServer): Promise<void> {
  const acks = new Acks();
  let index = 0;
  let seed = 1;
  const nextEvent = (runs: number) => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    index++;
    return eventOf(index, runOf(Math.floor((seed / 2 ** 32) * runs)));
  };
  const emitTick = async (events: BenchEvent[]): Promise<Moment> => {
    let begun: Moment | undefined;
    await emit?.(events, () => {
      begun = now();
    });
    if (!begun) throw new Error('the contender did not call begin()');
    return begun;
  };

  const face: { [K in keyof Face]: (argument: Parameters<Face[K]>[0]) => Promise<ReturnType<Face[K]>> } = {
    async measure({ events, perTick = 1, ticksPerAck = 1, runs, readersPerRun }) {
      let ns = 0n;
      let cpu = 0;
      for (let left = events; left > 0; ) {
        const acked = readersPerRun > 0 ? acks.next() : undefined;
        const start = now();
        let before = start;
        for (let tick = 0; tick < ticksPerAck && left > 0; tick++) {
          const count = Math.min(perTick, left);
          left -= count;
          const begun = await emitTick(Array.from({ length: count }, () => nextEvent(runs)));
          // Before the delivery, events were created and committed.
          ns -= begun.ns - before.ns;
          cpu -= begun.cpu - before.cpu;
          await turn();
          before = now();
        }
        await acked;
        const ended = now();
        ns += ended.ns - start.ns;
        cpu += ended.cpu - start.cpu;
      }
      return { deliveries: events * readersPerRun, seconds: Number(ns) / 1e9, cpuMicros: cpu };
    },

    async paced({ events, intervalMs }) {
      const begins: [number, string][] = [];
      const begun = now();
      await new Promise<void>((resolve) => {
        const timer = setInterval(async () => {
          const event = nextEvent(1);
          if (begins.length + 1 >= events) clearInterval(timer);
          const { ns } = await emitTick([event]);
          begins.push([index, String(ns)]);
          if (begins.length >= events) resolve();
        }, intervalMs);
      });
      await new Promise((resolve) => setTimeout(resolve, intervalMs));
      const ended = now();
      return { begins, cpuShare: ((ended.cpu - begun.cpu) * 1_000) / Number(ended.ns - begun.ns) };
    },

    acked: async () => String(await acks.next()),
    subscribed: async () => subscribed(),

    async memory() {
      for (let round = 0; round < 5; round++) {
        global.gc?.();
        await turn();
      }
      const { heapUsed, external, rss } = process.memoryUsage();
      return { heapUsed, external, rss };
    },
  };

  const all: Record<string, (argument: never) => unknown> = { ...face, ...also };
  process.on('message', async ({ kind, argument }: Ask) => {
    process.send?.(await all[kind]?.(argument as never));
  });
  process.on('disconnect', () => process.exit(0));
  process.send?.({ ...contender, controlPort: await acks.listen() } satisfies Started);
}

/** A connection on which the load generator reports the time of the last frame, in ns. */
class Acks {
  #arrived: bigint[] = [];
  #waiting: ((ns: bigint) => void) | undefined;

  listen(): Promise<number> {
    const server = createServer((socket: Socket) => {
      let text = '';
      socket.on('error', () => socket.destroy());
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1');
        const lines = text.split('\n');
        text = lines.pop() ?? '';
        for (const line of lines) this.#arrived.push(BigInt(line));
        this.#settle();
      });
    });
    return new Promise((resolve) => {
      server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
    });
  }

  next(): Promise<bigint> {
    return new Promise((resolve) => {
      this.#waiting = resolve;
      this.#settle();
    });
  }

  #settle(): void {
    if (!this.#waiting) return;
    const ns = this.#arrived.shift();
    if (ns === undefined) return;
    const resolve = this.#waiting;
    this.#waiting = undefined;
    resolve(ns);
  }
}

/** The settings of this process by the parent. */
export const optionsOf = <Options>(): Options => JSON.parse(process.argv[2] ?? '{}') as Options;
