import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { RunwireError } from '../../../shared/errors.ts';
import type { RunEventDraft, RunwireEvents } from '../../../shared/events.ts';
import type { Registry } from '../../../shared/registry.ts';
import { can } from '../../auth/permissions.ts';
import type { Principal } from '../../auth/principal.ts';
import type { ProducerState } from '../../event-log/contract/producer-state.ts';
import type { Privacy } from '../../phi/identifiers.ts';
import { publishWithholding } from '../../phi/withhold.ts';
import type { EventBus } from '../../publishing/bus.ts';
import type { PublishGateway } from '../../publishing/gateway.ts';
import { sliceEnd } from '../../slices.ts';
import { type Dataset, draftsOf, type LineageEvent } from './map.ts';
import { type Memo, RunTree } from './run-tree.ts';

/**
 * Publishes OpenLineage messages. Messages of tokens with the same projects form a queue, in groups: the intake reads the
 * facts about their runs from the store, places each message in turn, publishes all drafts of the group in one commit, and
 * then writes the changed facts. A message is answered after that write, so a restart loses no fact of an answered message.
 */

export type Accepted = { accepted: number; duplicates: number };

/** Messages of one group. */
const GROUP_MESSAGES = 100;
/** Drafts in one call of the bus. Small, so that mapping and checking them holds the event loop for a short time. */
const PAGE_DRAFTS = 100;

type Job = {
  principal: Principal;
  event: LineageEvent;
  resolve: (accepted: Accepted) => void;
  reject: (error: unknown) => void;
};

export type LineageIntakeParts<R extends Registry> = {
  gateway: PublishGateway<R>;
  privacy: Pick<Privacy, 'idFor' | 'digestOf' | 'redactText'>;
  state: ProducerState;
};

export class LineageIntake<R extends Registry> {
  readonly #parts: LineageIntakeParts<R>;
  /** Waiting messages by scope. Each one belongs to an open request. */
  readonly #queues = new Map<string, Job[]>();

  constructor(parts: LineageIntakeParts<R>) {
    this.#parts = parts;
  }

  /**
   * Counts messages against the rate limit of the principal: two events for each message, and one for each output. Throws
   * `UNAVAILABLE` (503) over the limit: OpenLineage clients drop an event that is answered with 429.
   */
  admit(principal: Principal, messages: readonly (LineageEvent | undefined)[]): void {
    const drafts = messages.reduce((sum, message) => sum + 2 + (message?.outputs.length ?? 0), 0);
    if (this.#parts.gateway.takeAllowance(principal, drafts)) return;
    throw new RunwireError('UNAVAILABLE', 'too many events a second');
  }

  /** Publishes one message. Rejects with `FORBIDDEN`, `PHI_REJECTED`, `UNAVAILABLE`. */
  publish(principal: Principal, event: LineageEvent): Promise<Accepted> {
    // With a single scope, a caller could change the place of another caller's run.
    const { projects, runId } = principal;
    const among = [...projects].sort();
    const scope = `openlineage ${sha256(JSON.stringify(runId === undefined ? among : { among, runId }))}`;
    return new Promise((resolve, reject) => {
      const job = { principal, event, resolve, reject };
      const queue = this.#queues.get(scope);
      if (queue) {
        queue.push(job);
        return;
      }
      const jobs = [job];
      this.#queues.set(scope, jobs);
      void this.#work(scope, jobs);
    });
  }

  async #work(scope: string, queue: Job[]): Promise<void> {
    while (queue.length > 0) {
      await setImmediate(); // Messages that arrive in the same turn join the group.
      const group = queue.splice(0, GROUP_MESSAGES);
      try {
        await this.#publishGroup(scope, group);
      } catch (error) {
        for (const { reject } of group) reject(error);
      }
    }
    this.#queues.delete(scope);
  }

