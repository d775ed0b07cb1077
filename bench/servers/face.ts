import { type AddressInfo, createServer, type Socket } from 'node:net';
import { type BenchEvent, eventOf, runOf } from './event.ts';

/**
 * The face that every contender's process shows to the parent, and what is measured in it. The clock of a delivery and
 * the account of its CPU time begin when the contender says so, which is at the end of the commit. They end when this
 * process hears from the load that the last frame has come, and so could send the next: what a server puts off until
 * after its last write is part of what a delivery costs.
 */

export type ContenderServer = {
  port: number;
  path: string;
  /** WebSocket subprotocol, or an extension that is offered. */
  protocol?: string;
  /** What each reader says, `$RUN` being its run; a number waits for so many messages of the server. */
  greetings: (string | number)[];
  /** Readers that would be sent an event. */
  subscribed(): number;
  /** Sends events of one tick to the readers of their runs; `begin` is to be called when the delivery begins. */
  emit?(events: BenchEvent[], begin: () => void): void | Promise<void>;
  /** What else the parent may ask of this one. */
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
/** `begins`: index of each event and when its delivery began, in ns. `cpuShare`: of one core. */
export type Paced = { begins: [number, string][]; cpuShare: number };

export type Memory = { heapUsed: number; external: number; rss: number };
export type Started = Omit<ContenderServer, 'emit' | 'subscribed' | 'also'> & { controlPort: number };

/** What the parent may ask for, and what it is answered. */
export type Face = {
  measure(shape: Shape): Measured;
  paced(shape: PacedShape): Paced;
  /** When the load said next that everything had come, in ns. */
  acked(): string;
  subscribed(): number;
  memory(): Memory;
};
export type Ask = { kind: string; argument: unknown };

const cpuMicros = () => {
  const { user, system } = process.cpuUsage();
  return user + system;
};
/** Reading the CPU time takes a few µs itself: twice for each tick, once of it within the account. */
const now = () => ({ ns: process.hrtime.bigint(), cpu: cpuMicros() });
type Moment = ReturnType<typeof now>;
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Serves the parent until it goes away. */
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
    if (!begun) throw new Error('the contender has not said when its delivery began');
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
          // Until delivery began, events were made, and committed.
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

/** The load's word, on a connection of its own, that all frames have come: the time of the last, in ns. */
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

/** What the parent set for this process. */
export const optionsOf = <Options>(): Options => JSON.parse(process.argv[2] ?? '{}') as Options;
