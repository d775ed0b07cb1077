import { randomUUID } from 'node:crypto';
import { type DraftIssue, type ErrorCode, objectOf, RunwireError } from '../../shared/errors.ts';
import { idTimeOf, newEventId } from '../../shared/event-id.ts';
import { describeIssue, jsonProblemIn } from '../../shared/issues.ts';
import {
  DRAFT_LIMIT_BYTES,
  REQUEST_LIMIT_DRAFTS,
  REQUEST_LIMIT_ROWS,
  ROW_FIELDS,
  rowsIn,
} from '../../shared/protocol.ts';
import { type DraftOf, draftSchemaOf, type EventOf, type Registry } from '../../shared/registry.ts';
import type { Batch, Log, ReadyDraft, Receipt, StoredEvent } from '../event-log/contract/log.ts';
import type { Health } from '../health.ts';
import { type Guard, guardInSlices, guardRefusal, type PhiPolicy } from '../phi/policy.ts';
import { Checks } from './checks.ts';
import { draftCheck } from './draft-rules.ts';
import { sizeOf } from './draft-size.ts';
import { mayBeLargePlan, partsOfPlan, pathInPlan } from './plan-parts.ts';

/**
 * The event bus publishes drafts (events before they are logged). `publish` checks the drafts against the schemas,
 * applies the PHI guard (`phi/guard.ts`), and appends the drafts to the log. After the commit, the server calls
 * `committed`, which passes the durable events to the observers in this process.
 */

/** Maximum number of issues in one error. */
const ISSUE_LIMIT = 100;
const YIELD_MS = 1;
const UNREDACTABLE =
  'has an identifier, and the schema of the field allows no redacted text: allow the field, or use field.userId()';
/** The size of a draft counts as one further event for each of these units. */
const UNIT_BYTES = 4_096;

/** The publisher of a request, and the rules for its drafts. */
export type Publisher = {
  /** The user id that the events contain as `actor`. */
  actor: string;
  /** True for server code, which may publish any decision. Default false. */
  isTrusted?: boolean;
  /** Replaces the rules for drafts. Called inside the transaction, with each draft and the state of its run. */
  check?: Batch['check'];
  /** Policy of the PHI guard for these drafts. Default: the server's policy. */
  onPhi?: PhiPolicy | undefined;
  /** Called with the size of the checked drafts, as a number of further events to count against a limit. */
  charge?: (events: number) => void;
};

/** `seq` is the highest position in the log of the request's events, duplicates included. */
export type Published = { accepted: number; duplicates: number; seq: number; receipts: Receipt[] };

/** An observer of the bus. `next` is called once for each event, in `seq` order, after the commit. */
export type BusObserver<Event> = { next(event: Event): void };

export type EventBusOptions<R extends Registry> = {
  registry: R;
  log: Log;
  health: Pick<Health, 'note'>;
  phiPolicy: PhiPolicy;
  guard?: Guard | undefined;
  /** Called for each request with the time until its events were durable and written to waiting subscribers. */
  onPublished?: ((ms: number) => void) | undefined;
};

/** The bus of a server: publishes drafts, and passes durable events to observers. */
export class EventBus<R extends Registry> {
  readonly #log: Log;
  readonly #health: Pick<Health, 'note'>;
  readonly #schema: ReturnType<typeof draftSchemaOf<R>>;
  readonly #guard: Guard;
  readonly #phiPolicy: PhiPolicy;
  readonly #onPublished: (ms: number) => void;
  readonly #checks = new Checks();
  readonly #observers = new Set<BusObserver<EventOf<R>>>();
  #published = 0;
  #time: Now = { ms: Number.NaN, timestamp: '', idTime: '' };

  constructor({
    registry,
    log,
    health,
    phiPolicy,
    guard = (draft) => draft,
    onPublished = () => undefined,
  }: EventBusOptions<R>) {
    this.#log = log;
    this.#health = health;
    this.#schema = draftSchemaOf(registry);
    this.#guard = guard;
    this.#phiPolicy = phiPolicy;
    this.#onPublished = onPublished;
  }

  /** Number of events that this server has published since it started. */
  get published(): number {
    return this.#published;
  }

