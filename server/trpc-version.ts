import { createRequire } from 'node:module';

/** Versions of `@trpc/server` on which the test suite has run. */
export const TESTED_VERSIONS: readonly string[] = ['11.19.0', '11.22.1', '11.25.2'];

/** Returns a warning if the test suite has not run on the version of `@trpc/server`. */
export function versionWarning(version: string | undefined = installedVersion()): string | undefined {
  if (version !== undefined && TESTED_VERSIONS.includes(version)) return undefined;
  return `tRPC ${version ?? 'of unknown version'} has not been tested`;
}

function installedVersion(): string | undefined {
  try {
    return (createRequire(import.meta.url)('@trpc/server/package.json') as { version: string }).version;
  } catch {
    return undefined; // A bundler may have left the file out.
  }
}
