import type { Server } from 'node:http';
import { z } from 'zod';
import type { CompatEvents } from '../../shared/compat-events.ts';
import { COMPAT_TYPE, runForAll, runForProject, runForUser } from '../../shared/compat-names.ts';
import { type ErrorCode, RunwireError } from '../../shared/errors.ts';
import * as field from '../../shared/fields.ts';
import { describeIssue } from '../../shared/issues.ts';
import type { DraftOf } from '../../shared/registry.ts';
import { SERVER } from '../auth/principal.ts';
import { projectOfRun } from '../auth/resolve-run.ts';
import type { RunServer } from '../run-server.ts';
import { draftOf, type FormerEvent } from './drafts.ts';
import { openFromEnvironment } from './open.ts';

type Run = { projectId: string; runId: string };
type Place = { run: Run; to?: 'run' };
type OpenServer = RunServer<CompatEvents>;

/** The result of `getStats` of the former system. */
export type ConnectionStats = {
  totalConnections: number;
  authenticatedConnections: number;
  /** Number of open subscriptions, under `all`. */
  subscriptions: Map<string, number>;
};

/** Projects of runs that are kept in memory; the log has those of the others. */
const MAX_KNOWN_RUNS = 10_000;
/** The codes with which a run refuses an event that the former system would have sent. */
const REFUSALS: readonly ErrorCode[] = ['INVALID_EVENT', 'FORBIDDEN', 'APPROVAL_ID_TAKEN', 'TOO_LARGE'];

/** What every event has. The fields of a payload are the application's own. */
const eventSchema = z.looseObject({ type: z.string().min(1), payload: z.looseObject({}) });
const runEventSchema = z.looseObject({
  payload: z.looseObject({ runId: field.scopeId(), projectId: field.scopeId().nullish() }),
});
const targets = z.object({ runId: field.scopeId(), projectId: field.scopeId(), userId: field.userId() });

/**
 * The manager of the former system over a Runwire server on the same HTTP server. What it sends is an event of the type
 * `compat.message`, which `useRunEvents` of `runwire/compat/react` receives.
 *
 * The methods that send return a promise that resolves once the event is durable. It may be ignored: a failure is reported on
 * the console. Before `initialize` and after `shutdown` there is no client: the event is dropped, and the console states it once.
 */
export class WebSocketManager {
  #opening: Promise<OpenServer> | undefined;
  #server: OpenServer | undefined;
  /** Resolves once every event before has its place: the search for a run must not let a later event overtake. */
  #turn: Promise<unknown> = Promise.resolve();
  readonly #projectOf = new Map<string, string>();
  #hasReportedDrop = false;

  /**
   * Serves `/ws`, `/trpc` and `/api/v1` on an HTTP server; its other paths stay with it. The environment is that of a Runwire
   * server. Throws `INVALID_INPUT` for an environment that cannot work, such as production without keys for tokens.
   */
  initialize(httpServer: Server): void {
    if (this.#opening) {
      console.warn('[WebSocketManager] already initialized');
      return;
    }
    const opening = openFromEnvironment().then((server) => {
      server.attach(httpServer);
      if (this.#opening === opening) this.#server = server;
      return server;
    });
    this.#opening = opening;
    this.#hasReportedDrop = false;
    opening.then(() => console.log('[WebSocketManager] serving /ws'), report);
  }

  /** Sends an event to every page. */
  broadcastToAll(event: object): Promise<void> {
    return this.#send(event, () => ({ run: runForAll }));
  }

  /** Sends an event to the pages of a run. Rejects with `RUN_NOT_FOUND` for a run that has no event and no known project. */
  broadcastToRun(runId: string, event: object): Promise<void> {
    return this.#send(event, async (server, copy) => {
      check(targets.pick({ runId: true }), { runId }, 'INVALID_INPUT');
      return { run: await this.#runOf(server, runId, copy), to: 'run' };
    });
  }

