import { expect } from 'vitest';
import type { Role } from '../../server/auth/principal.ts';
import { RunTree } from '../../server/producers/openlineage/run-tree.ts';
import type { RunView } from '../../shared/run.ts';
import { mulberry32 } from '../chaos/random.ts';
import { keptLog, startServer, tokenFor } from '../support/harness.ts';

/** Shared by the tests of the OpenLineage producer. */

export type Message = { [key: string]: unknown };

export type Send = {
  path?: string;
  method?: string;
  token?: string | null;
  headers?: Record<string, string>;
  projects?: string[];
  roles?: Role[];
};

export async function lineageServer(options: Parameters<typeof startServer>[0] = {}) {
  const { logger, lines } = keptLog();
  const server = await startServer({ logger, ...options });
  const send = async (body: unknown, options: Send = {}) => {
    const { path = '/api/v1/lineage', method = 'POST', headers = {}, projects = ['*'], roles = ['producer'] } = options;
    const token = options.token === undefined ? await tokenFor({ projects, roles }) : options.token;
    const isRaw = typeof body === 'string' || Buffer.isBuffer(body);
    const response = await fetch(server.url + path, {
      method,
      headers: {
        'content-type': 'application/json',
        ...(token ? { authorization: `Bearer ${token}` } : {}),
        ...headers,
      },
      ...(method === 'GET' ? {} : { body: isRaw ? (body as string) : JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, text, body: text.startsWith('{') ? JSON.parse(text) : undefined };
  };
  const sendAll = async (messages: readonly unknown[], options: Send = {}) => {
    for (const message of messages) expect(await send(message, options)).toMatchObject({ status: 200 });
  };
  const views = async (projectId?: string): Promise<RunView[]> => {
    const { runs } = await server.log.runs.list({ projects: 'all', projectId, limit: 1_000 });
    const found = await Promise.all(
      runs.map(async (run) => (await server.log.runs.get(run.projectId, run.runId))?.run),
    );
    return (found as RunView[]).sort((a, b) => (a.runId < b.runId ? -1 : 1));
  };
  const records = async (projectId?: string) => {
    const scope = projectId === undefined ? { kind: 'all' as const } : { kind: 'project' as const, projectId };
    const all: string[] = [];
    for (let after = 0; after < server.log.head; ) {
      const page = await server.log.read({ scope, after, limit: 1_000 });
      all.push(...page.records.map(({ json }) => json));
      after = page.scannedTo;
    }
    return all;
  };
  return { ...server, lines, send, sendAll, views, records };
}

/** A tree without earlier messages. The digest of a name is the name. */
export const newTree = () => new RunTree({ memos: new Map(), outputs: new Map(), digestOf: (name) => name });

/** Views without the fields that depend on the order of arrival or on the project. */
export const looks = (views: readonly RunView[]) =>
  views.map((view) =>
    JSON.parse(
      JSON.stringify(view, (key, value) =>
        ['order', 'lastSeq', 'lastRunSeq', 'projectId'].includes(key) ? undefined : value,
      ),
    ),
  );

export const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 12, 0, second)).toISOString();

export const parentOf = (runId: string, root?: string, namespace = 'etl') => ({
  parent: {
    run: { runId },
    job: { namespace, name: `job-${runId}` },
    ...(root ? { root: { run: { runId: root }, job: { namespace, name: `job-${root}` } } } : {}),
  },
});

export const message = (
  eventType: string,
  runId: string,
  second: number,
  { facets, ...more }: Message & { facets?: object } = {},
): Message => ({
  eventType,
  eventTime: at(second),
  producer: 'https://example.org/producer',
  schemaURL: 'https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent',
  run: { runId, facets: { ...facets } },
  job: { namespace: 'etl', name: `job-${runId}` },
  inputs: [],
  outputs: [],
  ...more,
});

export const output = (name: string, namespace = 'file') => ({ namespace, name, facets: {} });

export function shuffled<T>(items: readonly T[], seed: number): T[] {
  const next = mulberry32(seed);
  const result = [...items];
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [result[i], result[j]] = [result[j] as T, result[i] as T];
  }
  return result;
}

export const permutations = <T>(items: readonly T[]): T[][] =>
  items.length < 2
    ? [[...items]]
    : items.flatMap((item, i) => permutations(items.filter((_, j) => j !== i)).map((rest) => [item, ...rest]));

export const counted = (records: readonly string[]) => {
  const counts: Record<string, number> = {};
  for (const json of records) {
    const { type } = JSON.parse(json) as { type: string };
    counts[type] = (counts[type] ?? 0) + 1;
  }
  return counts;
};
