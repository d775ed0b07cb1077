import type { StoredEvent } from '../event-log/contract/log.ts';
import { encodeCursor } from '../event-log/cursor.ts';
import { messageSuffix } from './frames.ts';
import { FanOutGroup, type Subscriber } from './group.ts';
import { liveAt } from './messages.ts';
import type { FrameSink } from './transport.ts';
import { type Filter, topicOf, type Waiter, type Wake } from './waiting.ts';

/** Those who wait under one key. */
class Topic {
  readonly waiters = new Set<Waiter>();
  readonly groups = new Map<string, FanOutGroup>();
}

export class Notifier {
  readonly #epoch: string;
  readonly #counts: { delivered: number };
  readonly #places = new Map<string, Topic>();
  #head: number;
  #isClosed = false;

  /** `head`: the position of the log, which nobody needs to be told of. `counts`: what groups are sent is added to it. */
  constructor({ epoch, head, counts }: { epoch: string; head: number; counts: { delivered: number } }) {
    this.#epoch = epoch;
    this.#head = head;
    this.#counts = counts;
  }

  /** Nothing will ring any more. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  get waiting(): number {
    let count = 0;
    for (const { waiters, groups } of this.#places.values()) {
      count += waiters.size;
      for (const { members } of groups.values()) count += members.size;
    }
    return count;
  }

  add(waiter: Waiter): void {
    this.#placeOf(waiter.key).waiters.add(waiter);
  }

  /** Wakes one waiter, if it still waits. */
  wake(waiter: Waiter, wake: Wake): void {
    const place = this.#places.get(waiter.key);
    if (!place?.waiters.delete(waiter)) return;
    this.#clear(waiter.key, place);
    waiter.wake(wake);
  }

  /** Puts a reader that has seen all up to the head among those who are sent the same, under the same head of messages. */
  join(key: string, head: string, filter: Filter, member: Subscriber): FanOutGroup {
    const { groups } = this.#placeOf(key);
    const groupKey = `${head} ${filter.key}`;
    let group = groups.get(groupKey);
    if (!group) {
      group = new FanOutGroup({ place: key, key: groupKey, head, accepts: filter.accepts });
      groups.set(groupKey, group);
    }
    group.add(member);
    return group;
  }

  /** Takes a member out of its group and tells it where it is. */
  release(group: FanOutGroup, member: Subscriber): void {
    group.remove(member);
    this.#forget(group);
    member.leftGroup(this.#head);
  }

  /** Tells everyone whom these records concern, which begin after all that was rung before. */
  notify(records: readonly StoredEvent[]): void {
    const before = this.#head;
    this.#head = records.at(-1)?.seq ?? before;
    const due = new Map<FanOutGroup, number>();
    for (const record of records) {
      if (this.#places.size === 0) return;
      const { projectId, runId, users } = record;
      this.#ringKey('all', record, due);
      this.#ringKey(topicOf.of({ kind: 'project', projectId }), record, due);
      this.#ringKey(topicOf.of({ kind: 'run', projectId, runId }), record, due);
      this.#ringKey(topicOf.runId(runId), record, due);
      for (const userId of users ?? []) this.#ringKey(topicOf.of({ kind: 'user', userId }), record, due);
    }
    if (due.size > 0) this.#send(due, before);
  }

  /** Tells those whose client has heard nothing since a time, and does not know of the head, where it is. */
  tick(since: number): void {
    const rest = messageSuffix(encodeCursor(this.#epoch, this.#head), liveAt(this.#head).json);
    let told = 0;
    for (const { waiters, groups } of [...this.#places.values()]) {
      for (const waiter of [...waiters]) {
        const { lastSentSeq: toldSeq, lastSentAt: toldAt } = waiter.reader;
        if (toldSeq < this.#head && toldAt <= since) this.wake(waiter, 'tick');
      }
      for (const group of groups.values()) told += group.tell(rest, this.#head, since);
    }
    this.#counts.delivered += told;
  }

  /** Wakes everyone for the last time. */
  close(): void {
    this.#isClosed = true;
    for (const { waiters, groups } of [...this.#places.values()]) {
      for (const waiter of [...waiters]) this.wake(waiter, 'access');
      for (const { members } of [...groups.values()]) for (const member of [...members]) member.recheckAccess();
    }
  }

  #ringKey(key: string, record: StoredEvent, due: Map<FanOutGroup, number>): void {
    const place = this.#places.get(key);
    if (!place) return;
    if (place.waiters.size > 0) {
      const { seq } = record;
      for (const waiter of [...place.waiters]) if (waiter.reader.maySee(record)) this.wake(waiter, { seq });
    }
    let rest: string | undefined;
    for (const group of place.groups.values()) {
      if (!group.accepts(record)) continue;
      rest ??= messageSuffix(encodeCursor(this.#epoch, record.seq), record.json);
      group.push(rest);
      due.set(group, record.seq);
    }
  }

  #send(due: ReadonlyMap<FanOutGroup, number>, before: number): void {
    // What is due to one socket from several groups leaves in one write.
    const corked = due.size > 1 ? new Set<FrameSink>() : undefined;
    const left: Subscriber[] = [];
    let sent = 0;
    for (const [group, seq] of due) {
      sent += group.send(seq, left, corked);
      this.#forget(group);
    }
    for (const sink of corked ?? []) sink.uncork();
    this.#counts.delivered += sent;
    // Last, for each goes on at once, and may join a group again.
    for (const member of left) member.leftGroup(before);
  }

  #placeOf(key: string): Topic {
    let place = this.#places.get(key);
    if (!place) {
      place = new Topic();
      this.#places.set(key, place);
    }
    return place;
  }

  #forget(group: FanOutGroup): void {
    if (group.members.size > 0) return;
    const place = this.#places.get(group.place);
    // A later group may have its key.
    if (place?.groups.get(group.key) !== group) return;
    place.groups.delete(group.key);
    this.#clear(group.place, place);
  }

  #clear(key: string, place: Topic): void {
    if (place.waiters.size === 0 && place.groups.size === 0 && this.#places.get(key) === place) {
      this.#places.delete(key);
    }
  }
}
