import { dirname } from 'node:path';
import type { Logger } from 'pino';
import { foldOf } from '../shared/event-table.ts';
import type { Registry } from '../shared/registry.ts';
import { proveHistory } from './audit/history.ts';
import type { EventLog } from './event-log/contract/store.ts';
import { openSqliteLog } from './event-log/sqlite/log.ts';
import type { Health } from './health.ts';
import type { Metrics } from './metrics.ts';

/** The folder of a database file; undefined for a log in memory. */
export const folderOf = (path: string): string | undefined => (path === ':memory:' ? undefined : dirname(path));

/** Opens the log, and compares it with its checkpoints. `isProven`: no checkpoint is needed at the start. */
export async function openLog(
  path: string,
  registry: Registry,
  metrics: Metrics,
  health: Health,
  logger: Logger,
): Promise<{ log: EventLog; isProven: boolean }> {
  let isDamaged = false;
  const log = await openSqliteLog({
    path,
    health,
    fold: foldOf(registry) as never,
    onCommit: (commit) => metrics.committed(commit),
    onCommitFailure: () => metrics.commitFailed(),
    onSizes: (sizes) => metrics.filesMeasured(sizes),
    onDamage: ({ seq }) => {
      isDamaged = true;
      logger.error({ seq }, 'the end of the event log does not match its stored hash: run `runwire verify`');
    },
  });
  const folder = folderOf(path);
  if (folder === undefined) return { log, isProven: true };
  try {
    const isProven = await proveHistory({ log, folder, isDamaged, logger });
    return { log, isProven: isProven || log.head === 0 };
  } catch (error) {
    await log.close();
    throw error;
  }
}
