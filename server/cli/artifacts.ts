import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { idOrFallback, uniqueId } from './ids.ts';

/**
 * Reads the files that a run has made. Only the name of a file is published, because its path would show the names of
 * users and machines. After a failed run (`failedRunStartedAtMs`), files that are missing or older than the run are
 * skipped without a message: the run did not make them.
 */
export async function* readArtifacts(paths: readonly string[], failedRunStartedAtMs: number | undefined) {
  const taken = new Set<string>();
  for (const [index, path] of paths.entries()) {
    const name = basename(path);
    try {
      const entry = await stat(path);
      if (!entry.isFile()) throw new Error('not a file');
      // A file system may store times in whole seconds.
      if (failedRunStartedAtMs !== undefined && entry.mtimeMs < Math.floor(failedRunStartedAtMs / 1_000) * 1_000)
        continue;
      const hash = createHash('sha256');
      await pipeline(createReadStream(path), hash);
      const artifactId = uniqueId(idOrFallback(name, `artifact-${index + 1}`), taken);
      yield { artifactId, name, sizeBytes: entry.size, sha256: hash.digest('hex') };
    } catch (error) {
      if (failedRunStartedAtMs !== undefined) continue;
      const { code, message } = error as NodeJS.ErrnoException;
      process.stderr.write(`runwire: artifact ${path}: ${code ?? message}\n`);
    }
  }
}
