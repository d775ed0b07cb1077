import type { TestProject } from 'vitest/node';
import { postgresPrograms, startPostgres } from '../support/postgres.ts';
import { hasRedis, startRedis } from '../support/redis.ts';

/** Starts the servers that the tests of this project share. A missing program leaves its address undefined. */
export default async function setup({ provide }: TestProject): Promise<() => Promise<void>> {
  const postgres = postgresPrograms === undefined ? undefined : await startPostgres();
  const redis = hasRedis ? await startRedis() : undefined;
  provide('postgres', postgres?.url);
  provide('redis', redis?.url);
  return async () => {
    await Promise.all([postgres?.remove(), redis?.remove()]);
  };
}

declare module 'vitest' {
  interface ProvidedContext {
    /** URL of the database `postgres` as superuser; undefined where PostgreSQL is not installed. */
    postgres: string | undefined;
    redis: string | undefined;
  }
}
