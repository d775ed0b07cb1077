import { setImmediate } from 'node:timers/promises';
import type { Logger } from 'pino';
import { RunwireError } from '../../../shared/errors.ts';
import type { RunwireEvents } from '../../../shared/events.ts';
import { REQUEST_LIMIT_DRAFTS } from '../../../shared/protocol.ts';
import type { Registry } from '../../../shared/registry.ts';
import { can, requirePermission } from '../../auth/permissions.ts';
import type { Principal } from '../../auth/principal.ts';
import type { PrincipalHandler, Route } from '../../http/dispatch.ts';
import { sendJson } from '../../http/messages.ts';
import { readJson } from '../../http/request-body.ts';
import type { Privacy } from '../../phi/identifiers.ts';
import { publishWithholding } from '../../phi/withhold.ts';
import type { EventBus } from '../../publishing/bus.ts';
import type { PublishGateway } from '../../publishing/gateway.ts';
import { draftsOf, type IdFor, readLineage } from './map.ts';
import { RunTree } from './run-tree.ts';

/**
 * `POST /api/v1/lineage` and `/api/v1/lineage/batch`. OpenLineage clients retry after 5xx and drop the event after 4xx. So
 * only an unavailable log is answered 5xx; an invalid message never is.
 */

const LIMIT_BYTES = 8 * 1024 * 1024;
const BATCH_LIMIT = 10_000;
/** Events of a batch that are published together. The event loop serves other requests between two groups. */
const GROUP = 100;

type Taken = { accepted: number; duplicates: number };

export function createLineageRoutes<R extends Registry>(
  publishing: PublishGateway<R>,
  privacy: Pick<Privacy, 'idFor'>,
  logger: Logger,
): Route[] {
  const bus = publishing.bus as unknown as EventBus<RunwireEvents>;
  const tree = new RunTree();

  const idFor: IdFor = (kind, id, name) => privacy.idFor(kind, id, name);

  /** Maps and publishes one message. */
  const take = async (principal: Principal, body: unknown): Promise<Taken> => {
    const { projects, sub: actor } = principal;
    const event = readLineage(body, idFor);
    if (!event) return { accepted: 0, duplicates: 0 };
    const taken = { accepted: 0, duplicates: 0 };
    try {
      const places = tree.place(event, projects);
      for (const { run } of places) {
        if (can(principal, 'publish', run)) continue;
        throw new RunwireError('FORBIDDEN', 'not allowed: publish to this project', { path: 'job.namespace' });
      }
      const drafts = places.flatMap((place) => draftsOf(event, place));
      for (let at = 0; at < drafts.length; at += REQUEST_LIMIT_DRAFTS) {
        const page = drafts.slice(at, at + REQUEST_LIMIT_DRAFTS);
        const { accepted, duplicates } = await publishWithholding(page, (drafts) =>
          bus.publish(drafts, { actor, onPhi: 'redact' }),
        );
        taken.accepted += accepted;
        taken.duplicates += duplicates;
      }
    } catch (error) {
      tree.forget(event, projects);
      throw error;
    }
    return taken;
  };

  /** The error that refuses a message permanently. Rethrows `UNAVAILABLE`: the client must send the message again. */
  const refusalOf = (error: unknown): RunwireError => {
    const isKnown = error instanceof RunwireError;
    if (isKnown && error.code === 'UNAVAILABLE') throw error;
    return isKnown ? error : new RunwireError('INVALID_INPUT', 'cannot map the event', { cause: error });
  };
  const note = ({ code, path, cause }: RunwireError, count: number) =>
    logger.warn({ code, path, defect: (cause as Error | undefined)?.name, count }, 'OpenLineage events were refused');

  /** Answers a rate limit by 503: OpenLineage clients drop events after 429. */
  const admit = (principal: Principal, messages: number) => {
    if (!publishing.takeAllowance(principal, messages))
      throw new RunwireError('UNAVAILABLE', 'too many events a second');
  };

  const single: PrincipalHandler = async (request, response, principal) => {
    requirePermission(principal, 'publish');
    const body = await readJson(request, LIMIT_BYTES);
    admit(principal, 1);
    const taken = await take(principal, body).catch((error: unknown) => {
      const refusal = refusalOf(error);
      note(refusal, 1);
      const { code, message, path } = refusal;
      // 400 instead of the table's 422: the clients are documented to drop events after 400.
      throw new RunwireError(code === 'INVALID_EVENT' || code === 'PHI_REJECTED' ? 'INVALID_INPUT' : code, message, {
        path,
      });
    });
    sendJson(response, 200, taken);
  };

  const batch: PrincipalHandler = async (request, response, principal) => {
    requirePermission(principal, 'publish');
    const bodies = await readJson(request, LIMIT_BYTES);
    if (!Array.isArray(bodies)) throw new RunwireError('INVALID_INPUT', 'the batch is not an array');
    if (bodies.length > BATCH_LIMIT) {
      throw new RunwireError('TOO_LARGE', `more than ${BATCH_LIMIT} events in one batch`);
    }
    admit(principal, bodies.length);
    const failed: { index: number; reason: string; retriable: boolean }[] = [];
    let first: RunwireError | undefined;
    for (let at = 0; at < bodies.length; at += GROUP) {
      const outcomes = await Promise.allSettled(bodies.slice(at, at + GROUP).map((body) => take(principal, body)));
      outcomes.forEach((outcome, index) => {
        if (outcome.status === 'fulfilled') return;
        const refusal = refusalOf(outcome.reason);
        first ??= refusal;
        const { message, path } = refusal;
        const reason = path === undefined || message.startsWith(path) ? message : `${path}: ${message}`;
        failed.push({ index: at + index, reason, retriable: false });
      });
      await setImmediate(); // Refused messages do no I/O, so they would never yield.
    }
    if (first) note(first, failed.length);
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
        // An unavailable log fails the whole batch with 503. Stored events are duplicates when the client retries.
        retriable: 0,
        non_retriable: failed.length,
      },
      failed_events: failed,
    });
  };

  const row = { methods: ['POST'], action: 'lineage', auth: 'token-or-cookie', isAttachable: true } as const;
  return [
    { ...row, path: '/api/v1/lineage', handle: single },
    { ...row, path: '/api/v1/lineage/batch', handle: batch },
  ];
}
