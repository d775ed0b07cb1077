import { cpSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { output } from '../matrix/project.ts';
import { type Block, root } from './blocks.ts';

/** A project of a reader of the documents: the built package, and what the repository has installed beside it. */

/** Makes `node_modules` of links. The package is the built one: npm packs the same files. */
export function linkPackages(folder: string): void {
  const modules = join(folder, 'node_modules');
  mkdirSync(modules, { recursive: true });
  for (const name of readdirSync(join(root, 'node_modules'))) {
    symlinkSync(join(root, 'node_modules', name), join(modules, name));
  }
  symlinkSync(root, join(modules, 'runwire'));
}

export const nameOf = (block: Block): string => block.at.replace(/\.md:/, '-').replace(/[^\w-]/g, '_');

/** Compiles the blocks into `out/`, each as a module of its own. Returns the errors. */
export async function compileBlocks(folder: string, blocks: Block[]): Promise<string[]> {
  linkPackages(folder);
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
  for (const file of ['placeholders.d.ts', 'persist-client.d.ts']) {
    cpSync(join(root, 'tests/docs', file), join(folder, file));
  }
  for (const block of blocks) writeFileSync(join(folder, `${nameOf(block)}.${block.language}`), block.text);
  const compilerOptions = {
    strict: true,
    target: 'ES2023',
    lib: ['ES2023', 'DOM', 'DOM.Iterable', 'ESNext.Disposable'],
    module: 'NodeNext',
    moduleDetection: 'force',
    jsx: 'react-jsx',
    types: ['node'],
    skipLibCheck: true,
    rewriteRelativeImportExtensions: true,
    outDir: 'out',
  };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts', '*.tsx'] }));
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  try {
    await output(process.execPath, [tsc, '--pretty', 'false', '-p', folder], folder);
    return [];
  } catch (error) {
    return (error as Error).message.split('\n').filter((line) => /error TS\d+/.test(line));
  }
}
