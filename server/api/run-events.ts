import { z } from 'zod';
import { type EventFilter, jsonTest } from '../../shared/event-filter.ts';
import { type EventCounts, type EventPositions, EventPositionsBuilder } from '../../shared/event-positions.ts';
import * as field from '../../shared/fields.ts';
import type { EventOf, Registry } from '../../shared/registry.ts';
import type { Principal } from '../auth/principal.ts';
import { resolveRun } from '../auth/resolve-run.ts';
import type { Log, Scope } from '../event-log/contract/log.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import { acknowledgedHead } from '../event-log/current.ts';
import { positionOfRunSeq } from '../event-log/run-position.ts';
import { pageInput, runInput, typesInput } from './inputs.ts';
import { nextCursor, positionOf } from './pagination.ts';
import type { Procedure } from './trpc.ts';

/** Maximum number of reads of the log for one answer. A read takes at most 5 ms. */
const MAX_READS = 20;
/** A page of `run.history` ends when its events have this much JSON. */
const MAX_BYTES = 1 << 20;
/** Maximum number of positions in one answer of `run.positions`, which is encoded in one turn of the event loop. */
const MAX_POSITIONS = 20_000;

/** The number (`runSeq`) of the event with which the answer starts; 1 is the first event of the run. */
const fromRunSeq = z.int().positive().default(1);

function filterInput<R extends Registry>(registry: R) {
  return {
    types: typesInput(registry),
    stageId: field.id().optional(),
    attempt: z.int().positive().optional(),
    text: z.string().max(2_000).optional(),
  };
}

type RunEventParts<R extends Registry> = { registry: R; log: Log & Pick<EventLog, 'runs'> };

/** The procedures `run.history`, `run.positions` and `run.counts`. */
export function runEventProcedures<R extends Registry>(procedure: Procedure, { registry, log }: RunEventParts<R>) {
  return {
    /** Later pages start at their cursor. */
    history: procedure
      .input(z.strictObject({ ...runInput, ...filterInput(registry), fromRunSeq, ...pageInput }))
      .query(async ({ ctx, input: { runId, projectId, fromRunSeq: from, limit, cursor, direction: _, ...filter } }) => {
        const scan = await beginScan(log, ctx, { runId, projectId }, (await positionOf(cursor, log)) ?? { from });
        const isTyped = filter.stageId === undefined && filter.attempt === undefined && !filter.text;
        for (;;) {
          const { events, after, isExhausted, erasures } = isTyped
            ? await readPage<R>(log, scan, filter.types, limit)
            : await scanPage<R>(log, scan, filter, limit);
          if (erasures < log.erasures) continue;
          return { events, ...(await nextCursor(log, isExhausted ? undefined : after)) };
        }
      }),

    positions: procedure
      .input(
        z.strictObject({
          ...runInput,
          ...filterInput(registry),
          fromRunSeq,
          toRunSeq: z.int().positive().optional(),
        }),
      )
      .query(async ({ ctx, input: { runId, projectId, fromRunSeq: from, toRunSeq: to, ...filter } }) => {
        const scan = await beginScan(log, ctx, { runId, projectId }, { from });
        const found = new FoundPositions(filter, from, to ?? Number.MAX_SAFE_INTEGER);
        await visitAll(log, scan, found.visit);
        return found.answer;
      }),

    counts: procedure
      .input(z.strictObject({ ...runInput, fromRunSeq }))
      .query(async ({ ctx, input: { runId, projectId, fromRunSeq: from } }): Promise<EventCounts> => {
        const scan = await beginScan(log, ctx, { runId, projectId }, { from });
        const [types, stages, actors] = [new Counter(), new Counter(), new Counter()];
        let through = from - 1;
        const { isExhausted } = await visitAll(log, scan, (json) => {
          const { type, stageId, actor, runSeq } = JSON.parse(json) as Fields;
          types.add(type);
          if (typeof stageId === 'string') stages.add(stageId);
          actors.add(actor);
          through = runSeq;
          return true;
        });
        return { types: types.result, stages: stages.result, actors: actors.result, through, isComplete: isExhausted };
      }),
  };
}

type Fields = { type: string; runSeq: number; actor: string; stageId?: unknown };
type Run = { projectId: string; runId: string };
type Caller = { user: string; signal: AbortSignal | undefined };
type Scan = Run & Caller & { after: number };

