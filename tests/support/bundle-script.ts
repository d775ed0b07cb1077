import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Bundles a script, a path in the repository, for Node.js or a page. One file starts faster than many. */
export async function bundleScript(script: string, platform: 'node' | 'browser' = 'node') {
  const folder = mkdtempSync(join(tmpdir(), 'runwire-bundle-'));
  const ofPage = { lib: { entry: script, formats: ['es' as const], fileName: () => 'script.js' } };
  await build({
    configFile: false,
    root,
    logLevel: 'error',
    publicDir: false,
    ssr: { noExternal: true },
    build: { outDir: folder, minify: false, target: 'es2022', ...(platform === 'node' ? { ssr: script } : ofPage) },
  });
  const name = platform === 'node' ? (script.split('/').at(-1) ?? '').replace(/\.ts$/, '.js') : 'script.js';
  return { path: join(folder, name), [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
}
