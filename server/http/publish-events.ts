import { RunwireError } from '../../shared/errors.ts';
import { REQUEST_LIMIT_DRAFTS } from '../../shared/protocol.ts';
import type { DraftOf, Registry } from '../../shared/registry.ts';
import { requirePermission } from '../auth/permissions.ts';
import type { Receipt } from '../event-log/contract/log.ts';
import type { PhiPolicy } from '../phi/policy.ts';
import type { PublishGateway } from '../publishing/gateway.ts';
import type { PrincipalHandler } from './dispatch.ts';
import { queryOf, sendJson } from './messages.ts';

/**
 * Handles `POST /api/v1/events`, which publishes drafts (events that are not yet logged). The body is a draft, an
 * array, or one draft a line (NDJSON). With `?receipts=true`, the response also has the position of each draft in the
 * log, and whether the draft is a duplicate: a publisher that joins the drafts of several callers in one request needs
 * both.
 */

/** The media types in use for newline-delimited JSON. */
const NDJSON_TYPES = new Set(['application/x-ndjson', 'application/ndjson', 'application/jsonl']);
const LIMIT_BYTES = 8 * 1024 * 1024;

export function createPublishEvents<R extends Registry>(gateway: PublishGateway<R>): PrincipalHandler {
  return async (request, response, principal, body) => {
    requirePermission(principal, 'publish');
    const query = queryOf(request);
    const onPhi = phiPolicyOf(query.get('onPhi'));
    const mediaType = (request.headers['content-type'] ?? 'application/json').split(';', 1)[0]?.trim().toLowerCase();
    const content = NDJSON_TYPES.has(mediaType ?? '')
      ? await body.lines(LIMIT_BYTES, REQUEST_LIMIT_DRAFTS)
      : await body.json(LIMIT_BYTES);
    const drafts = Array.isArray(content) ? content : [content];
    const { accepted, duplicates, seq, receipts } = await gateway.publish(principal, drafts as DraftOf<R>[], onPhi);
    const details = query.get('receipts') === 'true' ? { receipts: receipts.map(receiptOf) } : {};
    sendJson(response, 200, { accepted, duplicates, seq, ...details });
  };
}

const receiptOf = ({ seq, isDuplicate }: Receipt) => ({ seq, isDuplicate });

function phiPolicyOf(value: string | null): PhiPolicy | undefined {
  if (value === null) return undefined;
  if (value === 'reject' || value === 'redact') return value;
  throw new RunwireError('INVALID_INPUT', 'must be reject or redact', { path: 'onPhi' });
}
