import { randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import fc from 'fast-check';
import { foldEvent, type RunEvent, type RunEventType, runwireEvents } from '../../../shared/events.ts';
import type { RunHeader, RunView } from '../../../shared/run.ts';
import { RunMemory } from '../../../shared/run-memory.ts';
import { mergeRunPages } from '../../../shared/run-pages.ts';
import { holdsAll, parseText } from '../../../shared/search-text.ts';
import { tombstoneOf } from '../../../shared/tombstone.ts';
import type { Decider } from '../contract/decider.ts';
import type { Integrity } from '../contract/integrity.ts';
import type { ReadyDraft, StoredEvent } from '../contract/log.ts';
import type { Revocation } from '../contract/revocations.ts';
import type { ChangeQuery, ViewPage } from '../contract/runs.ts';
import type { SearchQuery } from '../contract/search.ts';
import type { EventLog } from '../contract/store.ts';

/** Helpers of the conformance suite: drafts of every type, and functions that fill and read a log. */

/**
 * Storage of one log. `open` after a close returns the same log, if the store is persistent. A store that allows several
 * nodes returns another node of the same log at each call.
 */
export type Place = {
  open(options?: { now?: () => number }): Promise<EventLog>;
  remove(): Promise<void>;
};

export const T0 = Date.parse('2026-01-01T00:00:00.000Z');
export const instant = (seconds: number) => new Date(T0 + seconds * 1_000).toISOString();

export type Draft = ReadyDraft & { [key: string]: unknown };

export const one = <T>(...values: T[]) => fc.constantFrom(...values);

/**
 * Random drafts of all types, with so few ids, attempts and times that they often collide. JavaScript sorts text by UTF-16
 * code unit, databases by UTF-8 byte: the last two stage ids have another order in each.
 */
export function arbitraryDraft(): fc.Arbitrary<Draft> {
  const stageId = one('a', 'b', '～', '😀');
  const attempt = one(1, 1, 2, 3);
  const durationMs = one(0, 500, 2_500);
  const error = fc.record({ message: one('boom', 'bang'), code: one('E1', 'E2') }, { requiredKeys: ['message'] });
  const user = one('ann', 'bob', 'eve');
  const approvalId = one('x', 'y');
  const of = (type: RunEvent['type'], fields: Record<string, fc.Arbitrary<unknown>>, ...requiredKeys: string[]) => {
    const envelope = {
      type: fc.constant(type),
      projectId: one('p', 'q'),
      runId: one('r', 's'),
      timestamp: fc.nat(4).map(instant),
      eventId: fc.nat(60).map(String),
      audience: fc.uniqueArray(user),
    };
    const shape: Record<string, fc.Arbitrary<unknown>> = { ...envelope, ...fields };
    const required = ['type', 'projectId', 'runId', 'timestamp', 'eventId', ...requiredKeys];
    return fc.record(shape, { requiredKeys: required }) as unknown as fc.Arbitrary<Draft>;
  };
  const progress = of(
    'stage.progress',
    {
      stageId,
      attempt,
      progress: one(0, 12.5, 33.3333, 100),
      message: one('m1', 'm2'),
      done: one(0, 1, 7),
      total: one(0, 4),
    },
    'stageId',
  ).filter((draft) => ['progress', 'message', 'done'].some((key) => key in draft));
  const arbitraries: Record<RunEventType, { weight: number; arbitrary: fc.Arbitrary<Draft> }> = {
    'run.created': {
      weight: 2,
      arbitrary: of(
        'run.created',
        {
          name: one('one', 'two'),
          stages: fc.array(fc.record({ stageId, name: one('A', 'B') }), { maxLength: 4 }),
          createdBy: user,
          labels: fc.dictionary(one('k', 'l'), one('1', '2')),
          parentRunId: one('r', 's'),
        },
        'name',
      ),
    },
    'run.started': { weight: 1, arbitrary: of('run.started', {}) },
    'run.completed': { weight: 1, arbitrary: of('run.completed', { durationMs, summary: one('fine', 'well') }) },
    'run.failed': { weight: 1, arbitrary: of('run.failed', { error, durationMs, stageId }, 'error') },
    'stage.started': {
      weight: 4,
      arbitrary: of('stage.started', { stageId, name: one('A', 'C'), attempt }, 'stageId'),
    },
    'stage.progress': { weight: 4, arbitrary: progress },
    'stage.completed': { weight: 3, arbitrary: of('stage.completed', { stageId, durationMs, attempt }, 'stageId') },
    'stage.failed': {
      weight: 3,
      arbitrary: of('stage.failed', { stageId, error, willRetry: fc.boolean(), attempt }, 'stageId', 'error'),
    },
    'artifact.created': {
      weight: 2,
      arbitrary: of(
        'artifact.created',
        { artifactId: one('f', 'g'), name: one('A', 'B'), stageId, kind: one('text/csv'), sizeBytes: one(0, 9) },
        'artifactId',
        'name',
      ),
    },
    'governance.required': {
      weight: 2,
      arbitrary: of(
        'governance.required',
        { approvalId, title: one('A', 'B'), requiredApprovals: one(1, 2, 3), approvers: fc.uniqueArray(user) },
        'approvalId',
        'title',
      ),
    },
    'approval.granted': {
      weight: 3,
      arbitrary: of('approval.granted', { approvalId, decidedBy: user }, 'approvalId', 'decidedBy'),
    },
    'approval.denied': {
      weight: 1,
      arbitrary: of(
        'approval.denied',
        { approvalId, decidedBy: user, reason: one('no'), expired: fc.boolean() },
        'approvalId',
        'decidedBy',
        'reason',
      ),
    },
  };
  return fc.oneof(...Object.values(arbitraries));
}

/** A draft of run `r` in project `p` with a new event id. */
export function draft(type: RunEvent['type'], fields: { [key: string]: unknown } = {}): Draft {
  return { type, projectId: 'p', runId: 'r', timestamp: instant(0), eventId: randomUUID(), ...fields };
}

export const created = (fields: { [key: string]: unknown } = {}) => draft('run.created', { name: 'n', ...fields });
export const started = (fields: { [key: string]: unknown } = {}) => draft('run.started', fields);

/** A user that may decide approvals, at the instant `T0`. */
export const decider = (fields: Partial<Decider> = {}): Decider => ({
  sub: 'eve',
  roles: ['approver'],
  projects: 'all',
  nowMs: T0,
  ...fields,
});

export const append = (log: EventLog, ...drafts: Draft[]) => log.append({ actor: 'ci', drafts });

/**
 * Random turns of the event loop: in each turn, several publishers append one batch each. If a batch has `failsAt`, its
 * check throws at that draft.
 */
export const arbitraryTurns = () =>
  fc.array(
    fc.array(
      fc.record({
        drafts: fc.array(arbitraryDraft(), { minLength: 1, maxLength: 6 }),
        failsAt: fc.option(fc.nat(5), { freq: 2 }),
      }),
      { minLength: 1, maxLength: 6 },
    ),
    { minLength: 1, maxLength: 4 },
  );
export type Attempt = { drafts: Draft[]; failsAt: number | null };

export const byId = (revocations: Revocation[]) =>
  revocations.toSorted((a, b) => (`${a.kind} ${a.id}` < `${b.kind} ${b.id}` ? -1 : 1));

/** Appends a batch. Returns its receipts, or the error code. */
export async function attempt(log: EventLog, { drafts, failsAt }: Attempt): Promise<unknown> {
  const failing = failsAt === null ? undefined : drafts[failsAt];
  const check = (_: unknown, draft: ReadyDraft) => {
    if (draft === failing) throw new Error('no');
  };
  return log.append({ actor: 'ci', drafts, check }).catch((error: { code: string }) => error.code);
}

/** Resolves once a node has a position. */
export async function untilReached(log: EventLog, seq: number): Promise<void> {
  while (!(await log.reached(seq, 10_000)));
}

/** Resolves once a condition holds. It has no time limit, because the machine may be busy. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await setTimeout(5);
}

/** Reads all records of a scope that any node has acknowledged, page by page. */
export async function readAll(
  log: EventLog,
  { scope = { kind: 'all' }, types, limit = 1_000, after = 0 }: Partial<Parameters<EventLog['read']>[0]> = {},
): Promise<StoredEvent[]> {
  const all: StoredEvent[] = [];
  await untilReached(log, (await log.durableHead()).seq);
  for (let position = after; ; ) {
    const page = await log.read({ scope, types, limit, after: position });
    all.push(...page.records);
    if (page.isExhausted) return all;
    position = page.scannedTo;
  }
}

/** Reads all pages of changed runs: a page ends at the end of its slice. */
export async function changedAll(
  log: EventLog,
  query: Partial<ChangeQuery> = {},
): Promise<{ runs: RunHeader[]; hashPrefixes: (string | undefined)[]; scannedTo: number }> {
  const runs: RunHeader[] = [];
  const hashPrefixes: (string | undefined)[] = [];
  for (let after = query.after ?? 0; ; ) {
    const page = await log.runs.changedSince({ projects: 'all', limit: 9, ...query, after });
    runs.push(...page.runs);
    hashPrefixes.push(...page.hashPrefixes);
    if (page.scannedTo >= log.head) return { runs, hashPrefixes, scannedTo: page.scannedTo };
    after = page.scannedTo;
  }
}

export const tombstone = tombstoneOf(runwireEvents);

/** Erases an event, with permission for all projects. */
export const eraseAt = (log: EventLog, seq: number, more: Partial<Parameters<Integrity['erase']>[0]> = {}) =>
  log.integrity.erase({ seq, by: 'ada', reason: 'asked for', mayErase: () => true, tombstone, ...more });
/** Resolves once the newest event is in the search index. It has no time limit, because the machine may be busy. */
export async function untilIndexed(log: EventLog): Promise<void> {
  const { records } = await log.read({ scope: { kind: 'all' }, after: log.head - 1, limit: 1 });
  const [{ eventId }] = records.map(({ event }) => event) as [RunEvent];
  while ((await log.search.find({ projects: 'all', text: `"${eventId}"`, limit: 1 })).records.length === 0);
}

/** Returns all results of a search, read page by page. */
export async function searchAll(log: EventLog, query: Omit<SearchQuery, 'limit'> & { limit?: number }) {
  const all: StoredEvent[] = [];
  let pages = 0;
  for (let before = query.before; ; ) {
    const { records, next } = await log.search.find({ limit: 50, ...query, before });
    all.push(...records);
    pages++;
    if (next === undefined) return { records: all, pages };
    before = next;
  }
}

/** Returns the results that `searchAll` should find, by a scan of all records. */
export function matching(records: readonly StoredEvent[], query: Omit<SearchQuery, 'limit'>): StoredEvent[] {
  const phrases = query.text === undefined ? undefined : parseText(query.text);
  return records
    .filter(({ event, projectId, runId, type, seq }) => {
      const { actor, recordedAt } = event as RunEvent;
      return (
        (query.projects === 'all' || query.projects.includes(projectId)) &&
        (query.runId === undefined || runId === query.runId) &&
        (query.types?.has(type) ?? true) &&
        (query.actors?.has(actor) ?? true) &&
        (query.sinceMs === undefined || Date.parse(recordedAt) >= query.sinceMs) &&
        (query.untilMs === undefined || Date.parse(recordedAt) < query.untilMs) &&
        (query.before === undefined || seq < query.before) &&
        (phrases === undefined || (phrases.length > 0 && holdsAll(event, phrases)))
      );
    })
    .reverse();
}

export const seqs = (records: readonly { seq: number }[]) => records.map((record) => record.seq);
export const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1);

