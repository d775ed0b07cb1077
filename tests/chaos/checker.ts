import { isDeepStrictEqual } from 'node:util';
import { decodeCursor } from '../../server/event-log/cursor.ts';
import type { RunEvent } from '../../shared/events.ts';
import { isSignal, type StreamSignal } from '../../shared/protocol.ts';
import type { Draft, ReaderPlan, ReaderScope } from './plan.ts';
import type { Acknowledged } from './publishers.ts';
import type { Seen, Transcript } from './transcript.ts';

/** Compares transcripts and acknowledgements with the log. Shares no code with the delivery. */

export type LoggedLog = {
  epoch: string;
  /** Every event ever logged, in order: `seq` n at index n - 1. */
  events: RunEvent[];
  /** The oldest kept position after each trim. */
  trims: number[];
};

/**
 * `lost`: a matching event was not delivered. `gap`: a gap without a reason, a missing gap, or a wrong signal.
 * `altered`: the delivered event differs from the log. `failed`: a subscription ended, a publisher was refused, or the
 * server crashed. `log`: the log itself is wrong.
 */
export const problemKinds = ['lost', 'repeated', 'out of order', 'gap', 'altered', 'failed', 'log'] as const;
export type ProblemKind = (typeof problemKinds)[number];
export type Problem = { kind: ProblemKind; source: string; detail: string };

/** `logs` in the order in which the server had them. */
export function checkReader(transcript: Transcript, logs: readonly LoggedLog[]): Problem[] {
  return new ReaderCheck(transcript, logs).check();
}

class ReaderCheck {
  readonly #transcript: Transcript;
  readonly #plan: ReaderPlan;
  readonly #logs: readonly LoggedLog[];
  readonly #problems: Problem[] = [];
  #log: LoggedLog | undefined;
  /** The events of this log that the reader must receive, and the index of the next one. */
  #wanted: RunEvent[] = [];
  #next = 0;
  #position = 0;
  #skipped: RunEvent[] = [];
  readonly #seen = new Set<string>();

  constructor(transcript: Transcript, logs: readonly LoggedLog[]) {
    this.#transcript = transcript;
    this.#plan = transcript.plan;
    this.#logs = logs;
  }

  check(): Problem[] {
    const { failure, hasStayed, missed, seen } = this.#transcript;
    if (failure !== undefined) this.#report('failed', failure);
    for (const one of seen) this.#take(one);
    if (missed !== undefined) this.#report('lost', `never came to ${missed}, but to ${this.#position} at the most`);
    if (hasStayed) this.#skipTo(Number.POSITIVE_INFINITY);
    this.#leave();
    return this.#problems;
  }

  #take({ cursor, item }: Seen): void {
    const { epoch, seq } = decodeCursor(cursor);
    if (seq !== (item.type === 'stream.gap' ? item.toSeq : item.seq)) {
      this.#report('altered', `the cursor of ${item.type} says ${seq}`);
    }
    if (isSignal(item) && item.type === 'stream.gap') {
      this.#takeGap(epoch, item);
      return;
    }
    if (!this.#log) this.#begin(epoch, isSignal(item) ? item.seq : item.seq - 1);
    if (epoch !== this.#log?.epoch) {
      this.#report('gap', `the log changed without a gap: ${cursor}`);
      this.#enter(epoch, seq);
    }
    if (isSignal(item)) this.#skipTo(item.seq);
    else this.#takeEvent(item);
    this.#position = Math.max(this.#position, seq);
  }

