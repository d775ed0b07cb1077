import { setTimeout } from 'node:timers/promises';
import type { DeadLetter } from '../../shared/webhooks.ts';
import type {
  DeliveryKey,
  PendingDelivery,
  StoredTry,
  WebhookPosition,
  WebhookStore,
} from '../event-log/contract/webhooks.ts';
import type { Delivery } from './queue.ts';

/**
 * Writes how far a webhook has come. The stored position is the last event that is done, or the last event that was looked
 * at if none waits. The events before it that are not done are rows of their own; those after it are found again by reading
 * the log. So in the usual case a delivery costs one update, and a crash repeats only deliveries without a written outcome.
 */

const RETRY_MS = 1_000;
/** Rows that one transaction writes. */
const WRITE_ROWS = 500;

type Parts = { id: string; store: Pick<WebhookStore, 'advance'>; onFailure: (error: unknown) => void };

type Changes = { done: DeliveryKey[]; dead: DeadLetter[]; revived: DeliveryKey[]; tries: StoredTry[] };
const noChanges = (): Changes => ({ done: [], dead: [], revived: [], tries: [] });

export class WebhookProgress {
  readonly #parts: Parts;
  #stored: WebhookPosition;
  #changes = noChanges();
  /** Deliveries that were found in the log and are in no row, in its order. */
  #found: Delivery[] = [];
  /** Deliveries with a row that must be written, wherever they are. */
  readonly #changed = new Set<Delivery>();
  /** Position of the last delivery that is done. */
  #doneTo: number;
  #isClosed = false;
  #isAbandoned = false;
  #writing: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(parts: Parts, stored: WebhookPosition) {
    this.#parts = parts;
    this.#stored = stored;
    this.#doneTo = stored.scannedTo;
  }

  get stored(): WebhookPosition {
    return this.#stored;
  }

  found(delivery: Delivery): void {
    this.#found.push(delivery);
  }

  changed(delivery: Delivery): void {
    this.#changed.add(delivery);
  }

  tried(entry: StoredTry): void {
    this.#changes.tries.push(entry);
  }

  done(delivery: Delivery, letter?: DeadLetter): void {
    if (delivery.isStored) this.#changes.done.push({ kind: delivery.kind, seq: delivery.seq });
    if (letter) this.#changes.dead.push(letter);
    if (delivery.kind === 'event') this.#doneTo = Math.max(this.#doneTo, delivery.seq);
  }

  revived(keys: readonly DeliveryKey[]): void {
    this.#changes.revived.push(...keys);
  }

  /** Begins again after a position. */
  rewound(position: number): void {
    this.#doneTo = position;
    this.#found = [];
    this.#stored = { ...this.#stored, scannedTo: position };
  }

  /**
   * Resolves once everything up to this call is written. `read` returns the position that was looked at, and whether any
   * delivery waits.
   */
  write(read: () => { position: WebhookPosition; isEmpty: boolean }): Promise<void> {
    if (!this.#writing) {
      this.#writing = this.#write(read).finally(() => {
        this.#writing = undefined;
      });
      return this.#writing;
    }
    this.#next ??= this.#writing.then(() => {
      this.#next = undefined;
      return this.write(read);
    });
    return this.#next;
  }

  /** From now on, a write that fails is not repeated: its deliveries are. */
  close(): void {
    this.#isClosed = true;
  }

  /** From now on, nothing is written. */
  abandon(): void {
    this.#isAbandoned = true;
  }

  async #write(read: () => { position: WebhookPosition; isEmpty: boolean }): Promise<void> {
    const { position, isEmpty } = read();
    const doneTo = Math.min(position.scannedTo, Math.max(this.#stored.scannedTo, this.#doneTo));
    const scannedTo = isEmpty ? position.scannedTo : doneTo;
    const changes = this.#changes;
    this.#changes = noChanges();
    const pending = this.#rows(scannedTo);
    const before = this.#stored;
    this.#stored = { ...position, scannedTo };
    // The position moves with the last rows: after a crash between two writes, the rest is found again.
    for (let at = WRITE_ROWS; at < pending.length; at += WRITE_ROWS) {
      await this.#advance({ position: before, pending: pending.slice(at, at + WRITE_ROWS) });
    }
    await this.#advance({ position: this.#stored, pending: pending.slice(0, WRITE_ROWS), ...changes });
  }

  /** The rows to write: of changed deliveries, and of those before the new position. */
  #rows(scannedTo: number): PendingDelivery[] {
    let count = 0;
    while ((this.#found[count]?.seq ?? Number.POSITIVE_INFINITY) <= scannedTo) {
      this.#changed.add(this.#found[count] as Delivery);
      count++;
    }
    this.#found.splice(0, count);
    const rows: PendingDelivery[] = [];
    for (const delivery of this.#changed) {
      if (delivery.isDone) continue;
      delivery.isStored = true;
      const { isStored: _, isDone: __, ...row } = delivery;
      rows.push(row);
    }
    this.#changed.clear();
    return rows;
  }

  async #advance(progress: Parameters<WebhookStore['advance']>[1]): Promise<void> {
    const { id, store, onFailure } = this.#parts;
    for (;;) {
      if (this.#isAbandoned) return;
      try {
        return await store.advance(id, progress);
      } catch (error) {
        if (this.#isClosed || this.#isAbandoned) return;
        onFailure(error);
        await setTimeout(RETRY_MS, undefined, { ref: false });
      }
    }
  }
}
