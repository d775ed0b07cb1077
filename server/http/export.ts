import type { ServerResponse } from 'node:http';
import { z } from 'zod';
import { RunwireError } from '../../shared/errors.ts';
import { jsonTest } from '../../shared/event-filter.ts';
import * as field from '../../shared/fields.ts';
import type { Registry } from '../../shared/registry.ts';
import { searchFilter, searchQueryOf } from '../api/search-filter.ts';
import type { AccessLogger } from '../audit/access-logger.ts';
import { type Credentials, tokenInvalidError } from '../auth/credentials.ts';
import { can, requirePermission } from '../auth/permissions.ts';
import type { Principal } from '../auth/principal.ts';
import { resolveRun } from '../auth/resolve-run.ts';
import type { Log, Scope, StoredEvent } from '../event-log/contract/log.ts';
import type { SearchPage, SearchQuery } from '../event-log/contract/search.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import { acknowledgedHead, requireCurrent } from '../event-log/current.ts';
import { csvHeader, csvLine } from './csv.ts';
import type { PrincipalHandler } from './dispatch.ts';
import { drained, queryOf, whenClosed } from './messages.ts';

/**
 * Handles `GET /api/v1/export`: sends the events that the caller may read, oldest first, up to the last one that any node
 * has acknowledged before the request. Each page is read from the log once the socket has drained, so memory use does not grow with
 * the log. Reading stops when the client disconnects. If reading fails after the first page, the connection is closed
 * in the middle of the response, so a response that ends normally is complete.
 *
 * With `text`, `actor`, `limit` or several projects, the export is of a search (`event.search`): newest first, and at most
 * `limit` events.
 */

const PAGE_LIMIT = 500;
/** Maximum number of events in the export of a search. */
const MAX_FOUND = 100_000;
/** Exports at the same time, by user and in all. Each one holds a page, and reads whenever its client does. */
const MAX_USER_EXPORTS = 4;
const MAX_EXPORTS = 16;
/** Parameters that may be repeated. An event must have one of the values. */
const LISTS = ['types', 'projectId', 'actor'];
const mediaTypes = { ndjson: 'application/x-ndjson; charset=utf-8', csv: 'text/csv; charset=utf-8; header=present' };

export type ExportOptions<R extends Registry> = {
  registry: R;
  log: Log & Pick<EventLog, 'runs' | 'search'>;
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
  const { types, projectId, actor, ...filter } = searchFilter(registry);
  const schema = z.strictObject({
    ...filter,
    types: z.preprocess((lists) => (lists as string[] | undefined)?.flatMap((list) => list.split(',')), types),
    projectId,
    actor,
    stageId: field.id().optional(),
    attempt: z.coerce.number().pipe(z.int().positive()).optional(),
    limit: z.coerce.number().int().positive().max(MAX_FOUND).optional(),
    format: z.enum(['ndjson', 'csv']).default('ndjson'),
  });

  return async (request, response, principal) => {
    requirePermission(principal, 'read');
    const input = schema.parse(fieldsOf(queryOf(request), Object.keys(schema.shape), LISTS));
    const { text, runId, actor, limit, format, stageId, attempt } = input;
    const projects = input.projectId === undefined ? undefined : [...new Set([input.projectId].flat())];
    const projectId = projects?.length === 1 ? projects[0] : undefined;
    const isSearch =
      [runId === undefined ? text : undefined, actor, limit].some((value) => value !== undefined) ||
      (projects?.length ?? 0) > 1;
    const tested = { text: isSearch ? undefined : text, stageId, attempt };
    const matches = Object.values(tested).some((value) => value !== undefined) ? jsonTest(tested) : () => true;
    const scope: Scope =
      runId !== undefined && !isSearch
        ? { kind: 'run', ...(await resolveRun(log.runs, principal, { runId, projectId })) }
        : projectId !== undefined
          ? { kind: 'project', projectId }
          : { kind: 'all' };
    begin(principal, response);
    access.record({ principal, action: 'event.export', via: 'http', outcome: 'ok', projectId, runId, detail: format });

    const lineOf = format === 'csv' ? csvLine : (json: string) => `${json}\n`;
    const pages = isSearch
      ? pagesFound(log, searchQueryOf(principal, input), limit ?? MAX_FOUND)
      : pagesLogged(log, principal, scope, input);
    let content = format === 'csv' ? csvHeader : '';
    const send = (): boolean => {
      // The headers are sent with the first page, so that an error before it still gets an error response.
      if (!response.headersSent) {
        response.writeHead(200, {
          'content-type': mediaTypes[format],
          'content-disposition': `attachment; filename="${fileName(scope, format)}"`,
          'cache-control': 'no-store',
          'x-content-type-options': 'nosniff',
        });
      }
      return response.write(content);
    };
    for await (const records of pages) {
      if (response.destroyed) return;
      for (const { projectId, runId, json } of records) {
        if (can(principal, 'read', { projectId, runId }) && matches(json)) content += lineOf(json);
      }
      const reason = credentials.invalidReasonOf(principal);
      if (reason) throw tokenInvalidError(reason);
      requireCurrent(log);
      if (content !== '' && !send()) await drained(response);
      content = '';
    }
    if (response.destroyed) return;
    send();
    response.end();
  };
}
type LoggedQuery = {
  types?: readonly string[] | undefined;
  since?: string | undefined;
  until?: string | undefined;
};