  #takeEvent(event: RunEvent): void {
    const { seq } = event;
    const key = `${this.#log?.epoch} ${seq}`;
    if (this.#seen.has(key)) {
      this.#report('repeated', `${seq}`);
      return;
    }
    this.#seen.add(key);
    if (!isDeepStrictEqual(event, this.#log?.events[seq - 1])) this.#report('altered', `${seq} differs from the log`);
    const isLate = this.#skipped.findIndex((skipped) => skipped.seq === seq);
    if (isLate >= 0) {
      this.#skipped.splice(isLate, 1);
      this.#report('out of order', `${seq} after ${this.#position}`);
      return;
    }
    this.#skipTo(seq - 1);
    if (this.#wanted[this.#next]?.seq === seq) this.#next++;
    else this.#report('altered', `${seq} is none that it asked for, at ${this.#position}`);
  }

  #takeGap(epoch: string, gap: Extract<StreamSignal, { type: 'stream.gap' }>): void {
    const { start } = this.#plan;
    const isFirst = this.#log === undefined;
    const log = this.#logs.find((candidate) => candidate.epoch === epoch);
    const explanations: Record<typeof gap.reason, boolean> = {
      epoch_changed: isFirst ? start === 'foreign' || this.#hasChanged : epoch !== this.#log?.epoch,
      ahead: isFirst && start === 'ahead',
      expired: log !== undefined && gap.fromSeq <= gap.toSeq && gap.toSeq < Math.max(0, ...log.trims),
      access_changed: false,
    };
    if (!explanations[gap.reason]) this.#report('gap', JSON.stringify(gap));
    // Events before an expired range were read, and delivered if they matched.
    if (gap.reason === 'expired') {
      const { startCursor } = this.#transcript;
      if (isFirst) this.#enter(epoch, startCursor === undefined ? gap.fromSeq - 1 : decodeCursor(startCursor).seq);
      this.#skipTo(gap.fromSeq - 1);
    }
    this.#enter(epoch, gap.toSeq);
  }

  get #hasChanged(): boolean {
    return this.#transcript.startCursor !== undefined && this.#logs.length > 1;
  }

  /** Handles the first item when it is not a gap. */
  #begin(epoch: string, seq: number): void {
    const { start } = this.#plan;
    const { floor, startCursor, trimsAtJoin, trimsBefore } = this.#transcript;
    const log = this.#logs.find((candidate) => candidate.epoch === epoch);
    if (start === 'start') {
      // A trim runs in steps: the reader may have started at any of them.
      const oldest = Math.max(1, ...(log?.trims.slice(0, trimsBefore) ?? []));
      this.#enter(epoch, Math.min(seq, oldest - 1));
    } else if (start === 'now') {
      if (seq < (floor ?? 0) && epoch === this.#logs[0]?.epoch)
        this.#report('repeated', `${seq} precedes the subscription`);
      this.#enter(epoch, seq);
    } else {
      const cursor = decodeCursor(startCursor ?? `${epoch}.0`);
      const needsGap =
        start !== 'old' ||
        cursor.epoch !== epoch ||
        cursor.seq + 1 < Math.max(0, ...(log?.trims.slice(0, trimsAtJoin) ?? []));
      if (needsGap) this.#report('gap', `no gap after the cursor ${startCursor}`);
      this.#enter(epoch, needsGap ? seq : cursor.seq);
    }
  }

  /** Continues after a position of a log. */
  #enter(epoch: string, seq: number): void {
    this.#leave();
    this.#log = this.#logs.find((candidate) => candidate.epoch === epoch);
    if (!this.#log) this.#report('altered', `unknown log ${epoch}`);
    this.#wanted = this.#log ? wantedOf(this.#plan, this.#log) : [];
    const next = this.#wanted.findIndex((event) => event.seq > seq);
    this.#next = next < 0 ? this.#wanted.length : next;
    this.#position = seq;
  }

  /** Every wanted event up to a position should have been delivered. */
  #skipTo(seq: number): void {
    for (let event = this.#wanted[this.#next]; event && event.seq <= seq; event = this.#wanted[++this.#next]) {
      this.#skipped.push(event);
    }
  }

  #leave(): void {
    for (const event of this.#skipped) {
      if (!this.#isConflated(event)) this.#report('lost', `${event.seq} ${event.type}`);
    }
    this.#skipped = [];
  }

  /** Whether conflation allows its absence: a later progress event of its stage carries the same fields. */
  #isConflated(event: RunEvent): boolean {
    if (!this.#plan.conflate || event.type !== 'stage.progress') return false;
    return this.#wanted.some(
      (later) =>
        later.type === 'stage.progress' &&
        later.seq > event.seq &&
        later.projectId === event.projectId &&
        later.runId === event.runId &&
        later.stageId === event.stageId &&
        later.timestamp > event.timestamp &&
        (['progress', 'message', 'done', 'total'] as const).every((name) => !(name in event) || name in later) &&
        (this.#seen.has(`${this.#log?.epoch} ${later.seq}`) || later.seq > this.#position),
    );
  }

  #report(kind: ProblemKind, detail: string): void {
    this.#problems.push({ kind, source: this.#plan.name, detail });
  }
}

