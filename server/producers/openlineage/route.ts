import { setImmediate } from 'node:timers/promises';
import type { Logger } from 'pino';
import { RunwireError } from '../../../shared/errors.ts';
import type { Registry } from '../../../shared/registry.ts';
import { requirePermission } from '../../auth/permissions.ts';
import type { PrincipalHandler, Route } from '../../http/dispatch.ts';
import { sendJson } from '../../http/messages.ts';
import type { RequestBody } from '../../http/request-body.ts';
import { type Accepted, LineageIntake, type LineageIntakeParts } from './intake.ts';
import { type IdFor, type LineageEvent, readLineage } from './map.ts';

/**
 * Handles `POST /api/v1/lineage` and `/api/v1/lineage/batch`, which receive OpenLineage events. OpenLineage clients
 * retry after a 5xx status, and drop the events after a 4xx. So the server returns 5xx only while the log is
 * unavailable or the rate limit applies, never for an invalid event.
 */

const LIMIT_BYTES = 8 * 1024 * 1024;
const MAX_BATCH_EVENTS = 10_000;
/** Events of a batch that are read in one turn of the event loop, and that are published at the same time. */
const GROUP_EVENTS = 100;

export function createLineageRoutes<R extends Registry>(parts: LineageIntakeParts<R> & { logger: Logger }): Route[] {
  const lineage: Lineage<R> = {
    intake: new LineageIntake(parts),
    idFor: (kind, id, name) => parts.privacy.idFor(kind, id, name),
    logger: parts.logger,
  };
  const row = { methods: ['POST'], action: 'lineage', auth: 'token-or-cookie', isAttachable: true } as const;
  return [
    { ...row, path: '/api/v1/lineage', handle: single(lineage) },
    { ...row, path: '/api/v1/lineage/batch', handle: batch(lineage) },
  ];
}

type Lineage<R extends Registry> = { intake: LineageIntake<R>; idFor: IdFor; logger: Logger };

const IGNORED: Accepted = { accepted: 0, duplicates: 0 };

function single<R extends Registry>({ intake, idFor, logger }: Lineage<R>): PrincipalHandler {
  return async (_request, response, principal, content) => {
    requirePermission(principal, 'publish');
    const body = await read(content);
    const publish = async () => {
      const event = await readLineage(body, idFor);
      intake.admit(principal, [event]);
      return event ? intake.publish(principal, event) : IGNORED;
    };
    const accepted = await publish().catch((error: unknown) => {
      const refusal = refusalOf(error);
      logRefusal(logger, refusal, 1);
      const { code, message, path } = refusal;
      // 400 instead of 422: according to their documentation, these clients drop an event only after 400.
      throw new RunwireError(code === 'INVALID_EVENT' || code === 'PHI_REJECTED' ? 'INVALID_INPUT' : code, message, {
        path,
      });
    });
    sendJson(response, 200, accepted);
  };
}

function batch<R extends Registry>({ intake, idFor, logger }: Lineage<R>): PrincipalHandler {
  return async (_request, response, principal, content) => {
    requirePermission(principal, 'publish');
    const bodies = await read(content);
    if (!Array.isArray(bodies)) throw new RunwireError('INVALID_INPUT', 'the batch is not an array');
    if (bodies.length > MAX_BATCH_EVENTS) {
      throw new RunwireError('TOO_LARGE', `more than ${MAX_BATCH_EVENTS} events in one batch`);
    }
    const failed: { index: number; reason: string; retriable: boolean }[] = [];
    let first: RunwireError | undefined;
    const fail = (index: number, error: unknown) => {
      const refusal = refusalOf(error);
      first ??= refusal;
      const { message, path } = refusal;
      const reason = path === undefined || message.startsWith(path) ? message : `${path}: ${message}`;
      failed.push({ index, reason, retriable: false });
    };
    const events: (LineageEvent | undefined)[] = [];
    for (const [index, body] of bodies.entries()) {
      events.push(await readLineage(body, idFor).catch((error: unknown) => void fail(index, error)));
      if (index % GROUP_EVENTS === GROUP_EVENTS - 1) await setImmediate();
    }
    intake.admit(principal, events);
    for (let at = 0; at < events.length; at += GROUP_EVENTS) {
      const group = events.slice(at, at + GROUP_EVENTS);
      const outcomes = await Promise.allSettled(group.map((event) => event && intake.publish(principal, event)));
      outcomes.forEach((outcome, index) => {
        if (outcome.status === 'rejected') fail(at + index, outcome.reason);
      });
    }
    failed.sort((a, b) => a.index - b.index);
    if (first) logRefusal(logger, first, failed.length);
    if (failed.length === 0) {
      response.writeHead(204).end();
      return;
    }
    sendJson(response, 200, {
      status: failed.length < bodies.length ? 'partial_success' : 'failure',
      summary: {
        received: bodies.length,
        successful: bodies.length - failed.length,
        failed: failed.length,
        // Always 0: while the log is unavailable, the whole batch is answered with 503. When the client sends it again,
        // the events that were stored are duplicates.
        retriable: 0,
        non_retriable: failed.length,
      },
      failed_events: failed,
    });
  };
}

/** Reads a body. More bytes in flight than a user may have are `UNAVAILABLE`: these clients retry nothing else. */
async function read(content: RequestBody): Promise<unknown> {
  // Python writes NaN. In a used field, null is then refused with its path; the other events of a batch are stored.
  return content.json(LIMIT_BYTES, { notANumber: null }).catch((error: unknown) => {
    if (!(error instanceof RunwireError) || error.code !== 'RATE_LIMITED') throw error;
    throw new RunwireError('UNAVAILABLE', error.message);
  });
}

/** Returns the reason why an event can never be accepted. Rethrows `UNAVAILABLE`, because a retry may succeed. */
function refusalOf(error: unknown): RunwireError {
  const isKnown = error instanceof RunwireError;
  if (isKnown && error.code === 'UNAVAILABLE') throw error;
  return isKnown ? error : new RunwireError('INVALID_INPUT', 'cannot map the event', { cause: error });
}

function logRefusal(logger: Logger, { code, path, cause }: RunwireError, count: number): void {
  // Logs only the name of the cause: its message may quote the event.
  const defect = (cause as Error | undefined)?.name;
  logger.warn({ code, path, defect, count }, 'OpenLineage events were refused');
}