/** Reads the events of a scope, oldest first, up to the last one that was acknowledged before the call. */
async function* pagesLogged(
  log: Log,
  principal: Principal,
  scope: Scope,
  { types, since, until }: LoggedQuery,
): AsyncGenerator<StoredEvent[]> {
  const caller = { user: principal.sub };
  const head = await acknowledgedHead(log, caller);
  let after = since === undefined ? log.oldest - 1 : await log.positionBeforeTime(Date.parse(since), caller);
  const last = until === undefined ? head : Math.min(head, await log.positionBeforeTime(Date.parse(until), caller));
  if (scope.kind !== 'all' && !('projectId' in scope && can(principal, 'read', scope))) return;
  while (after < last) {
    const page = await log.read({ ...caller, scope, after, types: types && new Set(types), limit: PAGE_LIMIT });
    // Retention has deleted events that the export has not read yet. The export would have a gap.
    if (page.oldest > after + 1) throw new RunwireError('UNAVAILABLE', 'events were trimmed during the export');
    if (page.erasures < log.erasures) continue;
    yield page.records.filter(({ seq }) => seq <= last);
    after = page.scannedTo;
  }
}

/** Searches, newest first, up to a number of events. */
async function* pagesFound(
  log: Pick<EventLog, 'search' | 'erasures'>,
  query: Omit<SearchQuery, 'limit'>,
  limit: number,
): AsyncGenerator<StoredEvent[]> {
  let left = limit;
  let before: number | undefined;
  do {
    let erasures: number;
    let page: SearchPage;
    do {
      erasures = log.erasures;
      page = await log.search.find({ ...query, before, limit: Math.min(left, PAGE_LIMIT) });
    } while (log.erasures !== erasures);
    yield page.records;
    left -= page.records.length;
    before = page.next;
  } while (before !== undefined && left > 0);
}

/**
 * Returns the parameters of a query. Throws `INVALID_INPUT` for an unknown parameter, or a repeated one that is not among
 * `lists`. The message does not contain the parameter's name, which is text from the client.
 */
function fieldsOf(query: URLSearchParams, known: readonly string[], lists: readonly string[]): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const name of new Set(query.keys())) {
    if (!known.includes(name)) {
      throw new RunwireError('INVALID_INPUT', `unknown parameter; the parameters are ${known.join(', ')}`);
    }
    const values = query.getAll(name);
    if (values.length > 1 && !lists.includes(name)) throw new RunwireError('INVALID_INPUT', 'a parameter is repeated');
    fields[name] = lists.includes(name) ? values : values[0];
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