/** Returns the view of a run, folded in memory. */
export function folded(records: readonly StoredEvent[]): RunView | undefined {
  const memory = new RunMemory();
  for (const record of records) foldEvent(memory, record.event as RunEvent);
  return memory.view();
}

/** Reads a run: all pages of its view, merged. */
export async function viewOf(log: EventLog, projectId: string, runId: string) {
  let page = await log.runs.get(projectId, runId);
  if (!page) return undefined;
  const pages: [ViewPage, ...ViewPage[]] = [page];
  while (page?.next) {
    page = (await log.runs.get(projectId, runId, { after: page.next })) as ViewPage;
    pages.push(page);
  }
  const views = pages.map(({ run }) => run) as [RunView, ...RunView[]];
  return { run: mergeRunPages(views), position: page.position, pages };
}

/** Counts the immediates and timers that ran during the work. */
export async function turnsDuring(work: Promise<unknown>): Promise<{ immediates: number; timers: number }> {
  const turns = { immediates: 0, timers: 0 };
  let isDone = false;
  const immediate = () => {
    turns.immediates++;
    if (!isDone) setImmediate(immediate);
  };
  setImmediate(immediate);
  const timer = setInterval(() => turns.timers++, 1);
  await work.finally(() => {
    isDone = true;
    clearInterval(timer);
  });
  return turns;
}

