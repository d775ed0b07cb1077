import { setTimeout } from 'node:timers/promises';
import type { StoredEvent } from '../../server/event-log/contract/log.ts';
import type { EventLog } from '../../server/event-log/contract/store.ts';
import { Listeners } from '../../server/event-log/listeners.ts';

/**
 * Another node of a log: it has the records up to `head`, which {@link NodeOfLog.catchUp} moves. All else is asked from the
 * log itself. The node must be made before the log has events, so that it has their users.
 */
export type NodeOfLog = EventLog & {
  /** Gives the listeners the records up to a position; default: all. */
  catchUp(seq?: number): void;
  /** Moves the head without the records before it, as after a trim while the node did not reach the store. */
  skip(seq: number): void;
  /** What the node knows; undefined: what the log itself knows. */
  known: { isCurrent?: boolean; head?: number; oldest?: number; erasures?: number; epoch?: string };
  /** Calls the listeners of `onEpoch`. The history ends at `head`. */
  renew(epoch: string, head: number): void;
};

export function nodeOf(log: EventLog): NodeOfLog {
  const records: StoredEvent[] = [];
  log.subscribe((committed) => records.push(...committed));
  const fail = (error: unknown) => {
    throw error;
  };
  const listeners = new Listeners<[records: readonly StoredEvent[]]>(fail);
  const renewals = new Listeners(fail);
  let head = log.head;
  const known: NodeOfLog['known'] = {};
  const upTo = <T extends { scannedTo: number }>(page: T, after: number) => {
    const end = known.head ?? head;
    const scannedTo = Math.min(page.scannedTo, Math.max(after, end));
    return { ...page, scannedTo, isExhausted: scannedTo >= end };
  };
  const methods: Partial<NodeOfLog> = {
    known,
    subscribe: listeners.add,
    onEpoch: renewals.add,
    catchUp: (seq = log.head) => {
      const given = records.filter((record) => record.seq > head && record.seq <= seq);
      head = Math.max(head, seq);
      delete known.head;
      if (given.length > 0) listeners.call(given);
    },
    skip: (seq) => {
      head = seq;
    },
    renew: (epoch, end) => {
      known.epoch = epoch;
      head = end;
      renewals.call();
    },
    reached: async (seq, timeoutMs) => {
      const { epoch } = known;
      for (const end = performance.now() + timeoutMs; seq > (known.head ?? head); await setTimeout(5)) {
        if (seq > log.head || known.epoch !== epoch || performance.now() > end) return false;
      }
      return true;
    },
    read: async (query) => {
      const page = await log.read(query);
      return { ...upTo(page, query.after), records: page.records.filter(({ seq }) => seq <= (known.head ?? head)) };
    },
    scan: async (query) => {
      const { after, visit } = query;
      let seq = 0;
      const within = (json: string) => {
        ({ seq } = JSON.parse(json) as { seq: number });
        return seq <= head && visit(json);
      };
      return upTo(await log.scan({ ...query, visit: within }), after);
    },
  };
  const runs = withMembers(log.runs, {
    changedSince: async (query) => {
      const page = await log.runs.changedSince(query);
      const kept = page.runs.flatMap(({ lastSeq }, index) => (lastSeq <= head ? [index] : []));
      const of = <T>(list: readonly T[]) => kept.map((index) => list[index] as T);
      return { ...upTo(page, query.after), runs: of(page.runs), hashPrefixes: of(page.hashPrefixes) };
    },
  });
  return new Proxy(log as NodeOfLog, {
    get: (target, name) => {
      if (name in known) return known[name as keyof typeof known];
      if (name === 'head') return head;
      if (name === 'headHashPrefix') return records[head - 1]?.hashPrefix ?? log.headHashPrefix;
      if (name === 'runs') return runs;
      return name in methods ? methods[name as keyof typeof methods] : bound(target, name);
    },
  });
}

/** Makes the calls of a server wait for what is beyond a head, until the returned function is called. */
export function lag(log: EventLog, head: number): () => void {
  let isBehind = true;
  let waiting: (() => void)[] = [];
  const { reached, head: last } = log;
  const end = () => {
    isBehind = false;
    for (const name of ['head', 'reached', 'durableHead']) Reflect.deleteProperty(log, name);
    for (const resume of waiting) resume();
    waiting = [];
  };
  Object.defineProperty(log, 'head', { configurable: true, get: () => head });
  log.durableHead = async () => ({ seq: last, hashPrefix: log.headHashPrefix });
  log.reached = async (seq, timeoutMs) => {
    if (isBehind && seq > head && seq <= last) await new Promise<void>((resolve) => waiting.push(resolve));
    return isBehind ? seq <= head : reached.call(log, seq, timeoutMs);
  };
  return end;
}

/** A log, or a part of it, with some of its members replaced. */
export const withMembers = <T extends object>(part: T, members: Partial<T>): T =>
  new Proxy(part, {
    get: (target, name) => (name in members ? members[name as keyof T] : bound(target, name)),
  });

function bound(target: object, name: string | symbol): unknown {
  const value: unknown = Reflect.get(target, name, target);
  return typeof value === 'function' ? value.bind(target) : value;
}