  /**
   * Publishes 1–1,000 drafts, all or none, in slices of the event loop. Drafts of the same actor are logged in the order of
   * the calls; do not change them before the promise settles. Resolves once they are durable. Throws `INVALID_EVENT` or `PHI_REJECTED` with `issues`, `TOO_LARGE`,
   * `FORBIDDEN`, `APPROVAL_ID_TAKEN`, `UNAVAILABLE`.
   */
  async publish(drafts: readonly DraftOf<R>[], publisher: Publisher): Promise<Published> {
    const count = requireDraftCount(drafts);
    const begun = performance.now();
    const { actor, check = draftCheck(publisher) } = objectOf(publisher, 'publisher');
    const receipts = await this.#checks.run(actor, this.#prepare(drafts, publisher), ({ ready, units }) => {
      const batch = { actor, drafts: new Array<ReadyDraft>(ready.length), hasNewIds: true, check, cost: count + units };
      for (let at = 0; at < ready.length; at++) {
        const { draft, isNewId } = ready[at] as Checked;
        batch.drafts[at] = draft;
        batch.hasNewIds &&= isNewId;
      }
      const appending = this.#log.append(batch);
      return ready.length === drafts.length ? appending : receiptsOfWhole(appending, ready);
    });
    this.#onPublished(performance.now() - begun);
    let duplicates = 0;
    let seq = 0;
    for (const receipt of receipts) {
      if (receipt.isDuplicate) duplicates++;
      if (receipt.seq > seq) seq = receipt.seq;
    }
    const accepted = receipts.length - duplicates;
    this.#published += accepted;
    return { accepted, duplicates, seq, receipts };
  }

  /** Calls the observer with each event that is logged from now on, in order, once the event is durable. */
  subscribe(observer: BusObserver<EventOf<R>>): { unsubscribe(): void } {
    this.#observers.add(observer);
    return { unsubscribe: () => void this.#observers.delete(observer) };
  }

  /** Calls the observers with the events of a commit, after these were written to waiting subscribers. */
  committed(records: readonly StoredEvent[]): void {
    for (const record of records) {
      for (const observer of this.#observers) {
        const failed = (error: unknown) =>
          this.#health.note('an observer of the bus failed', { err: error, type: record.type });
        try {
          // An observer may be async; an unhandled rejection would end the process.
          const result: unknown = observer.next(record.event as EventOf<R>);
          if (result instanceof Promise) result.catch(failed);
        } catch (error) {
          failed(error);
        }
      }
    }
  }

  close(): void {
    this.#observers.clear();
  }

  /** Checks and guards drafts, and yields about once a millisecond. `units`: their size, in units of {@link UNIT_BYTES}. */
  *#prepare(drafts: readonly unknown[], { onPhi, charge }: Publisher) {
    const size = { bytes: 0 };
    let checked: Checked[];
    try {
      checked = yield* this.#checked(drafts, size);
    } finally {
      charge?.(Math.floor(size.bytes / UNIT_BYTES));
    }
    const ready = yield* this.#guarded(checked, onPhi ?? this.#phiPolicy);
    return { ready, units: Math.floor(size.bytes / UNIT_BYTES) };
  }

  *#checked(drafts: readonly unknown[], size: { bytes: number }): Generator<undefined, Checked[]> {
    const now = this.#now();
    const issues: DraftIssue[] = [];
    const ready: Checked[] = [];
    let yieldedAt = performance.now();
    for (let index = 0; index < drafts.length && issues.length < ISSUE_LIMIT; index++) {
      const whole = drafts[index];
      const parts = mayBeLargePlan(whole) ? yield* partsOfPlan(whole) : undefined;
      for (let part = 0; part < (parts?.length ?? 1); part++) {
        const draft = parts ? parts[part]?.draft : whole;
        const stagesFrom = parts?.[part]?.stagesFrom ?? 0;
        // Checked before the schema: the schema's time and number of issues grow with the size of the draft.
        const bytes = sizeOf(draft);
        size.bytes += bytes;
        const checked = this.#check(draft, bytes, now);
        if ('issues' in checked) {
          for (const issue of checked.issues)
            issues.push({ index, ...issue, path: pathInPlan(issue.path, stagesFrom) });
          break;
        }
        const isNewId = (draft as { eventId?: unknown }).eventId === undefined;
        ready.push({ draft: checked, index, stagesFrom, isNewId });
        if (performance.now() - yieldedAt < YIELD_MS) continue;
        yield;
        yieldedAt = performance.now();
      }
    }
    if (issues.length > 0) throw refusal('INVALID_EVENT', issues);
    return ready;
  }

  /** The time, as the fields of a draft without them have it. */
  #now(): Now {
    const ms = Date.now();
    if (ms !== this.#time.ms) this.#time = { ms, timestamp: new Date(ms).toISOString(), idTime: idTimeOf(ms) };
    return this.#time;
  }

  #check(draft: unknown, bytes: number, now: Now): ReadyDraft | { issues: Omit<DraftIssue, 'index'>[] } {
    if (bytes > DRAFT_LIMIT_BYTES) return { issues: [{ path: '', message: 'the draft is larger than 64 KiB' }] };
    const parsed = this.#schema.safeParse(draft);
    if (!parsed.success) return { issues: parsed.error.issues.map(describeIssue) };
    // Checked on the draft itself: its copy lacks the keys that the schema has dropped.
    const problem = jsonProblemIn(draft);
    if (problem !== undefined) return { issues: [problem] };
    // The schema has returned a copy, which may be changed.
    const checked = parsed.data as unknown as ReadyDraft & Partial<Pick<ReadyDraft, 'timestamp' | 'eventId'>>;
    checked.timestamp ??= now.timestamp;
    checked.eventId ??= newEventId(randomUUID(), now.idTime);
    return checked;
  }

  *#guarded(drafts: Checked[], policy: PhiPolicy): Generator<undefined, Checked[]> {
    const issues: DraftIssue[] = [];
    let yieldedAt = performance.now();
    for (const checked of drafts) {
      const { draft, index, stagesFrom } = checked;
      const { eventId } = draft; // The guard may change the draft itself.
      try {
        const kept = yield* guardInSlices(this.#guard, draft, policy);
        // The schema of an own type may refuse a redacted text, as `z.email()` does.
        const issue = kept === draft ? undefined : this.#schema.safeParse(kept).error?.issues[0];
        if (issue)
          issues.push({ index, path: pathInPlan(describeIssue(issue).path, stagesFrom), message: UNREDACTABLE });
        checked.draft = kept;
        if (kept.eventId !== eventId) checked.isNewId = false;
      } catch (error) {
        const { path, message, isDefect } = guardRefusal(error);
        if (isDefect) this.#health.note('the PHI guard failed; the draft is refused', { type: draft.type });
        issues.push({ index, path: pathInPlan(path, stagesFrom), message });
      }
      if (performance.now() - yieldedAt < YIELD_MS) continue;
      yield;
      yieldedAt = performance.now();
    }
    if (issues.length > 0) throw refusal('PHI_REJECTED', issues);
    return drafts;
  }
}

