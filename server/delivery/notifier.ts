import type { Log, StoredEvent } from '../event-log/contract/log.ts';
import { encodeCursor } from '../event-log/cursor.ts';
import { messageSuffix } from './frames.ts';
import { FanOutGroup, type Subscriber } from './group.ts';
import { liveAt } from './messages.ts';
import type { FrameSink } from './transport.ts';
import { type Filter, topicOf, type Waiter, type Wake } from './waiting.ts';

/**
 * Finds the readers (the server's side of subscriptions) that wait for an event, by the topics of the event. It visits no
 * other reader.
 *
 * 1. `notify` wakes the waiters of each topic, and pushes the event to the fan-out groups that accept it.
 * 2. Then each group writes its pushed events once to each of its sockets.
 * 3. At the end, the subscribers that left their group continue: each one may join a group again at once.
 */

/** The readers that wait for one topic. */
class Topic {
  readonly waiters = new Set<Waiter>();
  readonly groups = new Map<string, FanOutGroup>();
}

export class Notifier {
  readonly #log: Pick<Log, 'epoch' | 'head' | 'headHashPrefix'>;
  readonly #counts: { delivered: number };
  readonly #topics = new Map<string, Topic>();
  #head: number;
  #isClosed = false;

  /** The notifier adds the messages of fan-out groups to `counts.delivered`. */
  constructor(log: Pick<Log, 'epoch' | 'head' | 'headHashPrefix'>, counts: { delivered: number }) {
    this.#log = log;
    this.#head = log.head;
    this.#counts = counts;
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
    return group;
  }

  /** Removes a subscriber from its group. The subscriber continues from the head. */
  leave(group: FanOutGroup, subscriber: Subscriber): void {
    group.remove(subscriber);
    this.#deleteGroupIfEmpty(group);
    subscriber.leftGroup(this.#head);
  }

  /** Delivers the records of a commit. Each call must continue where the previous one ended. */
  notify(records: readonly StoredEvent[]): void {
    const before = this.#head;
    this.#head = records.at(-1)?.seq ?? before;
    /** The groups that an event was pushed to, each with the position of its last pushed event. */
    const due = new Map<FanOutGroup, number>();
    for (const record of records) {
      if (this.#topics.size === 0) return;
      const { projectId, runId, users } = record;
      this.#notifyTopic('all', record, due);
      this.#notifyTopic(topicOf.scope({ kind: 'project', projectId }), record, due);
      this.#notifyTopic(topicOf.scope({ kind: 'run', projectId, runId }), record, due);
      this.#notifyTopic(topicOf.runId(runId), record, due);
      for (const userId of users ?? []) this.#notifyTopic(topicOf.scope({ kind: 'user', userId }), record, due);
    }
    if (due.size > 0) this.#send(due, before);
  }

  /**
   * Sends the head of the log to the clients of waiting readers that have received nothing after the time `since`, and are
   * behind this head.
   */
  tick(since: number): void {
    const { epoch, head, headHashPrefix } = this.#log;
    if (head !== this.#head) return; // A commit is being delivered: its readers are not quiet.
    const suffix = messageSuffix(encodeCursor(epoch, { seq: head, hashPrefix: headHashPrefix }), liveAt(head).json);
    let sent = 0;
    for (const { waiters, groups } of [...this.#topics.values()]) {
      for (const waiter of [...waiters]) {
        const { lastSentSeq, lastSentAt } = waiter.reader;
        if (lastSentSeq < this.#head && lastSentAt <= since) this.wake(waiter, 'tick');
      }
      for (const group of groups.values()) sent += group.sendQuiet(suffix, this.#head, since);
    }
    this.#counts.delivered += sent;
  }

  /** Wakes every reader a last time. */
  close(): void {
    this.#isClosed = true;
    for (const { waiters, groups } of [...this.#topics.values()]) {
      for (const waiter of [...waiters]) this.wake(waiter, 'access');
      for (const { subscribers } of [...groups.values()]) {
        for (const subscriber of [...subscribers]) subscriber.recheckAccess();
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
      suffix ??= messageSuffix(encodeCursor(this.#log.epoch, record), record.json);
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
    }
  }
}
