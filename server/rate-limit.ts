/** Capacity of a bucket, as the time in which an empty bucket becomes full. */
const BURST_SECONDS = 10;

/**
 * A token bucket: a rate limit that permits bursts. It needs no timer, because each call first adds the tokens for the
 * time since the previous call.
 */
export class TokenBucket {
  readonly #perSecond: number;
  #level: number;
  #at = performance.now();

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
    this.#level = perSecond * BURST_SECONDS;
  }

  /**
   * Takes `count` tokens and returns true, or takes none and returns false if the bucket has fewer. A full bucket also
   * gives more tokens than its capacity, and its level becomes negative: otherwise a large request could never pass.
   */
  take(count: number): boolean {
    this.#fill();
    if (this.#level < Math.min(count, this.#perSecond * BURST_SECONDS)) return false;
    this.#level -= count;
    return true;
  }

  /** Takes `count` tokens, also from a bucket that has fewer: its level becomes negative. */
  charge(count: number): void {
    this.#fill();
    this.#level -= count;
  }

  /** A full bucket can be deleted, because a new bucket is full too. */
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

/**
 * One token bucket for each key, such as a user id. A full bucket equals a new one, so full buckets are deleted: at 1,000
 * buckets, and then at twice the number that the last deletion left.
 */
export class TokenBuckets {
  readonly #perSecond: number;
  readonly #byKey = new Map<string, TokenBucket>();
  #sweepAt = 1000;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  take(key: string, count: number): boolean {
    return this.#bucketOf(key).take(count);
  }

  charge(key: string, count: number): void {
    this.#bucketOf(key).charge(count);
  }

  #bucketOf(key: string): TokenBucket {
    let bucket = this.#byKey.get(key);
    if (!bucket) {
      if (this.#byKey.size >= this.#sweepAt) this.#sweep();
      bucket = new TokenBucket(this.#perSecond);
      this.#byKey.set(key, bucket);
    }
    return bucket;
  }

  #sweep(): void {
    for (const [key, bucket] of this.#byKey) if (bucket.isFull) this.#byKey.delete(key);
    this.#sweepAt = Math.max(1000, 2 * this.#byKey.size);
  }
}