/** Returns a receipt for each draft: of a draft in parts, the position of its last part, at which the plan is whole. */
async function receiptsOfWhole(appending: Promise<Receipt[]>, ready: readonly Checked[]): Promise<Receipt[]> {
  const receipts: Receipt[] = [];
  try {
    for (const [at, receipt] of (await appending).entries()) {
      const { index } = ready[at] as Checked;
      receipts[index] = { ...receipt, eventId: receipts[index]?.eventId ?? receipt.eventId };
    }
    return receipts;
  } catch (error) {
    if (!(error instanceof RunwireError) || error.path === undefined) throw error;
    const inRequest = (text: string) => text.replace(/^events\.(\d+)/, (_, at) => `events.${ready[Number(at)]?.index}`);
    throw new RunwireError(error.code, inRequest(error.message), { path: inRequest(error.path) });
  }
}

/**
 * A draft that the schema has accepted, with its index in the request. A large plan has several. `isNewId`: the bus has made
 * its `eventId`.
 */
type Checked = { draft: ReadyDraft; index: number; stagesFrom: number; isNewId: boolean };

/** A time (Unix ms), as a timestamp, and as the beginning of an event id. */
type Now = { ms: number; timestamp: string; idTime: string };

/**
 * Returns the number of drafts and of the rows that they make besides their events. Throws `INVALID_INPUT` for no array and no drafts, and
 * `TOO_LARGE` for more drafts or rows than a request may have.
 */
export function requireDraftCount(drafts: readonly unknown[]): number {
  if (!Array.isArray(drafts)) throw new RunwireError('INVALID_INPUT', 'events: must be an array', { path: 'events' });
  if (drafts.length === 0) throw new RunwireError('INVALID_INPUT', 'no events in the request', { path: 'events' });
  if (drafts.length > REQUEST_LIMIT_DRAFTS) {
    throw new RunwireError('TOO_LARGE', `more than ${REQUEST_LIMIT_DRAFTS} events in one request`);
  }
  let rows = 0;
  for (const [index, draft] of drafts.entries()) {
    for (const field of ROW_FIELDS) {
      rows += rowsIn(draft, field);
      if (rows <= REQUEST_LIMIT_ROWS) continue;
      const path = `events.${index}.${field}`;
      const message = `${path}: more than ${REQUEST_LIMIT_ROWS} planned stages, users and approvers in one request`;
      throw new RunwireError('TOO_LARGE', message, { path });
    }
  }
  return drafts.length + rows;
}

function refusal(code: ErrorCode, issues: DraftIssue[]): RunwireError {
  const [first] = issues;
  const where = first?.path ? `events.${first.index}.${first.path}` : `events.${first?.index}`;
  return new RunwireError(code, `${where}: ${first?.message}`, { path: where, issues: issues.slice(0, ISSUE_LIMIT) });
}
