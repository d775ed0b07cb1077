import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

let read: string | undefined;

/** The version of the package. The built file is one folder further away from package.json. */
export function version(): string {
  if (read !== undefined) return read;
  const [path] = ['../package.json', '../../package.json']
    .map((relative) => fileURLToPath(new URL(relative, import.meta.url)))
    .filter((candidate) => existsSync(candidate));
  read = path === undefined ? 'unknown' : (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version;
  return read;
}
