import type { RunStatus } from '../../../shared/run.ts';
import type { RunActivity } from '../../../shared/run-activity.ts';
import type { Slice } from '../../slices.ts';
import { ActivityCounts } from '../activity-counts.ts';
import { MAX_COUNTED, MAX_OPEN } from '../bounds.ts';
import type { ActivityQuery } from '../contract/runs.ts';
import { NewestFirst, type Source } from '../newest-first.ts';
import type { StatementSyncInstance } from './driver.ts';
import type { LogStatements } from './statements.ts';

type CountedRow = { row_id: number; created_at: string; status: RunStatus; is_cancelled: number };
type OpenRow = { status: RunStatus };

/** Counts the runs of a period by reading the index of creation times, and the open runs by an index of their own. */
export async function activityOf(
  { statements, slice }: { statements: LogStatements; slice: Slice },
  query: ActivityQuery,
): Promise<RunActivity> {
  const { projects, since, until } = query;
  const counts = new ActivityCounts(query);
  const source = (statement: StatementSyncInstance, ...of: string[]): Source<CountedRow, string> => {
    return (below, limit) =>
      statement.all(...of, since, below.slice(0, 24), Number(below.slice(24)), limit) as CountedRow[];
  };
  const { countAll, countProject, openOfAll, openOfProject } = statements;
  const sources = projects === 'all' ? [source(countAll)] : projects.map((id) => source(countProject, id));
  const rows = new NewestFirst(sources, keyOf, keyOf({ created_at: until, row_id: 0 }));
  let counted = 0;
  let isDone = counts.isEmpty;
  while (!isDone && counted < MAX_COUNTED) {
    await slice((deadline) => {
      do {
        const next = rows.next(deadline);
        counted += next.rows.length;
        for (const { created_at, status, is_cancelled } of next.rows) {
          counts.addCreated(created_at, is_cancelled ? 'cancelled' : status);
        }
        isDone = next.known === undefined;
      } while (!isDone && counted < MAX_COUNTED && performance.now() < deadline);
    }, query);
  }
  let read = 0;
  const reads =
    projects === 'all' ? [() => openOfAll.all(MAX_OPEN)] : projects.map((id) => () => openOfProject.all(id, MAX_OPEN));
  while (read < reads.length) {
    await slice((deadline) => {
      do {
        for (const { status } of (reads[read++] as () => unknown[])() as OpenRow[]) counts.addOpen(status);
      } while (read < reads.length && performance.now() < deadline);
    }, query);
  }
  return counts.result(isDone);
}

const DIGITS = String(Number.MAX_SAFE_INTEGER).length;
/** Text that sorts by `created_at`, which has 24 characters, and then by the number of the row. */
const keyOf = ({ created_at, row_id }: Pick<CountedRow, 'created_at' | 'row_id'>): string =>
  created_at + String(row_id).padStart(DIGITS, '0');
