import type { DeliveryKey, PendingDelivery } from '../event-log/contract/webhooks.ts';

/** `isStored`: the store has the delivery among the pending ones. */
export type Delivery = PendingDelivery & {
  isStored: boolean;
  isDone: boolean;
};

/**
 * The deliveries of one run in the order of the log. `busy`: the one in flight. `again`: the same message, which was asked for
 * during the flight.
 */
type Lane = { key: string; items: Delivery[]; busy?: Delivery | undefined; again?: Delivery | undefined };

/**
 * The deliveries of a webhook that wait, in memory. Each run is a lane: its deliveries go one after the other, and lanes take
 * turns. A lane is ready, waiting for a time, or busy with the delivery in flight.
 */
export class DeliveryQueue {
  readonly #lanes = new Map<string, Lane>();
  readonly #ready = new Set<Lane>();
  readonly #waiting = new Set<Lane>();
  #size = 0;
  /** Earliest time of a waiting lane, or earlier. */
  #dueMs = Number.POSITIVE_INFINITY;

  get size(): number {
    return this.#size;
  }

  /** When the next lane may become ready, in Unix ms; undefined if none waits. */
  get nextMs(): number | undefined {
    return this.#waiting.size === 0 ? undefined : this.#dueMs;
  }

  get hasReady(): boolean {
    return this.#ready.size > 0;
  }

  *values(): Iterable<Delivery> {
    for (const { items } of this.#lanes.values()) yield* items;
  }

  /** Adds a delivery at its place in its lane. Returns false if the lane has it. One in flight is sent again after it. */
  add(delivery: Delivery): boolean {
    const key = laneOf(delivery);
    let lane = this.#lanes.get(key);
    if (!lane) {
      lane = { key, items: [] };
      this.#lanes.set(key, lane);
    }
    const { items } = lane;
    let at = items.length;
    while (at > 0 && (items[at - 1] as Delivery).seq > delivery.seq) at--;
    if (items[at - 1]?.seq === delivery.seq) {
      if (items[at - 1] === lane.busy) lane.again = delivery;
      return false;
    }
    // The lane's strings, so that each id is in memory once.
    const [first] = items;
    if (first) Object.assign(delivery, { projectId: first.projectId, runId: first.runId });
    items.splice(at, 0, delivery);
    this.#size++;
    this.#place(lane);
    return true;
  }

  find({ kind, seq }: DeliveryKey): Delivery | undefined {
    for (const delivery of this.values()) if (delivery.seq === seq && delivery.kind === kind) return delivery;
    return undefined;
  }

  /** Takes the first delivery of a lane that is ready, and makes the lane busy. */
  take(nowMs: number): Delivery | undefined {
    if (nowMs >= this.#dueMs) this.#promote(nowMs);
    const [lane] = this.#ready;
    return lane && this.#begin(lane);
  }

  /**
   * Takes the first delivery of the lane that was tried least recently. `onlyNew`: only one that was never tried.
   */
  takeLeastTried({ onlyNew }: { onlyNew: boolean }): Delivery | undefined {
    let found: Lane | undefined;
    const triedMs = (lane: Lane) => lane.items[0]?.lastTryMs ?? 0;
    for (const lanes of [this.#ready, this.#waiting]) {
      for (const lane of lanes) if (!found || triedMs(lane) < triedMs(found)) found = lane;
    }
    return found && !(onlyNew && triedMs(found) > 0) ? this.#begin(found) : undefined;
  }

  /** Ends the flight of a delivery. One that is done leaves the queue. Returns the one that is to be sent after it. */
  settle(delivery: Delivery): Delivery | undefined {
    const lane = this.#lanes.get(laneOf(delivery));
    if (!lane) return undefined;
    const { again } = lane;
    lane.busy = undefined;
    lane.again = undefined;
    if (delivery.isDone) this.#remove(lane, delivery);
    this.#place(lane);
    return delivery.isDone && again && this.add(again) ? again : undefined;
  }

  /** Removes the deliveries for which `test` returns true and that are not in flight, and returns them. */
  removeWhere(test: (delivery: Delivery) => boolean, inFlight: { has(delivery: Delivery): boolean }): Delivery[] {
    const removed = [...this.values()].filter((delivery) => !inFlight.has(delivery) && test(delivery));
    for (const delivery of removed) {
      delivery.isDone = true;
      const lane = this.#lanes.get(laneOf(delivery)) as Lane;
      this.#remove(lane, delivery);
      this.#place(lane);
    }
    return removed;
  }

  /** Makes each delivery due now. */
  hasten(): void {
    for (const delivery of this.values()) delivery.nextTryMs = undefined;
    this.#promote(Number.POSITIVE_INFINITY);
  }

  #begin(lane: Lane): Delivery {
    this.#ready.delete(lane);
    this.#waiting.delete(lane);
    const delivery = lane.items[0] as Delivery;
    lane.busy = delivery;
    return delivery;
  }

  #remove({ items }: Lane, delivery: Delivery): void {
    const at = items.indexOf(delivery);
    if (at < 0) return;
    items.splice(at, 1);
    this.#size--;
  }

  /** Puts a lane where its first delivery belongs, behind the lanes that are there. */
  #place(lane: Lane): void {
    if (lane.busy) return;
    const [first] = lane.items;
    if (!first) {
      this.#ready.delete(lane);
      this.#waiting.delete(lane);
      this.#lanes.delete(lane.key);
      return;
    }
    const dueMs = first.nextTryMs ?? 0;
    const isDue = dueMs <= Date.now();
    this.#waiting.delete(lane);
    if (isDue) {
      this.#ready.add(lane);
      return;
    }
    this.#ready.delete(lane);
    this.#waiting.add(lane);
    this.#dueMs = Math.min(this.#dueMs, dueMs);
  }

  #promote(nowMs: number): void {
    this.#dueMs = Number.POSITIVE_INFINITY;
    for (const lane of [...this.#waiting]) {
      const dueMs = lane.items[0]?.nextTryMs ?? 0;
      if (dueMs > nowMs) this.#dueMs = Math.min(this.#dueMs, dueMs);
      else {
        this.#waiting.delete(lane);
        this.#ready.add(lane);
      }
    }
  }
}

/** The ids of projects and runs have no blanks. */
const laneOf = ({ kind, seq, projectId, runId }: Delivery): string =>
  kind === 'gap' ? `gap ${seq}` : `${projectId} ${runId}`;
