import type { Metric, MetricValueWithName, Registry } from 'prom-client';

/**
 * A histogram without labels. Each commit observes several values: here that adds to a bucket, and prom-client's own
 * histogram would build and hash labels.
 */
export class Distribution {
  readonly name: string;
  readonly #help: string;
  readonly #bounds: readonly number[];
  /** Number of values in each bucket, without those of the buckets before. The last one has no bound. */
  readonly #counts: number[];
  #sum = 0;

  /** `bounds`: highest value of each bucket, in ascending order. */
  constructor(name: string, help: string, bounds: readonly number[], registry: Registry) {
    this.name = name;
    this.#help = help;
    this.#bounds = bounds;
    this.#counts = [...bounds, Number.POSITIVE_INFINITY].map(() => 0);
    registry.registerMetric(this as unknown as Metric);
  }

  observe(value: number): void {
    let bucket = 0;
    while (value > (this.#bounds[bucket] ?? Number.POSITIVE_INFINITY)) bucket++;
    (this.#counts[bucket] as number)++;
    this.#sum += value;
  }

  /** The registry calls this at each scrape. */
  async get() {
    const { name } = this;
    let count = 0;
    const values: MetricValueWithName<string>[] = this.#counts.map((more, bucket) => {
      count += more;
      return { metricName: `${name}_bucket`, labels: { le: this.#bounds[bucket] ?? '+Inf' }, value: count };
    });
    values.push({ metricName: `${name}_sum`, labels: {}, value: this.#sum });
    values.push({ metricName: `${name}_count`, labels: {}, value: count });
    return { name, help: this.#help, type: 'histogram', values, aggregator: 'sum' };
  }
}
