import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { root } from './blocks.ts';

test('[K37] the API reference is built without a warning, and every exported type has a docstring', {
  timeout: 600_000,
}, () => {
  // Throws if TypeDoc warns (typedoc.json).
  execFileSync('npm', ['run', '-s', 'docs:api'], { cwd: root, stdio: 'pipe', encoding: 'utf8' });
  const modules = readdirSync(join(root, 'docs/api/modules'));
  expect(modules).toEqual(expect.arrayContaining(['server.html', 'client_hooks.html', 'shared.html']));
});
