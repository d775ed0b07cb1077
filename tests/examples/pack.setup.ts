import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { packTo } from '../matrix/project.ts';

/** Packs the package once for the tests of all examples. */

declare module 'vitest' {
  export interface ProvidedContext {
    /** The path of the packed package. */
    tarball: string;
  }
}

export default async function setup(project: TestProject): Promise<() => void> {
  const folder = mkdtempSync(join(tmpdir(), 'runwire-packed-'));
  project.provide('tarball', await packTo(folder));
  return () => rmSync(folder, { recursive: true, force: true });
}