  /** Sends an event to the pages of a project and of its runs. */
  broadcastToProject(projectId: string, event: object): Promise<void> {
    return this.#send(event, () => {
      check(targets.pick({ projectId: true }), { projectId }, 'INVALID_INPUT');
      return { run: runForProject(projectId) };
    });
  }

  /** Sends an event to the pages of a user. */
  broadcastToUser(userId: string, event: object): Promise<void> {
    return this.#send(event, () => {
      check(targets.pick({ userId: true }), { userId }, 'INVALID_INPUT');
      return { run: runForUser(userId) };
    });
  }

  /** Sends an event of a run to all pages that show the run, and makes it part of the run. For the broadcaster. */
  publish(event: FormerEvent): Promise<void> {
    const place = async (server: OpenServer, copy: FormerEvent) => {
      check(runEventSchema, copy, 'INVALID_EVENT');
      return { run: await this.#runOf(server, copy.payload.runId, copy) };
    };
    return this.#send(event, place, draftOf);
  }

  getStats(): ConnectionStats {
    const stats = this.#server?.getStats();
    return {
      totalConnections: stats?.connections ?? 0,
      authenticatedConnections: stats?.clients.filter(({ sub }) => sub !== undefined).length ?? 0,
      subscriptions: new Map([['all', stats?.subscriptions ?? 0]]),
    };
  }

  /** Closes the connections with code 1001, once what was sent before is durable. The HTTP server stays open. */
  async shutdown(): Promise<void> {
    const opening = this.#opening;
    this.#opening = undefined;
    this.#server = undefined;
    this.#projectOf.clear();
    this.#hasReportedDrop = false;
    await this.#turn;
    await opening?.then(
      (server) => server.close(),
      () => undefined,
    );
  }

  #send(
    event: object,
    placeOf: (server: OpenServer, copy: FormerEvent) => Place | Promise<Place>,
    draft?: (event: FormerEvent, run: Run) => object,
  ): Promise<void> {
    const opening = this.#opening;
    if (!opening) {
      if (!this.#hasReportedDrop) console.warn('[WebSocketManager] not initialized, or shut down: events are dropped');
      this.#hasReportedDrop = true;
      return Promise.resolve();
    }
    let copy: FormerEvent;
    try {
      copy = copyOf(event);
      this.#learn(copy);
    } catch (error) {
      report(error);
      return rejected(error);
    }
    const placed = this.#turn.then(async () => {
      const server = await opening;
      const { run, to } = await placeOf(server, copy);
      const message = { type: COMPAT_TYPE, ...run, event: copy, ...(to ? { to } : {}) };
      return { sent: publishBoth(server, message, draft?.(copy, run)) };
    });
    this.#turn = placed.catch(() => undefined);
    const sent = placed.then((result) => result.sent);
    sent.catch(report);
    return sent;
  }

  #learn({ payload }: FormerEvent): void {
    const known = targets.pick({ runId: true, projectId: true }).safeParse(payload).data;
    if (!known) return;
    const { runId, projectId } = known;
    this.#projectOf.delete(runId);
    this.#projectOf.set(runId, projectId);
    const [oldest] = this.#projectOf.keys();
    if (this.#projectOf.size > MAX_KNOWN_RUNS && oldest !== undefined) this.#projectOf.delete(oldest);
  }

  async #runOf({ log }: OpenServer, runId: string, event: object): Promise<Run> {
    const { payload } = event as { payload?: { projectId?: unknown } };
    const named = typeof payload?.projectId === 'string' ? payload.projectId : this.#projectOf.get(runId);
    const projectId = named ?? (await projectOfRun(log.runs, runId, undefined));
    if (projectId !== undefined) return { projectId, runId };
    throw new RunwireError('RUN_NOT_FOUND', 'no such run: send an event with its projectId first');
  }
}

/** Publishes a message, and the draft for the state of its run. A run that refuses the draft does not keep the message back. */
async function publishBoth({ bus }: OpenServer, message: object, draft: object | undefined): Promise<void> {
  const publisher = { actor: SERVER, isTrusted: true };
  const publish = (drafts: object[]) => bus.publish(drafts as DraftOf<CompatEvents>[], publisher);
  if (!draft) return void (await publish([message]));
  try {
    await publish([draft, message]);
  } catch (error) {
    if (!(error instanceof RunwireError) || !REFUSALS.includes(error.code)) throw error;
    await publish([message]);
    console.warn(`[WebSocketManager] sent, but not part of its run: ${error.code}: ${error.message}`);
  }
}

/** Returns an event as it is now, since its caller may change it, without what JSON has not. */
function copyOf(event: unknown): FormerEvent {
  let copy: unknown;
  try {
    copy = JSON.parse(JSON.stringify(event) ?? 'null');
  } catch (cause) {
    throw new RunwireError('INVALID_EVENT', 'the event is not JSON', { cause });
  }
  check(eventSchema, copy, 'INVALID_EVENT');
  return copy as FormerEvent;
}

function check(schema: z.ZodType, value: unknown, code: ErrorCode): void {
  const issue = schema.safeParse(value).error?.issues[0];
  if (!issue) return;
  const { path, message } = describeIssue(issue);
  throw new RunwireError(code, `${path || 'the event'}: ${message}`, path ? { path } : {});
}

/** A rejected promise that ends no process if it is ignored. */
function rejected(error: unknown): Promise<never> {
  const promise = Promise.reject(error);
  promise.catch(() => undefined);
  return promise;
}

function report(error: unknown): void {
  const text = error instanceof RunwireError ? `${error.code}: ${error.message}` : String(error);
  console.error(`[WebSocketManager] ${text}`);
}
