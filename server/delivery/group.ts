import type { StoredEvent } from '../event-log/contract/log.ts';
import { framesOf } from './frames.ts';
import type { FrameSink } from './transport.ts';
import type { WaitingReader } from './waiting.ts';

/**
 * A fan-out group: subscribers at the head of the log that wait for the same events under the same tRPC request id. The
 * group builds the WebSocket frames of an event once and writes them to each socket, so it allocates nothing for each
 * subscriber. A subscriber with a full socket leaves the group, and reads the log from its position on.
 */

export interface Subscriber {
  readonly sink: FrameSink;
  readonly reader: WaitingReader;
  /** Called after the subscriber has left the group. All events up to `position` have been sent or do not match. */
  leftGroup(position: number): void;
}

/**
 * Maximum length of a batch that the group sends, in UTF-16 units of JSON. For a longer batch, all subscribers leave the
 * group: each one reads the batch page by page, as fast as its socket drains.
 */
const MAX_PUSH_LENGTH = 512 * 1024;

export type FanOutGroupOptions = {
  topic: string;
  /** Key of the group among the groups of its topic. */
  key: string;
  /** Start of each message, with the request id (frames.ts). */
  prefix: string;
  accepts: (record: StoredEvent) => boolean;
};

export class FanOutGroup {
  readonly topic: string;
  readonly key: string;
  readonly accepts: (record: StoredEvent) => boolean;
  /** With their sinks: a send reads nothing else of a subscriber. */
  readonly #subscribers = new Map<Subscriber, FrameSink>();
  readonly #prefix: string;
  /** Suffixes (frames.ts) of the messages for the next {@link send}. */
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

  get subscribers(): ReadonlyMap<Subscriber, FrameSink> {
    return this.#subscribers;
  }

  add(subscriber: Subscriber): void {
    this.#subscribers.set(subscriber, subscriber.sink);
    subscriber.sink.groups++;
  }

  /** Removes a subscriber. Copies the position and the time of the group's last message to its reader. */
  remove(subscriber: Subscriber): void {
    if (!this.#subscribers.delete(subscriber)) return;
    const { reader, sink } = subscriber;
    sink.groups--;
    reader.lastSentSeq = Math.max(reader.lastSentSeq, this.#sentSeq);
    reader.lastSentAt = Math.max(reader.lastSentAt, this.#sentAt);
  }

  /** Adds a message, without its prefix, to the next {@link send}. */
  push(suffix: string): void {
    this.#due.push(suffix);
    this.#dueLength += this.#prefix.length + suffix.length;
  }

  /**
   * Sends the pushed messages to each subscriber. `seq` is the position of the last one. Returns the number of messages
   * sent. Removes the subscribers with a full socket, and adds them to `left`. If several groups send in this turn, pass
   * `corked`: `send` corks each socket of several groups once and adds it, and the caller must uncork it.
   */
  send(seq: number, left: Subscriber[], corked: Set<FrameSink> | undefined): number {
    const due = this.#due;
    const frames = this.#dueLength > MAX_PUSH_LENGTH ? undefined : framesOf(this.#prefix, due);
    this.#due = [];
    this.#dueLength = 0;
    let receivers = 0;
    for (const [subscriber, sink] of this.#subscribers) {
      if (!frames || !sink.isDrained) {
        this.remove(subscriber);
        left.push(subscriber);
        continue;
      }
      // Node keeps the writes of a corked socket in a list: for a single write that costs more than the rest of this loop.
      if (corked && sink.groups > 1 && !corked.has(sink)) {
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

  /**
   * Sends one message with the position `seq` to each subscriber that has received no message after the time `since`, and
   * is behind `seq`. Yields after each of them, and for each one that stays behind. Subscribers may join and leave meanwhile.
   */
  *sendQuiet(suffix: string, seq: number, since: number): Generator<'sent' | 'behind'> {
    let frames: Buffer | undefined;
    for (const [{ reader }, sink] of this.#subscribers) {
      if (Math.max(reader.lastSentSeq, this.#sentSeq) >= seq) continue;
      // A socket with unsent messages: this client is not idle.
      if (Math.max(reader.lastSentAt, this.#sentAt) > since || !sink.isDrained) {
        yield 'behind';
        continue;
      }
      frames ??= framesOf(this.#prefix, [suffix]);
      sink.write(frames);
      reader.lastSentSeq = seq;
      reader.lastSentAt = performance.now();
      yield 'sent';
    }
  }
}
