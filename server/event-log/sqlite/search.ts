import type { Projects } from '../contract/search.ts';
import { type Source, type Sources, sourcesOf } from '../newest-first.ts';
import type { EventKey } from '../search/candidates.ts';
import type { FoundEvent, SearchTables } from '../search/search.ts';
import type { DatabaseSyncInstance, StatementSyncInstance } from './driver.ts';

export class SqliteSearchTables implements SearchTables {
  readonly eventsAtOnce = 1;
  readonly #statements: ReturnType<typeof prepareSearch>;

  constructor(db: DatabaseSyncInstance) {
    this.#statements = prepareSearch(db);
  }

  events(seqs: readonly number[]): FoundEvent[] {
    return seqs.flatMap((seq) => (this.#statements.event.get(seq) as FoundEvent | undefined) ?? []);
  }

  sources(projects: Projects, runId: string | undefined, low: number): Sources<EventKey> {
    return sourcesOf(this.#sources(projects, runId, low));
  }

  #sources(projects: Projects, runId: string | undefined, low: number): Source<EventKey>[] {
    const { newestOfAll, newestOfProject, newestOfRun, runsOf, runOf } = this.#statements;
    const source = (statement: StatementSyncInstance, ...of: (string | number)[]): Source<EventKey> => {
      return (below, limit) => statement.all(...of, low, below, limit) as EventKey[];
    };
    if (runId === undefined) {
      return projects === 'all'
        ? [source(newestOfAll)]
        : projects.map((projectId) => source(newestOfProject, projectId));
    }
    const found = (rows: unknown[]) => (rows as { row_id: number }[]).map(({ row_id }) => source(newestOfRun, row_id));
    if (projects === 'all') return found(runsOf.all(runId));
    // Each source looks its run up at its first read. Rows of other projects are never read: the time would reveal them.
    return projects.map((projectId) => {
      let of: Source<EventKey> | undefined;
      return (below, limit) => {
        of ??= found(runOf.all(projectId, runId))[0] ?? (() => []);
        return of(below, limit);
      };
    });
  }
}

export function prepareSearch(db: DatabaseSyncInstance) {
  const newest = (where: string) =>
    db.prepare(`SELECT seq, type, actor FROM events WHERE ${where} seq >= ? AND seq < ? ORDER BY seq DESC LIMIT ?`);
  return {
    event: db.prepare(
      `SELECT e.seq, e.run_seq AS runSeq, e.project_id AS projectId, r.run_id AS runId, e.type, e.actor, e.payload,
         e.recorded_at_ms AS recordedAtMs
       FROM events e CROSS JOIN runs r ON r.row_id = e.run_row WHERE e.seq = ?`,
    ),
    runsOf: db.prepare('SELECT row_id FROM runs WHERE run_id = ?'),
    runOf: db.prepare('SELECT row_id FROM runs WHERE project_id = ? AND run_id = ?'),
    newestOfAll: newest(''),
    newestOfProject: newest('project_id = ? AND'),
    newestOfRun: newest('run_row = ? AND'),
  };
}
