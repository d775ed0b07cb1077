import type { StoredEvent } from '../event-log/contract/log.ts';
import { framesOf } from './frames.ts';
import type { FrameSink } from './transport.ts';
import type { Waiting } from './waiting.ts';

/**
 * Readers that wait for the very same under the same request id. What concerns them is made one buffer for all and given
 * to each socket: nothing is allocated for a reader and an event. One whose socket has not drained is let go with its
 * position, and goes on by itself.
 */

export interface Subscriber {
  readonly sink: FrameSink;
  readonly reader: Waiting;
  /** Has left its group, and has been sent everything up to a position. */
  leftGroup(position: number): void;
  recheckAccess(): void;
}

/**
 * More than this at once is not pushed: each reader fetches it page by page, as fast as its socket takes it. UTF-16 units
 * of JSON.
 */
const PUSH_LIMIT = 512 * 1024;

export class FanOutGroup {
  /** The key of the bell under which it waits, and its own among the groups there. */
  readonly place: string;
  readonly key: string;
  readonly accepts: (record: StoredEvent) => boolean;
  readonly #members = new Set<Subscriber>();
  readonly #head: string;
  #due: string[] = [];
  #dueLength = 0;
  #sentSeq = -1;
  #sentAt = 0;

  constructor(options: { place: string; key: string; head: string; accepts: (record: StoredEvent) => boolean }) {
    this.place = options.place;
    this.key = options.key;
    this.#head = options.head;
    this.accepts = options.accepts;
  }

  get members(): ReadonlySet<Subscriber> {
    return this.#members;
  }

  add(member: Subscriber): void {
    this.#members.add(member);
  }

  /** Takes a member out and tells its reader what it was sent last. */
  remove(member: Subscriber): void {
    if (!this.#members.delete(member)) return;
    const { reader } = member;
    reader.lastSentSeq = Math.max(reader.lastSentSeq, this.#sentSeq);
    reader.lastSentAt = Math.max(reader.lastSentAt, this.#sentAt);
  }

  /** Puts the rest of a message, of {@link restOf}, among what is due to all. */
  push(rest: string): void {
    this.#due.push(rest);
    this.#dueLength += this.#head.length + rest.length;
  }

  /**
   * Sends what is due, the last of it at `seq`. Returns how many messages that were; those who could not take them are
   * added to `left`. With `corked`, sinks are corked and added to it, for whom has more to come.
   */
  send(seq: number, left: Subscriber[], corked: Set<FrameSink> | undefined): number {
    const due = this.#due;
    const frames = this.#dueLength > PUSH_LIMIT ? undefined : framesOf(this.#head, due);
    this.#due = [];
    this.#dueLength = 0;
    let takers = 0;
    for (const member of this.#members) {
      const { sink } = member;
      if (!frames || !sink.isDrained) {
        this.remove(member);
        left.push(member);
        continue;
      }
      if (corked && !corked.has(sink)) {
        corked.add(sink);
        sink.cork();
      }
      sink.write(frames);
      takers++;
    }
    this.#sentSeq = seq;
    this.#sentAt = performance.now();
    return takers * due.length;
  }

  /** Sends a message, at the position `seq`, to those who have heard nothing since a time and know of less. */
  tell(rest: string, seq: number, since: number): number {
    let frames: Buffer | undefined;
    let told = 0;
    for (const { reader, sink } of this.#members) {
      if (Math.max(reader.lastSentSeq, this.#sentSeq) >= seq || Math.max(reader.lastSentAt, this.#sentAt) > since)
        continue;
      if (!sink.isDrained) continue; // It is busy with what it was sent before.
      frames ??= framesOf(this.#head, [rest]);
      sink.write(frames);
      reader.lastSentSeq = seq;
      reader.lastSentAt = performance.now();
      told++;
    }
    return told;
  }
}
