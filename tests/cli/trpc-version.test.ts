import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { startServing } from '../support/cli-harness.ts';
import { isLive, secret, temporaryFolder, Wire } from '../support/harness.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** Copies the built package into a folder that has a `@trpc/server` with another version number. */
function installWith(folder: string, version: string) {
  for (const part of ['dist', 'package.json']) cpSync(`${root}${part}`, `${folder}/${part}`, { recursive: true });
  mkdirSync(`${folder}/node_modules/@trpc`, { recursive: true });
  const names = readdirSync(`${root}node_modules`).filter((name) => name !== '@trpc' && !name.startsWith('.'));
  for (const name of names) symlinkSync(`${root}node_modules/${name}`, `${folder}/node_modules/${name}`);
  symlinkSync(`${root}node_modules/@trpc/client`, `${folder}/node_modules/@trpc/client`);
  const server = `${folder}/node_modules/@trpc/server`;
  cpSync(`${root}node_modules/@trpc/server`, server, { recursive: true });
  const manifest = JSON.parse(readFileSync(`${server}/package.json`, 'utf8'));
  writeFileSync(`${server}/package.json`, JSON.stringify({ ...manifest, version }));
}

test('[D20] a server on a version of tRPC that has not been tested logs the version', async () => {
  using folder = temporaryFolder();
  installWith(folder.path, '11.99.0');
  const env = { PORT: '0', AUTH_SECRET: secret };
  const { child, url } = await startServing(`${folder.path}/dist/server/main.js`, [], { cwd: folder.path, env });
  await using wire = await Wire.open(url);
  await wire.subscribe('onEvent', {}).until(isLive);
  expect(child.stdout() + child.stderr()).toContain('tRPC 11.99.0 has not been tested');
});
