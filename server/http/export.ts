import type { ServerResponse } from 'node:http';
import { z } from 'zod';
import { RunwireError } from '../../shared/errors.ts';
import * as field from '../../shared/fields.ts';
import type { Registry } from '../../shared/registry.ts';
import type { AccessLogger } from '../audit/access-logger.ts';
import { type Credentials, tokenInvalidError } from '../auth/credentials.ts';
import { can, requirePermission } from '../auth/permissions.ts';
import type { Principal } from '../auth/principal.ts';
import { resolveRun } from '../auth/resolve-run.ts';
import type { Log, Scope } from '../event-log/contract/log.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import { csvHeader, csvLine } from './csv.ts';
import type { PrincipalHandler } from './dispatch.ts';
import { drained, queryOf, whenClosed } from './messages.ts';

/**
 * Handles `GET /api/v1/export`: sends the events that the caller may read, oldest first, up to the head of the log at
 * the time of the request. Each page is read from the log once the socket has drained, so memory use does not grow with
 * the log. Reading stops when the client disconnects. If reading fails after the first page, the connection is closed
 * in the middle of the response, so a response that ends normally is complete.
 */

const PAGE_LIMIT = 500;
/** Exports at the same time, by user and in all. Each one holds a page, and reads whenever its client does. */
const MAX_USER_EXPORTS = 4;
const MAX_EXPORTS = 16;
const mediaTypes = { ndjson: 'application/x-ndjson; charset=utf-8', csv: 'text/csv; charset=utf-8; header=present' };

export type ExportOptions<R extends Registry> = {
  registry: R;
  log: Log & Pick<EventLog, 'runs'>;
  access: AccessLogger;
  credentials: Pick<Credentials, 'invalidReasonOf'>;
};

export function createExport<R extends Registry>(options: ExportOptions<R>): PrincipalHandler {
  const { registry, log, access, credentials } = options;
  const runningOf = new Map<string, number>();
  let running = 0;
  const begin = ({ sub }: Principal, response: ServerResponse): void => {
    const ofUser = runningOf.get(sub) ?? 0;
    if (ofUser >= MAX_USER_EXPORTS) throw new RunwireError('RATE_LIMITED', 'too many exports of this user');
    if (running >= MAX_EXPORTS) throw new RunwireError('UNAVAILABLE', 'too many exports');
    running++;
    runningOf.set(sub, ofUser + 1);
    whenClosed(response, () => {
      running--;
      const left = (runningOf.get(sub) ?? 0) - 1;
      if (left > 0) runningOf.set(sub, left);
      else runningOf.delete(sub);
    });
  };
  const types = Object.keys(registry) as [string, ...string[]];
  const schema = z.strictObject({
    projectId: field.scopeId().optional(),
    runId: field.scopeId().optional(),
    types: z
      .string()
      .transform((text) => text.split(','))
      .pipe(z.array(z.enum(types)))
      .optional(),
    since: field.instant().optional(),
    until: field.instant().optional(),
    format: z.enum(['ndjson', 'csv']).default('ndjson'),
  });

  return async (request, response, principal) => {
    requirePermission(principal, 'read');
    const head = log.head;
    const {
      projectId,
      runId,
      types: wanted,
      since,
      until,
      format,
    } = schema.parse(fieldsOf(queryOf(request), Object.keys(schema.shape)));
    const scope: Scope =
      runId !== undefined
        ? { kind: 'run', ...(await resolveRun(log.runs, principal, { runId, projectId })) }
        : projectId !== undefined
          ? { kind: 'project', projectId }
          : { kind: 'all' };
    begin(principal, response);
    const caller = { user: principal.sub };
    let after = since === undefined ? log.oldest - 1 : await log.positionBeforeTime(Date.parse(since), caller);
    const last = until === undefined ? head : Math.min(head, await log.positionBeforeTime(Date.parse(until), caller));
    access.record({ principal, action: 'event.export', via: 'http', outcome: 'ok', projectId, runId, detail: format });

    const send = (text: string): boolean => {
      // The headers are sent with the first page, so that an error before it still gets an error response.
      if (!response.headersSent) {
        response.writeHead(200, {
          'content-type': mediaTypes[format],
          'content-disposition': `attachment; filename="${fileName(scope, format)}"`,
          'cache-control': 'no-store',
          'x-content-type-options': 'nosniff',
        });
      }
      return response.write(text);
    };
    const lineOf = format === 'csv' ? csvLine : (json: string) => `${json}\n`;
    let text = format === 'csv' ? csvHeader : '';
    const isReadable = scope.kind === 'all' || can(principal, 'read', { projectId: scope.projectId });
    while (isReadable && after < last && !response.destroyed) {
      const page = await log.read({
        user: principal.sub,
        scope,
        after,
        types: wanted && new Set(wanted),
        limit: PAGE_LIMIT,
      });
      // Retention has deleted events that the export has not read yet. The export would have a gap.
      if (log.oldest > after + 1) throw new RunwireError('UNAVAILABLE', 'events were trimmed during the export');
      for (const { seq, projectId, json } of page.records) {
        if (seq <= last && can(principal, 'read', { projectId })) text += lineOf(json);
      }
      after = page.scannedTo;
      const reason = credentials.invalidReasonOf(principal);
      if (reason) throw tokenInvalidError(reason);
      if (text !== '' && !send(text)) await drained(response);
      text = '';
    }
    if (response.destroyed) return;
    send(text);
    response.end();
  };
}

/**
 * Returns the parameters of a query. Throws `INVALID_INPUT` for an unknown or repeated parameter. The message does not
 * contain the parameter's name, which is text from the client.
 */
function fieldsOf(query: URLSearchParams, known: readonly string[]): Record<string, string> {
  const fields = Object.fromEntries(query);
  if (Object.keys(fields).some((name) => !known.includes(name))) {
    throw new RunwireError('INVALID_INPUT', `unknown parameter; the parameters are ${known.join(', ')}`);
  }
  if (new Set(query.keys()).size !== [...query.keys()].length) {
    throw new RunwireError('INVALID_INPUT', 'a parameter is repeated');
  }
  return fields;
}

function fileName(scope: Scope, format: string): string {
  const parts = [
    'runwire',
    ...('projectId' in scope ? [scope.projectId] : []),
    ...('runId' in scope ? [scope.runId] : []),
  ];
  const safe = parts.map((part) => part.replace(/[^A-Za-z0-9._-]/g, '_').slice(0, 80));
  return `${safe.join('-').replace(/\.{2,}/g, '.')}.${format}`;
}
