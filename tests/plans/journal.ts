import { isOtherLog } from '../../client/feeds/run-feed.ts';
import type { Gap } from '../../client/feeds/subscription.ts';
import type { RunEvent, RunEventDraft } from '../../shared/events.ts';
import { type HandlerName, type QueryName, queries, type Slot, type User } from './plan.ts';

/**
 * What was published, and what the handlers of each hook received. `problemsOf` compares both.
 *
 * A unit is a hook with one query of one user, from its start to its unmount or switch. Pauses belong to it.
 */

type Published = { eventId: string; seq: number; type: string; runId: string; projectId: string };
/** A log is replaced by an empty one in a `replace`. */
type Log = Published[];
type Entry = { eventId: string } | { gap: Gap };

export class Unit {
  readonly slot: Slot;
  readonly query: QueryName;
  readonly user: User;
  isActive = false;
  readonly entries: { [name in HandlerName]: Entry[] } = { type: [], category: [] };
  /** For each log, the number of matching events at the time when the hook was known to be live. It receives the later ones. */
  readonly liveAt = new Map<Log, number>();

  constructor(slot: Slot, query: QueryName, user: User) {
    this.slot = slot;
    this.query = query;
    this.user = user;
  }

  toString(): string {
    return `hook ${this.slot} (${this.query} of ${this.user})`;
  }
}

export class Journal {
  readonly units: Unit[] = [];
  readonly problems: string[] = [];
  #logs: Log[] = [[]];
  #count = 0;
  delivered = 0;

  get log(): Log {
    return this.#logs.at(-1) as Log;
  }

  /** Gives a draft an id, and records it with the position that the log will give it. */
  publishing(draft: RunEventDraft): RunEventDraft {
    const eventId = `e${++this.#count}`;
    const { type, runId, projectId } = draft;
    this.log.push({ eventId, seq: this.log.length + 1, type, runId, projectId });
    return { ...draft, eventId };
  }

  replaced(): void {
    this.#logs.push([]);
  }

  begin(slot: Slot, query: QueryName, user: User): Unit {
    const unit = new Unit(slot, query, user);
    this.units.push(unit);
    return unit;
  }

  receive(unit: Unit | undefined, handler: HandlerName, event: RunEvent): void {
    this.delivered++;
    if (!unit?.isActive) this.problems.push(`${unit}: the ${handler} handler was called while the hook was away`);
    if (unit && event.projectId !== unit.user) this.problems.push(`${unit}: received an event of ${event.projectId}`);
    unit?.entries[handler].push({ eventId: event.eventId });
  }

  gap(unit: Unit | undefined, gap: Gap): void {
    for (const handler of ['type', 'category'] as const) unit?.entries[handler].push({ gap });
  }

  /** Returns whether both handlers of a unit have received the last matching event of the present log. */
  isComplete(unit: Unit): boolean {
    return (['type', 'category'] as const).every((handler) => {
      const last = this.#matching(unit, handler, this.log).at(-1);
      const received = unit.entries[handler].at(-1);
      return !last || (received && 'eventId' in received && received.eventId === last.eventId);
    });
  }

  /** Call when the unit is known to be live: {@link isComplete} is true, and an event was published just before. */
  live(unit: Unit): void {
    const { log } = this;
    if (!unit.liveAt.has(log)) unit.liveAt.set(log, this.#matching(unit, 'category', log).length);
  }

  /** Compares all units with the logs. */
  problemsOf(): string[] {
    const found = this.units.flatMap((unit) => [...this.#check(unit, 'type'), ...this.#check(unit, 'category')]);
    return [...new Set([...this.problems, ...found])];
  }

  #matching({ query, user }: Unit, handler: HandlerName, log: Log): Published[] {
    const { runId, types } = queries[query](user) as { runId?: string; types?: string[] };
    return log.filter(
      (event) =>
        event.projectId === user &&
        (runId === undefined || event.runId === runId) &&
        (types === undefined || types.includes(event.type)) &&
        (handler === 'category' || event.type === 'stage.progress'),
    );
  }

  #check(unit: Unit, handler: HandlerName): string[] {
    const problems: string[] = [];
    const say = (what: string) => problems.push(`${unit}, ${handler} handler: ${what}`);
    let log: Log | undefined;
    /** Index of the next event; undefined if a later start is right too. */
    let next: number | undefined;
    let restart: Gap | undefined;
    for (const entry of unit.entries[handler]) {
      if ('gap' in entry) {
        if (isOtherLog(entry.gap)) restart = entry.gap;
        continue;
      }
      const from: Log | undefined = restart || !log ? this.#logs.find((each) => has(each, entry)) : log;
      if (!from || !has(from, entry) || (restart && from === log)) {
        say(`received ${entry.eventId}, which is not in its log`);
        continue;
      }
      const events = this.#matching(unit, handler, from);
      const index = events.findIndex(({ eventId }) => eventId === entry.eventId);
      if (restart) {
        const { toSeq } = restart;
        next = events.findIndex(({ seq }) => seq > toSeq);
      } else if (!log) {
        next = queryStarts(unit) ? 0 : undefined;
      }
      if (index === -1) say(`received ${entry.eventId}, which does not match its query`);
      else if (next === undefined && index > this.#latestStart(unit, handler, from)) say(`began too late, at ${index}`);
      else if (next !== undefined && index < next) say(`received ${entry.eventId} again (${index} after ${next - 1})`);
      else if (next !== undefined && index > next) say(`lost ${index - next} events before ${entry.eventId}`);
      log = from;
      restart = undefined;
      next = index + 1;
    }
    return problems;
  }

  /** The greatest index of the first event of a unit: it must receive what was published after it was live. */
  #latestStart(unit: Unit, handler: HandlerName, log: Log): number {
    const live = unit.liveAt.get(log);
    if (live === undefined) return Number.POSITIVE_INFINITY;
    const before = this.#matching(unit, 'category', log)[live];
    if (!before) return Number.POSITIVE_INFINITY;
    const index = this.#matching(unit, handler, log).findIndex(({ seq }) => seq >= before.seq);
    return index === -1 ? Number.POSITIVE_INFINITY : index;
  }
}

const has = (log: Log, { eventId }: { eventId: string }) => log.some((event) => event.eventId === eventId);
const queryStarts = ({ query, user }: Unit) => 'from' in queries[query](user);
