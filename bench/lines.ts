import { type Contender, type PeerName, peerNames } from './contender.ts';
import type { Figure, Report } from './figures.ts';

/** The environment of a line of the bench. */
export class Bench {
  readonly report: Report;
  /** Rounds of each line; one more round runs first as a warm-up. */
  readonly rounds: number;
  /** Reduces everything but the number of readers. */
  readonly isQuick: boolean;
  /** Folder for databases. */
  readonly folder: string;
  readonly #start: (name: string, options?: object) => Promise<Contender>;
  readonly #kept = new Map<PeerName, Contender>();

  constructor(options: {
    report: Report;
    rounds: number;
    isQuick: boolean;
    folder: string;
    start: (name: string, options?: object) => Promise<Contender>;
  }) {
    this.report = options.report;
    this.rounds = options.rounds;
    this.isQuick = options.isQuick;
    this.folder = options.folder;
    this.#start = options.start;
  }

  /** Starts a contender for one line, which must stop it. */
  start(name: string, options?: object): Promise<Contender> {
    return this.#start(name, options);
  }

  /** The shared contenders of the delivery lines, each with the given number of readers. */
  async contenders(readers: number, runs: number): Promise<Map<PeerName, Contender>> {
    const found = await Promise.all(
      peerNames.map(async (name) => {
        const contender = this.#kept.get(name) ?? (await this.#start(name));
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
