import { type AddressInfo, createServer, type Socket } from 'node:net';
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { cpuMicros } from './cost.ts';
import { type BenchEvent, eventOf, runOf } from './event.ts';

/**
 * The interface of each contender process to the parent, and its measurements. The clock and the CPU account stop when
 * the load generator reports the last frame and the process could send the next event: work that a server defers until
 * after its last write is part of the cost. They start with the call that sends or publishes the event. With `afterCommit`
 * they start when the contender calls `begin`, at the end of the commit, and every contender commits.
 */

export type ContenderServer = {
  port: number;
  path: string;
  /** WebSocket subprotocol, or an offered extension. */
  protocol?: string;
  /**
   * Messages of each reader; a number waits for this many server messages. `$RUN`: its run. `$ID`: 1 to 50, by its number,
   * as the ids of subscriptions of clients that have several. `$TOKEN`: its token.
   */
  greetings: (string | number)[];
  /** Reader n has token n, modulo their number. */
  tokens?: string[];
  /** Events that the readers may have received before. Default 0. */
  sent?: number;
  /** Readers that would receive an event. */
  subscribed(): number;
  /** Sends the events of one tick to the readers of their runs. */
  send?(events: BenchEvent[]): unknown;
  /** Resolves once the contender has done the work that `send` has put off. */
  settled?(): Promise<void>;
  /** As `send`, after a commit. Call `begin` when the delivery starts. */
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
  /** Whether the clock starts at the end of the commit. */
  afterCommit?: boolean;
};
export type Measured = { deliveries: number; seconds: number; cpuMicros: number };

/** `size`: events of an interval, sent at once; default 1. `runs`: default 1. `hasCommits`: also notes the ends of the commits. */
export type PacedShape = { intervalMs: number; size?: number; runs?: number; hasCommits?: boolean };
/** Times in ns by event index. */
export type Begins = [number, string][];
/** `cpuShare`: of one core. */
export type Paced = { calls: Begins; commits: Begins | undefined; cpuShare: number };

export type Memory = { heapUsed: number; external: number; rss: number };
export type Started = Omit<ContenderServer, 'send' | 'settled' | 'emit' | 'sent' | 'subscribed' | 'also'> & {
  controlPort: number;
};

/** Requests of the parent, and their responses. */
export type Face = {
  measure(shape: Shape): Measured;
  pace(shape: PacedShape): null;
  paced(): Paced;
  cpuMicros(): number;
  /** The longest turn of the event loop since the previous request, in ms. */
  longestTurn(): number;
  /** The time at which the load generator reports everything as received, in ns. */
  acked(): string;
  subscribed(): number;
  memory(): Memory;
};
export type Ask = { kind: string; argument: unknown };

/** Reading the CPU time takes a few µs: twice per tick, once within the account. */
const now = () => ({ ns: process.hrtime.bigint(), cpu: cpuMicros() });
type Moment = ReturnType<typeof now>;
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Serves the parent until it disconnects. */
export async function serve({
  send,
  settled,
  emit,
  subscribed,
  also,
  sent = 0,
  ...contender
}: ContenderServer): Promise<void> {
  const acks = new Acks();
  let pacer: Pacer | undefined;
  let delays: IntervalHistogram | undefined;
  let index = sent;
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

  /** Sends the events of a number of ticks, and waits until all readers have them. */
  const measure = async ({ events, perTick = 1, ticksPerAck = 1, runs, readersPerRun }: Shape): Promise<Measured> => {
    const all = Array.from({ length: events }, () => nextEvent(runs));
    const start = now();
    for (let at = 0; at < events; ) {
      const acked = readersPerRun > 0 ? acks.next() : undefined;
      for (let tick = 0; tick < ticksPerAck; tick++) {
        await send?.(all.slice(at, at + perTick));
        at += perTick;
        await turn();
      }
      await acked;
    }
    const { ns } = now();
    await settled?.();
    const spent = cpuMicros() - start.cpu;
    return { deliveries: events * readersPerRun, seconds: Number(ns - start.ns) / 1e9, cpuMicros: spent };
  };

  const measureAfterCommit = async (shape: Shape): Promise<Measured> => {
    const { events, perTick = 1, ticksPerAck = 1, runs, readersPerRun } = shape;
    let ns = 0n;
    let cpu = 0;
    for (let left = events; left > 0; ) {
      const acked = readersPerRun > 0 ? acks.next() : undefined;
      const start = now();
      let before = start;
      for (let tick = 0; tick < ticksPerAck; tick++) {
        left -= perTick;
        const begun = await emitTick(Array.from({ length: perTick }, () => nextEvent(runs)));
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
  };

  const face: { [K in keyof Face]: (argument: Parameters<Face[K]>[0]) => Promise<ReturnType<Face[K]>> } = {
    measure: (shape) => (shape.afterCommit ? measureAfterCommit(shape) : measure(shape)),

    async pace({ intervalMs, size = 1, runs = 1, hasCommits = false }) {
      pacer = new Pacer(intervalMs, async (noteCall, noteCommit) => {
        const first = index + 1;
        const events = Array.from({ length: size }, () => nextEvent(runs));
        const indices = events.map((_, at) => first + at);
        noteCall(indices);
        if (hasCommits) await emit?.(events, () => noteCommit(indices));
        else await send?.(events);
      });
      return null;
    },

    async paced() {
      const paced = await (pacer as Pacer).stop();
      pacer = undefined;
      return paced;
    },

    cpuMicros: async () => cpuMicros(),

    async longestTurn() {
      delays ??= monitorEventLoopDelay({ resolution: 1 });
      delays.enable();
      const { max } = delays;
      delays.reset();
      return max / 1e6;
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

type Note = (indices: readonly number[]) => void;

/** Sends events at each interval, and notes the time of the call and, if the work does, of the end of its commit. */
class Pacer {
  readonly #calls: Begins = [];
  readonly #commits: Begins = [];
  readonly #begun = now();
  readonly #intervalMs: number;
  readonly #timer: NodeJS.Timeout;
  readonly #running = new Set<Promise<void>>();

  constructor(intervalMs: number, work: (noteCall: Note, noteCommit: Note) => Promise<void>) {
    this.#intervalMs = intervalMs;
    const noteIn = (begins: Begins): Note => {
      return (indices) => {
        const ns = String(process.hrtime.bigint());
        for (const index of indices) begins.push([index, ns]);
      };
    };
    this.#timer = setInterval(() => {
      const running = work(noteIn(this.#calls), noteIn(this.#commits)).finally(() => this.#running.delete(running));
      this.#running.add(running);
    }, intervalMs);
  }

  async stop(): Promise<Paced> {
    clearInterval(this.#timer);
    await Promise.all(this.#running);
    // Until the last event has arrived.
    await new Promise((resolve) => setTimeout(resolve, this.#intervalMs));
    const ended = now();
    const [calls, commits] = [this.#calls, this.#commits.length > 0 ? this.#commits : undefined];
    const cpuShare = ((ended.cpu - this.#begun.cpu) * 1_000) / Number(ended.ns - this.#begun.ns);
    return { calls, commits, cpuShare };
  }
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
