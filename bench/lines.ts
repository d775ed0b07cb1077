import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Contender, PeerName } from './contender.ts';
import type { Figure, Report } from './figures.ts';

/** `node`: the program that runs the server; default that of the bench. */
type Start = (name: string, options?: object, node?: string) => Promise<Contender>;

/** The environment of a line of the bench. */
export class Bench {
  readonly report: Report;
  /** Rounds of each line; one more round runs first as a warm-up. */
  readonly rounds: number;
  /** Reduces everything but the number of readers. */
  readonly isQuick: boolean;
  readonly #folder: string;
  /** Entry point of an older Runwire, to measure beside this one. */
  readonly old: string | undefined;
  /** Another Node.js, for the lines of publishing. */
  readonly node: string | undefined;
  readonly #start: Start;
  readonly #kept = new Map<PeerName, Contender>();

  constructor(options: {
    report: Report;
    rounds: number;
    isQuick: boolean;
    folder: string;
    old: string | undefined;
    node: string | undefined;
    start: Start;
  }) {
    this.report = options.report;
    this.rounds = options.rounds;
    this.isQuick = options.isQuick;
    this.#folder = options.folder;
    this.old = options.old;
    this.node = options.node;
    this.#start = options.start;
  }

  /** Path for a database, in a folder of its own: a log keeps its key and its checkpoints beside its file. */
  pathOf(name: string): string {
    const folder = join(this.#folder, name);
    mkdirSync(folder, { recursive: true });
    return join(folder, 'log.db');
  }

  /** Starts a contender for one line, which must stop it. */
  start(name: string, options: object = {}, node?: string): Promise<Contender> {
    return this.#start(name, name === 'old' ? { ...options, product: this.old } : options, node);
  }

  /** Those of the names that can run: `old` is left out without an older Runwire. */
  among<Name extends string>(...names: Name[]): Name[] {
    return names.filter((name) => name !== 'old' || this.old !== undefined);
  }

  /** The shared contenders of the delivery lines, each with the given number of readers. */
  async contenders(names: readonly PeerName[], readers: number, runs: number): Promise<Map<PeerName, Contender>> {
    const found = await Promise.all(
      this.among(...names).map(async (name) => {
        const contender = this.#kept.get(name) ?? (await this.start(name));
        this.#kept.set(name, contender);
        await contender.open(readers, runs);
        return [name, contender] as const;
      }),
    );
    return new Map(found);
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#kept.values()].map((contender) => contender.stop()));
    this.#kept.clear();
  }

  /** Runs the contenders in turn in each round, so that a slow moment of the machine affects all of them. */
  async inTurn<Name, Subject, Sample>(
    subjects: ReadonlyMap<Name, Subject>,
    measure: (subject: Subject, name: Name) => Promise<Sample> | Sample,
  ): Promise<Map<Name, Sample[]>> {
    const samples = new Map<Name, Sample[]>([...subjects.keys()].map((name) => [name, []]));
    for (let round = -1; round < this.rounds; round++) {
      for (const [name, subject] of subjects) {
        const sample = await measure(subject, name);
        if (round >= 0) samples.get(name)?.push(sample);
      }
    }
    return samples;
  }
}

/** Ratio of two medians; `undefined` contenders did not run. */
export const ratio = (of: Figure | undefined, to: Figure | undefined): number =>
  (of?.median ?? Number.NaN) / (to?.median ?? Number.NaN);
