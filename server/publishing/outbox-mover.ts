import { setImmediate } from 'node:timers/promises';
import { RunwireError } from '../../shared/errors.ts';
import type { Lease, Nodes } from '../event-log/contract/nodes.ts';
import type { Outbox, OutboxDraft, OutboxRefusal } from '../event-log/contract/outbox.ts';
import type { Health } from '../health.ts';
import type { EventBus } from './bus.ts';

/**
 * Moves the drafts of the outbox to the log, on the node that holds the lease `outbox`. A step:
 *
 * 1. reads the next calls, in the order of their commits;
 * 2. publishes their drafts by the bus, which checks and guards them;
 * 3. settles the calls: removes them, and keeps the refused drafts.
 *
 * A step that ends between 2 and 3 is repeated. The ids of its events are fixed, so the log takes them once, also from two
 * nodes at a time. A failure that may pass ends the step, and the next one begins at the same draft: the order is kept. A
 * refused draft holds back no other one.
 */

const POLL_MS = 250;
const RETRY_MS = 1_000;
const FORGET_MS = 3_600_000;
/** Tries of a draft that fails with `INTERNAL`: it may be a defect of the draft, or of the whole log. */
const INTERNAL_TRIES = 3;
const YIELD_MS = 5;
const REFUSED = 'a draft of the outbox is refused: see the table outbox_refused';

type Parsed = OutboxDraft & { draft: unknown };

export type OutboxMoverOptions = {
  outbox: Outbox;
  bus: Pick<EventBus<never>, 'publish'>;
  nodes: Pick<Nodes, 'lease'>;
  health: Pick<Health, 'note'>;
};

export class OutboxMover {
  readonly #outbox: Outbox;
  readonly #bus: Pick<EventBus<never>, 'publish'>;
  readonly #health: Pick<Health, 'note'>;
  readonly #lease: Lease;
  readonly #counts = { moved: 0, refused: 0 };
  #waitingMs = 0;
  #forgetAt = 0;
  #isClosed = false;
  #running: Promise<void> | undefined;
  #wake = () => {};
  /** Whether drafts may have been committed since the step began. */
  #hasWork = true;

  /** Begins as soon as this node has the lease. */
  constructor({ outbox, bus, nodes, health }: OutboxMoverOptions) {
    this.#outbox = outbox;
    this.#bus = bus;
    this.#health = health;
    this.#lease = nodes.lease('outbox', (isHeld) => {
      if (isHeld) this.#running = (this.#running ?? Promise.resolve()).then(() => this.#run());
      else this.#wake();
    });
  }

  /** Drafts that this node has moved to the log, and those that it has refused. */
  get counts(): Readonly<{ moved: number; refused: number }> {
    return this.#counts;
  }

  /** Age of the first draft that waits, as of the last step of this node; 0 if it does not move drafts. */
  get waitingMs(): number {
    return this.#mayMove ? this.#waitingMs : 0;
  }

  /** Ends after the present step. The next node begins where this one has ended. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#wake();
    await this.#running;
    await this.#lease.release();
  }

  get #mayMove(): boolean {
    return this.#lease.isHeld && !this.#isClosed;
  }

  async #run(): Promise<void> {
    const stop = this.#outbox.onWork(() => {
      this.#hasWork = true;
      this.#wake();
    });
    try {
      while (this.#mayMove) {
        this.#hasWork = false;
        let delayMs = POLL_MS;
        try {
          if (await this.#step()) continue;
          await this.#forget();
        } catch (error) {
          if (this.#isClosed) break;
          this.#health.note('cannot move drafts from the outbox to the log; they wait', { err: error });
          this.#hasWork = false;
          delayMs = RETRY_MS;
        }
        if (this.#mayMove && !this.#hasWork) await this.#pause(delayMs);
      }
    } finally {
      stop();
    }
  }

  /** Resolves after a time, or at the next {@link #wake}. */
  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Returns whether there were calls. */
  async #step(): Promise<boolean> {
    const { callIds, drafts, waitingMs } = await this.#outbox.next();
    this.#waitingMs = waitingMs;
    if (callIds.length === 0) return false;
    const refused: OutboxRefusal[] = [];
    const parsed = await parse(drafts);
    for (let from = 0; from < parsed.length; ) {
      const actor = (parsed[from] as Parsed).actor;
      const end = parsed.findIndex((draft, at) => at > from && draft.actor !== actor);
      const group = parsed.slice(from, end < 0 ? undefined : end);
      await this.#publish(group, actor, refused);
      from += group.length;
    }
    await this.#outbox.settle(callIds, refused);
    this.#counts.moved += drafts.length - refused.length;
    this.#counts.refused += refused.length;
    for (const { code } of refused) this.#health.note(REFUSED, { code });
    return true;
  }

  /** Publishes drafts in order, without those that the server refuses. Throws an error that may pass. */
  async #publish(drafts: readonly Parsed[], actor: string, refused: OutboxRefusal[]): Promise<void> {
    const left = [drafts];
    let internalTries = 0;
    for (let group = left.shift(); group; group = left.shift()) {
      if (!this.#mayMove) throw new RunwireError('UNAVAILABLE', 'the node no longer moves the outbox');
      try {
        await this.#bus.publish(group.map(({ draft }) => draft) as never, { actor });
      } catch (thrown) {
        const error =
          thrown instanceof RunwireError
            ? thrown
            : new RunwireError('INTERNAL', 'an internal error', { cause: thrown });
        const { code, message, path = '', issues = [] } = error;
        const [first] = group;
        if (code !== 'INTERNAL' && error.isRetryable) throw error;
        if (issues.length > 0) {
          // The first issue of each draft. Of many, the rest is found by the next attempt.
          const found = new Map([...issues].reverse().map((issue) => [issue.index, issue]));
          for (const [index, { callId, index: inCall }] of group.entries()) {
            const issue = found.get(index);
            if (issue) refused.push({ callId, index: inCall, code, path: issue.path, message: issue.message });
          }
          const rest = group.filter((_, index) => !found.has(index));
          if (rest.length > 0) left.unshift(rest);
        } else if (first && group.length === 1) {
          if (code === 'INTERNAL' && ++internalTries < INTERNAL_TRIES) {
            await this.#pause(RETRY_MS);
            left.unshift(group);
            continue;
          }
          internalTries = 0;
          const { callId, index } = first;
          refused.push({
            callId,
            index,
            code,
            path: path.replace(/^events\.0\.?/, ''),
            message: message.replace(/^events\.0\.?/, ''),
          });
        } else {
          // The error does not name its draft, or is about the drafts together.
          const half = Math.ceil(group.length / 2);
          left.unshift(group.slice(0, half), group.slice(half));
        }
      }
    }
  }

  async #forget(): Promise<void> {
    if (performance.now() < this.#forgetAt) return;
    this.#forgetAt = performance.now() + FORGET_MS;
    const removed = await this.#outbox.forgetRefused();
    if (removed > 0) this.#health.note('refused drafts of the outbox were too old or too many, and are removed', {});
  }
}

/** Parses drafts in several turns of the event loop. The texts are JSON: the database has made them. */
async function parse(drafts: readonly OutboxDraft[]): Promise<Parsed[]> {
  const parsed: Parsed[] = [];
  let yieldedAt = performance.now();
  for (const draft of drafts) {
    parsed.push({ ...draft, draft: JSON.parse(draft.text) });
    if (performance.now() - yieldedAt < YIELD_MS) continue;
    await setImmediate();
    yieldedAt = performance.now();
  }
  return parsed;
}