export type OpenLog = (options?: { now?: () => number }) => Promise<EventLog>;

export const VOCABULARY = [
  'reads',
  'aligned',
  'Émile',
  'failed',
  'fail',
  'run-17',
  'no space left',
  '東京',
  'ระบบล้มเหลวguide',
  'readsorted',
  '🚀',
];

/** Appends events of three projects and three actors, in bursts of 100 that are 1 s apart. */
export async function fillForSearch(log: EventLog, count: number, tick: () => void): Promise<void> {
  for (let from = 0; from < count; from += 100) {
    tick();
    const drafts = upTo(100).map((index) => {
      const at = from + index;
      const projectId = 'pqz'[(at >> 5) % (at % 7 === 0 ? 3 : 2)] as string;
      const words = [at, at >> 3, at * 7].map((pick) => VOCABULARY[pick % VOCABULARY.length]);
      const message = `${words.join(' ')} n${at} ${at % 5_000 === 1 ? 'needle' : ''}`;
      const type = at % 11 === 0 ? 'stage.started' : 'stage.progress';
      const rest = type === 'stage.progress' ? { message } : { name: message.slice(0, 100) };
      return draft(type, { projectId, runId: 'rs'[at % 2], stageId: `stage-${at % 40}`, ...rest });
    });
    await log.append({ actor: ['ann', 'bob', 'ci'][(from / 100) % 3] as string, drafts });
  }
  await untilIndexed(log);
}
