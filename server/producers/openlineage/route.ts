import { setImmediate } from 'node:timers/promises';
import type { Logger } from 'pino';
import { RunwireError } from '../../../shared/errors.ts';
import type { Registry } from '../../../shared/registry.ts';
import { requirePermission } from '../../auth/permissions.ts';
import type { PrincipalHandler, Route } from '../../http/dispatch.ts';
import { sendJson } from '../../http/messages.ts';
import { readJson } from '../../http/request-body.ts';
import type { Privacy } from '../../phi/identifiers.ts';
import type { PublishGateway } from '../../publishing/gateway.ts';
import { LineageIntake } from './intake.ts';

/**
 * Handles `POST /api/v1/lineage` and `/api/v1/lineage/batch`, which receive OpenLineage events. OpenLineage clients
 * retry after a 5xx status, and drop the events after a 4xx. So the server returns 5xx only while the log is
 * unavailable or the rate limit applies, never for an invalid event.
 */

const LIMIT_BYTES = 8 * 1024 * 1024;
const MAX_BATCH_EVENTS = 10_000;
/** Events of a batch that are published at the same time. After each such group, the server handles other requests. */
const GROUP_EVENTS = 100;

export function createLineageRoutes<R extends Registry>(
  gateway: PublishGateway<R>,
  privacy: Pick<Privacy, 'idFor'>,
  logger: Logger,
): Route[] {
  const intake = new LineageIntake(gateway, privacy);
  const row = { methods: ['POST'], action: 'lineage', auth: 'token-or-cookie', isAttachable: true } as const;
  return [
    { ...row, path: '/api/v1/lineage', handle: single(intake, logger) },
    { ...row, path: '/api/v1/lineage/batch', handle: batch(intake, logger) },
  ];
}

function single<R extends Registry>(intake: LineageIntake<R>, logger: Logger): PrincipalHandler {
  return async (request, response, principal) => {
    requirePermission(principal, 'publish');
    const body = await readJson(request, LIMIT_BYTES);
    intake.admit(principal, 1);
    const accepted = await intake.publish(principal, body).catch((error: unknown) => {
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

function batch<R extends Registry>(intake: LineageIntake<R>, logger: Logger): PrincipalHandler {
  return async (request, response, principal) => {
    requirePermission(principal, 'publish');
    const bodies = await readJson(request, LIMIT_BYTES);
    if (!Array.isArray(bodies)) throw new RunwireError('INVALID_INPUT', 'the batch is not an array');
    if (bodies.length > MAX_BATCH_EVENTS) {
      throw new RunwireError('TOO_LARGE', `more than ${MAX_BATCH_EVENTS} events in one batch`);
    }
    intake.admit(principal, bodies.length);
    const failed: { index: number; reason: string; retriable: boolean }[] = [];
    let first: RunwireError | undefined;
    for (let at = 0; at < bodies.length; at += GROUP_EVENTS) {
      const group = bodies.slice(at, at + GROUP_EVENTS);
      const outcomes = await Promise.allSettled(group.map((body) => intake.publish(principal, body)));
      outcomes.forEach((outcome, index) => {
        if (outcome.status === 'fulfilled') return;
        const refusal = refusalOf(outcome.reason);
        first ??= refusal;
        const { message, path } = refusal;
        const reason = path === undefined || message.startsWith(path) ? message : `${path}: ${message}`;
        failed.push({ index: at + index, reason, retriable: false });
      });
      await setImmediate(); // Refused events cause no I/O: many groups of them would block the event loop.
    }
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