function wantedOf({ scope, types, projects, sub }: ReaderPlan, { events }: LoggedLog): RunEvent[] {
  const creators = new Map<string, string>();
  const wanted: RunEvent[] = [];
  for (const event of events) {
    const { projectId, runId, type } = event;
    const run = `${projectId} ${runId}`;
    if (type === 'run.created' && event.createdBy !== undefined && !creators.has(run)) {
      creators.set(run, event.createdBy);
    }
    if (types && !types.includes(type)) continue;
    if (!projects.includes('*') && !projects.includes(projectId)) continue;
    if (isIn(scope, event, { sub, creator: creators.get(run) })) wanted.push(event);
  }
  return wanted;
}

function isIn(scope: ReaderScope, event: RunEvent, { sub, creator }: { sub: string; creator: string | undefined }) {
  switch (scope.kind) {
    case 'all':
      return true;
    case 'project':
      return event.projectId === scope.projectId;
    case 'run':
      return event.runId === scope.runId;
    case 'user': {
      const approvers = event.type === 'governance.required' ? (event.approvers ?? []) : [];
      return [...(event.audience ?? []), ...approvers, creator].includes(sub);
    }
  }
}

/** Checks for contiguous positions, times in order, and every acknowledged draft, unchanged and in order. */
export function checkLogs(logs: readonly LoggedLog[], acknowledged: readonly Acknowledged[]): Problem[] {
  const problems: Problem[] = [];
  const report = (detail: string, source = 'log') => problems.push({ kind: 'log', source, detail });
  const places = new Map<string, { at: number; event: RunEvent }>();
  let at = 0;
  for (const { events, trims } of logs) {
    const oldest = Math.max(0, ...trims);
    const lastOf = new Map<string, number>();
    const ids = new Map<string, number>();
    events.forEach((event, index) => {
      const { seq, runSeq, projectId, runId, eventId, recordedAt } = event;
      const run = `${projectId} ${runId}`;
      const id = `${projectId} ${eventId}`;
      if (seq !== index + 1) report(`seq ${seq} instead of ${index + 1}`);
      if (runSeq !== (lastOf.get(run) ?? 0) + 1) report(`runSeq ${runSeq} of ${run} after ${lastOf.get(run) ?? 0}`);
      // An event id is deduplicated while its event is kept.
      const earlier = ids.get(id) ?? 0;
      if (earlier >= Math.max(1, oldest))
        report(`${id} is logged twice, at ${earlier} and ${seq}, ${oldest} being the oldest`);
      if (index > 0 && recordedAt < (events[index - 1] as RunEvent).recordedAt)
        report(`${seq} was recorded before ${seq - 1}`);
      lastOf.set(run, runSeq);
      ids.set(id, seq);
      // A restored log has the events of its backup once more.
      if (!places.has(id)) places.set(id, { at: at++, event });
    });
  }
  const latest = new Map<string, number>();
  const sent = new Set<string>();
  for (const { publisher, drafts } of acknowledged) {
    for (const draft of drafts) {
      const id = `${draft.projectId} ${draft.eventId}`;
      const place = places.get(id);
      sent.add(id);
      if (!place) report(`${id} was acknowledged but is not logged`, publisher);
      else {
        if (!says(place.event, draft)) report(`${id} differs from the sent draft`, publisher);
        if (place.at < (latest.get(publisher) ?? -1)) report(`${id} precedes an earlier publish`, publisher);
        latest.set(publisher, place.at);
      }
    }
  }
  for (const id of places.keys()) if (!sent.has(id)) report(`not acknowledged: ${id}`);
  return problems;
}

const says = (event: RunEvent, draft: Draft): boolean =>
  Object.entries(draft).every(([name, value]) => isDeepStrictEqual((event as Record<string, unknown>)[name], value));
