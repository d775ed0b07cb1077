/** Capacity of a bucket, in seconds of its rate. */
export const BURST_SECONDS = 10;

/** A token bucket. It needs no timer: each call adds the tokens since the last one. */
export class TokenBucket {
  readonly #perSecond: number;
  #level: number;
  #at = performance.now();

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
    this.#level = perSecond * BURST_SECONDS;
  }

  /**
   * Takes `count` tokens if the bucket has them, and returns whether it had. A full bucket also serves a count above its
   * capacity: its level becomes negative.
   */
  take(count: number): boolean {
    this.#fill();
    if (this.#level < Math.min(count, this.#perSecond * BURST_SECONDS)) return false;
    this.#level -= count;
    return true;
  }

  /** A full bucket can be dropped: a new one is equal. */
  get isFull(): boolean {
    this.#fill();
    return this.#level >= this.#perSecond * BURST_SECONDS;
  }

  #fill(): void {
    const now = performance.now();
    const gained = ((now - this.#at) / 1000) * this.#perSecond;
    this.#level = Math.min(this.#perSecond * BURST_SECONDS, this.#level + gained);
    this.#at = now;
  }
}

/** Buckets by key. Once they are many, the full ones are dropped. */
export class TokenBuckets {
  readonly #perSecond: number;
  readonly #byKey = new Map<string, TokenBucket>();
  #sweepAt = 1000;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  take(key: string, count: number): boolean {
    let bucket = this.#byKey.get(key);
    if (!bucket) {
      if (this.#byKey.size >= this.#sweepAt) this.#sweep();
      bucket = new TokenBucket(this.#perSecond);
      this.#byKey.set(key, bucket);
    }
    return bucket.take(count);
  }

  #sweep(): void {
    for (const [key, bucket] of this.#byKey) if (bucket.isFull) this.#byKey.delete(key);
    this.#sweepAt = Math.max(1000, 2 * this.#byKey.size);
  }
}
