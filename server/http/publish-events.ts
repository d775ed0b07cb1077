import { type DraftIssue, RunwireError } from '../../shared/errors.ts';
import { REQUEST_LIMIT_DRAFTS } from '../../shared/protocol.ts';
import type { DraftOf, Registry } from '../../shared/registry.ts';
import type { Receipt } from '../event-log/contract/log.ts';
import type { PhiPolicy } from '../phi/policy.ts';
import type { PublishGateway } from '../publishing/gateway.ts';
import type { PrincipalHandler } from './dispatch.ts';
import { queryOf, sendJson } from './messages.ts';
import { parseJson, readJson, readText } from './request-body.ts';

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
  return async (request, response, principal) => {
    const query = queryOf(request);
    const onPhi = phiPolicyOf(query.get('onPhi'));
    const mediaType = (request.headers['content-type'] ?? 'application/json').split(';', 1)[0]?.trim().toLowerCase();
    const drafts = NDJSON_TYPES.has(mediaType ?? '')
      ? parseLines(await readText(request, LIMIT_BYTES))
      : [await readJson(request, LIMIT_BYTES)].flat();
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

function parseLines(text: string): unknown[] {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  if (lines.length > REQUEST_LIMIT_DRAFTS) {
    throw new RunwireError('TOO_LARGE', `more than ${REQUEST_LIMIT_DRAFTS} events in one request`);
  }
  const issues: DraftIssue[] = [];
  const drafts = lines.map((line, index) => {
    const draft = parseJson(line);
    if (draft === undefined) issues.push({ index, path: '', message: 'the line is not JSON, or nested too deeply' });
    return draft;
  });
  if (issues.length > 0) throw new RunwireError('INVALID_EVENT', 'a line of the body is not JSON', { issues });
  return drafts;
}