  async #publishGroup(scope: string, jobs: readonly Job[]): Promise<void> {
    const { state, privacy } = this.#parts;
    const before = await this.#read(scope, jobs);
    const memos = new Map([...before].map(([key, value]) => [key, JSON.parse(value) as Memo]));
    const outputs = await this.#outputsOf(scope, jobs, memos);
    const stored = new Set(outputs.keys());
    const tree = new RunTree({ memos, outputs, digestOf: (name) => privacy.digestOf(name).slice(0, 16) });
    const outcomes: Promise<Accepted>[] = [];
    let until = sliceEnd(); // The drafts of one turn share a commit.
    for (const { principal, event } of jobs) {
      const outcome = this.#publishOne(tree, principal, event);
      // The group waits for it below; the handler prevents an unhandled rejection until then.
      outcome.catch(() => undefined);
      outcomes.push(outcome);
      if (performance.now() < until) continue;
      await setImmediate();
      until = sliceEnd();
    }
    const settled = await Promise.allSettled(outcomes);
    const changed = new Map<string, string>();
    for (const [runId, memo] of memos) {
      const text = JSON.stringify(memo);
      if (text !== before.get(runId)) changed.set(runId, text);
    }
    for (const [key, datasets] of outputs) {
      if (!stored.has(key)) changed.set(key, JSON.stringify(await this.#redacted(datasets)));
    }
    await state.write(scope, changed);
    settled.forEach((outcome, index) => {
      const { resolve, reject } = jobs[index] as Job;
      if (outcome.status === 'fulfilled') resolve(outcome.value);
      else reject(outcome.reason);
    });
  }

  /** Reads the memos of the runs in the messages, and of the roots of these runs. */
  async #read(scope: string, jobs: readonly Job[]): Promise<Map<string, string>> {
    const named = jobs.flatMap(({ event: { self, parent, root } }) => [self, parent, root].map((run) => run?.runId));
    const keys = [...new Set(named.filter((key) => key !== undefined))];
    const found = await this.#parts.state.read(scope, keys);
    const homes = [...found.values()].map((text) => (JSON.parse(text) as Memo).home?.runId);
    const more = [...new Set(homes.filter((key) => key !== undefined && !keys.includes(key)))] as string[];
    return new Map([...found, ...(await this.#parts.state.read(scope, more))]);
  }

  /** Reads the outputs of earlier messages of the runs that complete. */
  async #outputsOf(scope: string, jobs: readonly Job[], memos: ReadonlyMap<string, Memo>) {
    const completing = jobs.filter(({ event }) => event.type === 'COMPLETE');
    const keys = completing.flatMap(({ event }) => memos.get(event.self.runId)?.outputs?.keys ?? []);
    const outputs = new Map<string, readonly Dataset[]>();
    for (const [key, text] of await this.#parts.state.read(scope, keys)) {
      outputs.set(key, JSON.parse(text) as Dataset[]);
      await setImmediate();
    }
    return outputs;
  }

  async #publishOne(tree: RunTree, principal: Principal, event: LineageEvent): Promise<Accepted> {
    const bus = this.#parts.gateway.bus as unknown as EventBus<RunwireEvents>;
    const total = { accepted: 0, duplicates: 0 };
    try {
      const places = tree.place(event, principal.projects);
      for (const { run } of places) {
        if (can(principal, 'publish', run)) continue;
        throw new RunwireError('FORBIDDEN', 'not allowed: publish to this project', { path: 'job.namespace' });
      }
      for (const place of places) {
        for (const page of pagesOf(draftsOf(event, place))) {
          const { accepted, duplicates } = await publishWithholding(page, (drafts) =>
            bus.publish(drafts, { actor: principal.sub, onPhi: 'redact' }),
          );
          total.accepted += accepted;
          total.duplicates += duplicates;
        }
      }
      return total;
    } catch (error) {
      tree.forget(event);
      throw error;
    }
  }

  /** The PHI guard has not seen outputs before they are published, and the store must not contain what it redacts. */
  async #redacted(datasets: readonly Dataset[]): Promise<Dataset[]> {
    const { privacy } = this.#parts;
    const redacted: Dataset[] = [];
    for (const { artifactId, name, uri } of datasets) {
      const safeUri = uri === undefined ? undefined : privacy.redactText('uri', uri);
      redacted.push({ artifactId, name: privacy.redactText('name', name), uri: safeUri });
      if (redacted.length % PAGE_DRAFTS === 0) await setImmediate();
    }
    return redacted;
  }
}

function* pagesOf(drafts: Iterable<RunEventDraft>): Generator<RunEventDraft[]> {
  let page: RunEventDraft[] = [];
  for (const draft of drafts) {
    page.push(draft);
    if (page.length < PAGE_DRAFTS) continue;
    yield page;
    page = [];
  }
  if (page.length > 0) yield page;
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
