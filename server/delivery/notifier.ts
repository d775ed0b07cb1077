import type { Log, StoredEvent } from '../event-log/contract/log.ts';
import { encodeCursor, type Position } from '../event-log/cursor.ts';
import { sliceEnd } from '../slices.ts';
import { messageSuffix } from './frames.ts';
import { FanOutGroup, type Subscriber } from './group.ts';
import { liveAt } from './messages.ts';
import type { FrameSink } from './transport.ts';
import { type Filter, kindOf, topicOf, type Waiter, type Wake } from './waiting.ts';

/**
 * Finds the readers (the server's side of subscriptions) that wait for an event, by the topics of the event. It visits no
 * other reader.
 *
 * 1. `notify` wakes the waiters of each topic, and pushes the event to the fan-out groups that accept it.
 * 2. Then each group writes its pushed events once to each of its sockets.
 * 3. At the end, the subscribers that left their group continue: each one may join a group again at once.
 */

type NotifiedLog = Pick<Log, 'epoch' | 'head' | 'headHashPrefix' | 'isCurrent'>;
export type History = Position & { epoch: string };
const historyOf = ({ epoch, head: seq, headHashPrefix: hashPrefix }: NotifiedLog): History => {
  return { epoch, seq, hashPrefix };
};

/** The readers that wait for one topic. */
class Topic {
  readonly waiters = new Set<Waiter>();
  readonly groups = new Map<string, FanOutGroup>();
}

export class Notifier {
  readonly #log: NotifiedLog;
  readonly #counts: { delivered: number };
  readonly #topics = new Map<string, Topic>();
  /** Number of open topics by kind: a kind without any is not looked up for each event. */
  readonly #open = { all: 0, project: 0, run: 0, id: 0, user: 0, nothing: 0 };
  #history: History;
  #isClosed = false;
  /** Whether a waiting reader may have sent less than the head of the log. */
  #hasBehind = true;
  /** The tick that has begun. */
  #ticking: Generator<undefined> | undefined;

  /** The notifier adds the messages of fan-out groups to `counts.delivered`. */
  constructor(log: NotifiedLog, counts: { delivered: number }) {
    this.#log = log;
    this.#history = historyOf(log);
    this.#counts = counts;
  }

  /**
   * The epoch of the log, and the position up to which waiting readers have been woken. No reader goes beyond it: the next
   * call of `notify` would send an event again. A closed notifier calls nobody, so it has the head of the log.
   */
  get history(): History {
    return this.#isClosed ? historyOf(this.#log) : this.#history;
  }

  /** A closed notifier wakes no reader any more. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  get waiting(): number {
    let count = 0;
    for (const { waiters, groups } of this.#topics.values()) {
      count += waiters.size;
      for (const { subscribers } of groups.values()) count += subscribers.size;
    }
    return count;
  }

  add(waiter: Waiter): void {
    this.#openTopic(waiter.topic).waiters.add(waiter);
    this.#hasBehind ||= waiter.reader.lastSentSeq < this.#history.seq;
  }

  /** Wakes a waiter if it still waits. */
  wake(waiter: Waiter, wake: Wake): void {
    const topic = this.#topics.get(waiter.topic);
    if (!topic?.waiters.delete(waiter)) return;
    this.#deleteIfEmpty(waiter.topic, topic);
    waiter.wake(wake);
  }

  /**
   * Adds a subscriber to the group with this topic, prefix and filter. The subscriber must have scanned all events up to
   * the head.
   */
  join(topic: string, prefix: string, filter: Filter, subscriber: Subscriber): FanOutGroup {
    const { groups } = this.#openTopic(topic);
    const key = `${prefix} ${filter.key}`;
    let group = groups.get(key);
    if (!group) {
      group = new FanOutGroup({ topic, key, prefix, accepts: filter.accepts });
      groups.set(key, group);
    }
    group.add(subscriber);
    this.#hasBehind ||= subscriber.reader.lastSentSeq < this.#history.seq;
    return group;
  }

  /** Removes a subscriber from its group. The subscriber continues from the head. */
  leave(group: FanOutGroup, subscriber: Subscriber): void {
    this.#leave(group, subscriber, this.#history.seq);
  }

