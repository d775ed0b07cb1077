type Counts = { published: number; delivered: number };

/** Rates over the last ten seconds, from counters that only grow. */
export class Rates {
  static readonly #SAMPLES = 10;
  readonly #read: () => Counts;
  readonly #samples: (Counts & { at: number })[] = [];
  readonly #timer: NodeJS.Timeout;

  constructor(read: () => Counts) {
    this.#read = read;
    this.#sample();
    this.#timer = setInterval(() => this.#sample(), 1_000);
    this.#timer.unref();
  }

  perSecond(): Counts {
    const [first] = this.#samples;
    const seconds = (performance.now() - (first?.at ?? 0)) / 1000;
    if (!first || seconds <= 0) return { published: 0, delivered: 0 };
    const now = this.#read();
    return {
      published: Math.round((now.published - first.published) / seconds),
      delivered: Math.round((now.delivered - first.delivered) / seconds),
    };
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #sample(): void {
    this.#samples.push({ at: performance.now(), ...this.#read() });
    if (this.#samples.length > Rates.#SAMPLES) this.#samples.shift();
  }
}
