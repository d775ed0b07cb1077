import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The code blocks of the documents. */

export const root = fileURLToPath(new URL('../..', import.meta.url));

export type Block = {
  /** Page and line, for messages. */
  at: string;
  language: string;
  /** The words behind the language: `sh server` is a command that goes on. */
  marks: string[];
  /** The path in the line above, as in "`server.ts`:". */
  path: string | undefined;
  text: string;
};

/** Returns the fenced blocks of a page, those in lists without their indent. */
export function blocksOf(page: string, markdown = readFileSync(`${root}${page}`, 'utf8')): Block[] {
  const blocks: Block[] = [];
  const fence = /^( *)```(\S*)(.*)\n([\s\S]*?)^\1```$/gm;
  for (const { index, 1: indent = '', 2: language = '', 3: marks = '', 4: text = '' } of markdown.matchAll(fence)) {
    const before = markdown.slice(0, index).split('\n');
    const above = before.findLast((line) => line.trim() !== '') ?? '';
    blocks.push({
      at: `${page}:${before.length}`,
      language,
      marks: marks.split(' ').filter(Boolean),
      path: /`([\w./-]+)`:$/.exec(above)?.[1],
      text: indent === '' ? text : text.replaceAll(`\n${indent}`, '\n').replace(indent, ''),
    });
  }
  return blocks;
}

/** Whether an output is as a document shows it: `…` stands for any text, in a line of its own for any lines. */
export function isShown(output: string, shown: string): boolean {
  const words = (text: string) => text.trim().replace(/\s+/g, ' ');
  const parts = words(shown)
    .split('…')
    .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`).test(words(output));
}