  #leave(group: FanOutGroup, subscriber: Subscriber, position: number): void {
    group.remove(subscriber);
    this.#deleteGroupIfEmpty(group);
    subscriber.leftGroup(position);
  }

  /** Delivers the records of a commit. Each call must continue where the previous one ended. */
  notify(records: readonly StoredEvent[]): void {
    const before = this.#history.seq;
    this.#hasBehind = true;
    if (!this.#log.isCurrent) this.#wakeAll(); // The readers wait until it is: an erasure may be unknown.
    const { seq = before, hashPrefix } = records.at(-1) ?? {};
    this.#history = { epoch: this.#history.epoch, seq, hashPrefix };
    /** The groups that an event was pushed to, each with the position of its last pushed event. */
    const due = new Map<FanOutGroup, number>();
    for (const record of records) {
      if (this.#topics.size === 0) return;
      const { projectId, runId, users } = record;
      const open = this.#open;
      if (open.all > 0) this.#notifyTopic('all', record, due);
      if (open.project > 0) this.#notifyTopic(topicOf.scope({ kind: 'project', projectId }), record, due);
      if (open.run > 0) this.#notifyTopic(topicOf.scope({ kind: 'run', projectId, runId }), record, due);
      if (open.id > 0) this.#notifyTopic(topicOf.runId(runId), record, due);
      if (open.user === 0) continue;
      for (const userId of users ?? []) this.#notifyTopic(topicOf.scope({ kind: 'user', userId }), record, due);
    }
    if (due.size > 0) this.#send(due, before);
  }

  /**
   * Sends the head of the log to the clients of waiting readers that have received nothing after the time `since`, and are
   * behind this head.
   */
  tick(since: number): void {
    if (!this.#log.isCurrent || !this.#hasBehind || this.#ticking) return;
    this.#hasBehind = false;
    this.#ticking = this.#sendHead(since);
    this.#tickOn();
  }

  /** Thousands of readers may become quiet at the same time. */
  readonly #tickOn = (): void => {
    const until = sliceEnd();
    // While the log is not current, an erasure may be unknown. The readers wait for it, and then read.
    while (this.#log.isCurrent && this.#ticking?.next().done === false) {
      if (performance.now() < until) continue;
      setImmediate(this.#tickOn);
      return;
    }
    this.#hasBehind ||= !this.#log.isCurrent;
    this.#ticking = undefined;
  };

  /** Yields after each reader that is behind. Events may be logged meanwhile. */
  *#sendHead(since: number): Generator<undefined> {
    const { epoch, ...head } = this.#history;
    const suffix = messageSuffix(encodeCursor(epoch, head), liveAt(head.seq).json);
    for (const { waiters, groups } of [...this.#topics.values()]) {
      for (const waiter of waiters) {
        const { lastSentSeq, lastSentAt } = waiter.reader;
        if (lastSentSeq >= head.seq) continue;
        if (lastSentAt <= since) this.wake(waiter, 'tick');
        else this.#hasBehind = true;
        yield;
      }
      for (const group of groups.values()) {
        for (const outcome of group.sendQuiet(suffix, head.seq, since)) {
          if (outcome === 'sent') this.#counts.delivered++;
          else this.#hasBehind = true;
          yield;
          if (this.#history.epoch !== epoch) return;
        }
      }
    }
  }

  /** Wakes every reader a last time. */
  close(): void {
    this.#isClosed = true;
    this.#wakeAll();
  }

  /** Goes on after records that this node never had. Every reader reads from its own position, and finds the gap. */
  skipTo(seq: number): void {
    const before = this.#history.seq;
    this.#hasBehind = true;
    this.#history = { epoch: this.#history.epoch, seq, hashPrefix: undefined };
    this.#wakeAll(before);
  }

  /** Takes over the new history of the log. Every reader sees it at its next step. */
  renew(): void {
    if (this.#isClosed) return;
    this.#history = historyOf(this.#log);
    this.#hasBehind = true;
    this.#wakeAll();
  }

  /** `position`: up to it, the subscribers of groups have all events. */
  #wakeAll(position = this.#history.seq): void {
    for (const { waiters, groups } of [...this.#topics.values()]) {
      for (const waiter of [...waiters]) this.wake(waiter, 'access');
      for (const group of [...groups.values()]) {
        for (const subscriber of [...group.subscribers.keys()]) this.#leave(group, subscriber, position);
      }
    }
  }

  #notifyTopic(name: string, record: StoredEvent, due: Map<FanOutGroup, number>): void {
    const topic = this.#topics.get(name);
    if (!topic) return;
    if (topic.waiters.size > 0) {
      const { seq } = record;
      for (const waiter of [...topic.waiters]) if (waiter.reader.maySee(record)) this.wake(waiter, { seq });
    }
    let suffix: string | undefined;
    for (const group of topic.groups.values()) {
      if (!group.accepts(record)) continue;
      suffix ??= messageSuffix(encodeCursor(this.#history.epoch, record), record.json);
      group.push(suffix);
      due.set(group, record.seq);
    }
  }

  #send(due: ReadonlyMap<FanOutGroup, number>, before: number): void {
    // A socket may get messages from several groups. Corked, the socket sends them in one packet.
    const corked = due.size > 1 ? new Set<FrameSink>() : undefined;
    const left: Subscriber[] = [];
    let sent = 0;
    for (const [group, seq] of due) {
      sent += group.send(seq, left, corked);
      this.#deleteGroupIfEmpty(group);
    }
    for (const sink of corked ?? []) sink.uncork();
    this.#counts.delivered += sent;
    for (const subscriber of left) subscriber.leftGroup(before);
  }

  #openTopic(name: string): Topic {
    let topic = this.#topics.get(name);
    if (!topic) {
      topic = new Topic();
      this.#topics.set(name, topic);
      this.#open[kindOf(name)]++;
    }
    return topic;
  }

  #deleteGroupIfEmpty(group: FanOutGroup): void {
    if (group.subscribers.size > 0) return;
    const topic = this.#topics.get(group.topic);
    // The group may have been deleted already, and a newer group may have its key.
    if (topic?.groups.get(group.key) !== group) return;
    topic.groups.delete(group.key);
    this.#deleteIfEmpty(group.topic, topic);
  }

  #deleteIfEmpty(name: string, topic: Topic): void {
    if (topic.waiters.size === 0 && topic.groups.size === 0 && this.#topics.get(name) === topic) {
      this.#topics.delete(name);
      this.#open[kindOf(name)]--;
    }
  }
}
