import type { StoredEvent } from '../event-log/contract/log.ts';
import { framesOf } from './frames.ts';
import type { FrameSink } from './transport.ts';
import type { WaitingReader } from './waiting.ts';

/**
 * Subscribers that wait for the same events under the same request id. Their events become one buffer, which each socket
 * takes: nothing is allocated for a pair of reader and event. A subscriber with a full socket leaves the group with its
 * position, and reads on by itself.
 */

export interface Subscriber {
  readonly sink: FrameSink;
  readonly reader: WaitingReader;
  /** Called once out of the group, with the position up to which everything was sent. */
  leftGroup(position: number): void;
  recheckAccess(): void;
}

/**
 * A larger batch is not pushed. Each subscriber reads it page by page instead, as fast as its socket takes it. In UTF-16
 * units of JSON.
 */
const MAX_PUSH_LENGTH = 512 * 1024;

export type FanOutGroupOptions = {
  topic: string;
  /** Its key among the groups of its topic. */
  key: string;
  prefix: string;
  accepts: (record: StoredEvent) => boolean;
};

export class FanOutGroup {
  readonly topic: string;
  readonly key: string;
  readonly accepts: (record: StoredEvent) => boolean;
  readonly #subscribers = new Set<Subscriber>();
  readonly #prefix: string;
  /** Suffixes of the messages that {@link send} sends. */
  #due: string[] = [];
  #dueLength = 0;
  #sentSeq = -1;
  #sentAt = 0;

  constructor({ topic, key, prefix, accepts }: FanOutGroupOptions) {
    this.topic = topic;
    this.key = key;
    this.#prefix = prefix;
    this.accepts = accepts;
  }

  get subscribers(): ReadonlySet<Subscriber> {
    return this.#subscribers;
  }

  add(subscriber: Subscriber): void {
    this.#subscribers.add(subscriber);
  }

  /** Takes a subscriber out, and sets what its reader sent last. */
  remove(subscriber: Subscriber): void {
    if (!this.#subscribers.delete(subscriber)) return;
    const { reader } = subscriber;
    reader.lastSentSeq = Math.max(reader.lastSentSeq, this.#sentSeq);
    reader.lastSentAt = Math.max(reader.lastSentAt, this.#sentAt);
  }

  /** Adds a message, given by its suffix, to the next {@link send}. */
  push(suffix: string): void {
    this.#due.push(suffix);
    this.#dueLength += this.#prefix.length + suffix.length;
  }

  /**
   * Sends the pushed messages. The last of them is at `seq`. Returns the number of messages sent. Subscribers that cannot
   * take them are removed and added to `left`. Pass `corked` when several groups send in this turn: each socket is corked
   * once and added, and the caller uncorks it.
   */
  send(seq: number, left: Subscriber[], corked: Set<FrameSink> | undefined): number {
    const due = this.#due;
    const frames = this.#dueLength > MAX_PUSH_LENGTH ? undefined : framesOf(this.#prefix, due);
    this.#due = [];
    this.#dueLength = 0;
    let receivers = 0;
    for (const subscriber of this.#subscribers) {
      const { sink } = subscriber;
      if (!frames || !sink.isDrained) {
        this.remove(subscriber);
        left.push(subscriber);
        continue;
      }
      if (corked && !corked.has(sink)) {
        corked.add(sink);
        sink.cork();
      }
      sink.write(frames);
      receivers++;
    }
    this.#sentSeq = seq;
    this.#sentAt = performance.now();
    return receivers * due.length;
  }

  /** Sends one message, at the position `seq`, to subscribers that received nothing since a time and are behind `seq`. */
  sendQuiet(suffix: string, seq: number, since: number): number {
    let frames: Buffer | undefined;
    let sent = 0;
    for (const { reader, sink } of this.#subscribers) {
      if (Math.max(reader.lastSentSeq, this.#sentSeq) >= seq || Math.max(reader.lastSentAt, this.#sentAt) > since)
        continue;
      if (!sink.isDrained) continue; // Earlier messages are still on their way.
      frames ??= framesOf(this.#prefix, [suffix]);
      sink.write(frames);
      reader.lastSentSeq = seq;
      reader.lastSentAt = performance.now();
      sent++;
    }
    return sent;
  }
}
