import { Client } from 'pg';
import { inject, onTestFinished } from 'vitest';
import type { EventLog } from '../../server/event-log/contract/store.ts';
import { openPostgresLog, type PostgresOptions } from '../../server/event-log/postgres/log.ts';
import { foldEvent } from '../../shared/events.ts';
import { createDatabase, dropDatabase } from './postgres.ts';

/** Databases, logs and connections of one test, on the server of the project `cluster`. The end of the test removes them. */

/** Creates an empty database. */
export async function newDatabase(): Promise<string> {
  const server = inject('postgres') as string;
  const url = await createDatabase(server);
  onTestFinished(() => dropDatabase(server, url));
  return url;
}

export async function open(url: string, options: Partial<PostgresOptions> = {}): Promise<EventLog> {
  const log = await openPostgresLog({ url, fold: foldEvent, ...options });
  onTestFinished(() => log.close());
  return log;
}

/** Another connection to the database. */
export async function connect(url: string): Promise<Client> {
  const client = new Client({ connectionString: url });
  await client.connect();
  onTestFinished(() => client.end());
  return client;
}
