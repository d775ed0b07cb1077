import { dirname } from 'node:path';
import type { Logger } from 'pino';
import { foldOf } from '../shared/event-table.ts';
import type { Registry } from '../shared/registry.ts';
import { proveHistory } from './audit/history.ts';
import type { EventLog } from './event-log/contract/store.ts';
import type { LogPlace } from './event-log/database-url.ts';
import type { OpenBackplane } from './event-log/postgres/backplane.ts';
import { openSqliteLog } from './event-log/sqlite/log.ts';
import type { Health } from './health.ts';
import type { Metrics } from './metrics.ts';
import type { InternalOptions, RunServerOptions } from './options.ts';

type PlaceOptions = Pick<RunServerOptions & InternalOptions, 'redisUrl' | 'auditKey' | 'backplane'>;
type Parts = { registry: Registry; metrics: Metrics; health: Health; logger: Logger };

/**
 * `isProven`: no checkpoint is needed at the start. `folder`: the place of the file with the checkpoints; undefined for a log
 * without one.
 */
type Opened = { log: EventLog; isProven: boolean; folder: string | undefined };

/** Opens the log. A log in a file is compared with its checkpoints. */
export function openLog(place: LogPlace, options: PlaceOptions, parts: Parts): Promise<Opened> {
  return place.kind === 'sqlite' ? openFile(place.path, parts) : openShared(place.url, options, parts);
}

async function openFile(path: string, { registry, metrics, health, logger }: Parts): Promise<Opened> {
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
  if (path === ':memory:') return { log, isProven: true, folder: undefined };
  const folder = dirname(path);
  try {
    const isProven = await proveHistory({ log, folder, isDamaged, logger });
    return { log, isProven: isProven || log.head === 0, folder };
  } catch (error) {
    await log.close();
    throw error;
  }
}

/** Opens a log in PostgreSQL. Its code and its drivers are loaded for such a log only. */
async function openShared(
  url: string,
  options: PlaceOptions,
  { registry, metrics, health, logger }: Parts,
): Promise<Opened> {
  const { openPostgresLog } = await import('./event-log/postgres/log.ts');
  const { auditKey } = options;
  const backplane = options.backplane ?? (await redisBackplane(options.redisUrl, health));
  const log = await openPostgresLog({
    url,
    health,
    fold: foldOf(registry) as never,
    ...(backplane ? { backplane } : {}),
    ...(auditKey === undefined ? {} : { auditKey }),
    onCommit: (commit) => metrics.committed(commit),
    onCommitFailure: () => metrics.commitFailed(),
    onSizes: (sizes) => metrics.filesMeasured(sizes),
    onDamage: ({ seq }) =>
      logger.error({ seq }, 'the end of the event log does not match its stored hash: run `runwire verify`'),
  });
  return { log, isProven: true, folder: undefined };
}

async function redisBackplane(url: string | undefined, health: Health): Promise<OpenBackplane | undefined> {
  if (url === undefined) return undefined;
  const { RedisBackplane } = await import('./backplane/redis.ts');
  return (channel) => new RedisBackplane(url, channel, health);
}