async function beginScan(
  log: RunEventParts<Registry>['log'],
  { principal, signal }: { principal: Principal; signal?: AbortSignal | undefined },
  named: { projectId?: string | undefined; runId: string },
  start: number | { from: number },
): Promise<Scan> {
  const caller: Caller = { user: principal.sub, signal };
  const run = await resolveRun(log.runs, principal, named, signal);
  await acknowledgedHead(log, caller);
  const scope: Scope = { kind: 'run', ...run };
  const positionBefore = (from: number) => (from === 1 ? 0 : positionOfRunSeq(log, scope, from, caller));
  return { ...run, ...caller, after: typeof start === 'number' ? start : await positionBefore(start.from) };
}

/**
 * Visits the events of a run after a position until `visit` returns false, to the head of the log, or to the end of the
 * budget.
 */
async function visitAll(log: Log, scan: Scan, visit: (json: string) => boolean) {
  let end = { scannedTo: scan.after, isExhausted: false };
  let erasures = Number.POSITIVE_INFINITY;
  let isStopped = false;
  const visitOne = (json: string) => {
    isStopped = !visit(json);
    return !isStopped;
  };
  for (let reads = 0; !isStopped && !end.isExhausted && reads < MAX_READS; reads++) {
    const page = await log.scan({ ...scan, after: end.scannedTo, visit: visitOne });
    erasures = Math.min(erasures, page.erasures);
    end = page;
  }
  return { after: end.scannedTo, isExhausted: end.isExhausted, erasures };
}

async function readPage<R extends Registry>(
  log: Log,
  { projectId, runId, ...rest }: Scan,
  types: readonly string[] | undefined,
  limit: number,
) {
  const scope: Scope = { kind: 'run', projectId, runId };
  const events: EventOf<R>[] = [];
  let { after } = rest;
  let bytes = 0;
  let isExhausted = false;
  let erasures = Number.POSITIVE_INFINITY;
  for (let reads = 0; events.length < limit && !isExhausted && reads < MAX_READS && bytes < MAX_BYTES; reads++) {
    const query = { ...rest, scope, after, limit: limit - events.length };
    const page = await log.read(types ? { ...query, types: new Set(types) } : query);
    for (const record of page.records) {
      events.push(record.event as EventOf<R>);
      bytes += record.json.length;
    }
    after = page.scannedTo;
    isExhausted = page.isExhausted;
    erasures = Math.min(erasures, page.erasures);
  }
  return { events, after, isExhausted, erasures };
}

async function scanPage<R extends Registry>(log: Log, scan: Scan, filter: EventFilter, limit: number) {
  const events: EventOf<R>[] = [];
  const matching = jsonTest(filter);
  let bytes = 0;
  const end = await visitAll(log, scan, (json) => {
    const event = matching(json);
    if (!event) return true;
    events.push(event as EventOf<R>);
    bytes += json.length;
    return events.length < limit && bytes < MAX_BYTES;
  });
  return { events, ...end };
}

/** Collects the answer of `run.positions`. */
class FoundPositions {
  readonly #matching: (json: string) => object | undefined;
  readonly #from: number;
  readonly #to: number;
  readonly #found = new EventPositionsBuilder();
  #oldest: number | undefined;
  #through: number;

  constructor(filter: EventFilter, from: number, to: number) {
    this.#matching = jsonTest(filter);
    this.#from = from;
    this.#to = to;
    this.#through = from - 1;
  }

  readonly visit = (json: string): boolean => {
    // `runSeq` is contiguous, so an event that cannot match is counted without being parsed.
    const runSeq = this.#oldest === undefined ? (JSON.parse(json) as Fields).runSeq : this.#through + 1;
    this.#oldest ??= Math.min(runSeq, this.#to + 1);
    this.#through = Math.min(runSeq, this.#to);
    const event = runSeq <= this.#to ? this.#matching(json) : undefined;
    if (event) this.#found.add(event);
    return runSeq < this.#to && this.#found.runSeqs.length < MAX_POSITIONS;
  };

  get answer(): EventPositions {
    return { ...this.#found.list(), through: this.#through, oldest: this.#oldest ?? this.#from };
  }
}

class Counter {
  readonly #counts = new Map<string, number>();

  add(key: string): void {
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
  }

  get result(): { [key: string]: number } {
    return Object.fromEntries(this.#counts);
  }
}
