import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, test } from 'vitest';
import { limitVariable } from '../server/config.ts';
import { defaultLimits } from '../server/limits.ts';
import { runwireEvents } from '../shared/events.ts';
import { HEARTBEAT_MS, SSE_INACTIVITY_MS, SSE_PING_MS } from '../shared/protocol.ts';
import { openServer } from './support/harness.ts';

/** The documents of the repository: every Markdown file that Git tracks. */

const root = new URL('..', import.meta.url).pathname;
const pages = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '*.md'], { cwd: root, encoding: 'utf8' })
  .trim()
  .split('\n')
  .filter((page) => existsSync(join(root, page)));
const textOf = (page: string) => readFileSync(join(root, page), 'utf8');
/** Without code, where brackets are not links and # starts a comment. */
const proseOf = (page: string) => textOf(page).replace(/^```[\s\S]*?^```$/gm, '');

/** The anchors of headings on Git hosts: lower case, hyphens for blanks, no other punctuation. */
const anchorsOf = (page: string): string[] =>
  [...proseOf(page).matchAll(/^#{1,6} (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );

const linksOf = (page: string): string[] =>
  [...proseOf(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link).filter((link) => !/^[a-z]+:/.test(link));

/** The reason for which a link does not resolve, or undefined. */
function problemOf(page: string, link: string): string | undefined {
  const [path = '', anchor] = link.split('#');
  const target = path === '' ? page : relative(root, join(root, dirname(page), path));
  if (target.startsWith('..') || !existsSync(join(root, target))) return 'no such file';
  if (anchor !== undefined && !anchorsOf(target).includes(anchor)) return 'no such heading';
  return undefined;
}

describe('documents', () => {
  test('the documents of README.md exist', () => {
    expect(pages).toEqual(expect.arrayContaining(['README.md', 'SPEC.md', 'docs/protocol.md', 'docs/guide/server.md']));
  });

  test('[K38] every relative link and anchor resolves', () => {
    const broken = pages.flatMap((page) =>
      linksOf(page).flatMap((link) => {
        const problem = problemOf(page, link);
        return problem === undefined ? [] : [`${page}: ${link}: ${problem}`];
      }),
    );
    expect(broken).toEqual([]);
    expect(pages.flatMap(linksOf).length).toBeGreaterThan(50);
  });

  test('a broken link and a broken anchor are reported', () => {
    expect(problemOf('README.md', 'docs/guide/missing.md')).toBe('no such file');
    expect(problemOf('README.md', 'docs/protocol.md#missing')).toBe('no such heading');
    expect(problemOf('docs/guide/server.md', '../protocol.md#limits')).toBeUndefined();
  });

  test('[K38] the package contains every file that its documents link', { timeout: 120_000 }, () => {
    const packed = execFileSync('npm', ['pack', '--dry-run', '--ignore-scripts', '--json'], {
      cwd: root,
      encoding: 'utf8',
    });
    const [{ files }] = JSON.parse(packed) as [{ files: { path: string }[] }];
    const paths = files.map(({ path }) => path);
    const missing = pages
      .filter((page) => paths.includes(page))
      .flatMap((page) =>
        linksOf(page).flatMap((link) => {
          const [path = ''] = link.split('#');
          const target = relative(root, join(root, dirname(page), path));
          const isThere = path === '' || paths.some((name) => name === target || name.startsWith(`${target}/`));
          return isThere ? [] : [`${page}: ${link}`];
        }),
      );
    expect(missing).toEqual([]);
    expect(paths).toEqual(expect.arrayContaining(['llms.txt', 'skills/runwire-server/SKILL.md', 'docs/quickstart.md']));
    expect(paths.filter((path) => /(^|\/)(node_modules|\.env|\.next|docs\/api)(\/|$)/.test(path))).toEqual([]);
  });

  test('external links are addresses of https, of local servers or of mail', () => {
    const external = pages.flatMap((page) =>
      [...proseOf(page).matchAll(/\]\(([a-z]+:[^)\s]*)\)/g)].map(([, link = '']) => link),
    );
    expect(
      external.filter(
        (link) => !URL.canParse(link) || !/^(https:|mailto:|http:\/\/(127\.0\.0\.1|localhost))/.test(link),
      ),
    ).toEqual([]);
  });

  test('[K39] llms.txt has a title, a summary, and links to documents of the package', () => {
    const [title, , summary] = textOf('llms.txt').split('\n');
    expect([title, summary]).toEqual(['# Runwire', expect.stringMatching(/^> /)]);
    const links = linksOf('llms.txt');
    expect(links.filter((link) => problemOf('llms.txt', link) !== undefined)).toEqual([]);
    expect(links.filter((link) => link.startsWith('docs/guide/'))).toHaveLength(
      pages.filter((page) => page.startsWith('docs/guide/')).length,
    );
  });

  test('[K39] a page of skills/ has the name of its folder, and a description', () => {
    const skills = pages.filter((page) => page.startsWith('skills/'));
    expect(skills.length).toBeGreaterThan(1);
    for (const page of skills) {
      const name = dirname(page).replace('skills/', '');
      expect(textOf(page), page).toMatch(new RegExp(`^---\\nname: ${name}\\ndescription: .{20,1024}\\n---\\n`));
    }
  });

  test('README.md links every page of the guide', () => {
    const links = linksOf('README.md');
    expect(pages.filter((page) => page.startsWith('docs/guide/') && !links.includes(page))).toEqual([]);
  });

  test('README.md has at most 150 lines', () => {
    expect(textOf('README.md').trimEnd().split('\n').length).toBeLessThanOrEqual(150);
  });

  test('a page of the guide starts with a task and ends with the possible failures', () => {
    for (const page of pages.filter((name) => name.startsWith('docs/guide/'))) {
      const headings = [...proseOf(page).matchAll(/^#{1,2} (.+)$/gm)].map(([, heading]) => heading);
      expect(headings[1], page).toBe('A complete example');
      expect(headings.at(-1), page).toBe('What can go wrong');
    }
  });

  test('no document uses a word of the list', () => {
    const found = pages.flatMap((page) =>
      [...proseOf(page).matchAll(/\b(lest|anew|vouch\w*|whoever|whomever|whom|thus|hence|withal)\b/gi)].map(
        ([word]) => `${page}: ${word}`,
      ),
    );
    expect(found).toEqual([]);
  });

  test('every message that a guide quotes is in the source', () => {
    const listed = execFileSync('git', ['ls-files', 'server', 'client', 'shared'], { cwd: root, encoding: 'utf8' });
    const files = listed.split('\n').filter((file) => /\.tsx?$/.test(file) && existsSync(join(root, file)));
    const source = files.map(textOf).join('\n');
    const quoted = pages.flatMap((page) => {
      const [, rows = ''] = proseOf(page).split('## What can go wrong');
      const symptoms = [...rows.matchAll(/^\|([^|]*)\|/gm)].flatMap(([, cell = '']) => [
        ...cell.matchAll(/`([^`]+)`/g),
      ]);
      return symptoms.map(([, message = '']) => ({ page, message }));
    });
    // A code span of at least four words is a message; … stands for a part that varies.
    const messages = quoted.filter(({ message }) => message.split(' ').length >= 4);
    expect(messages.length).toBeGreaterThan(5);
    const isKnown = (message: string) => message.split('…').every((part) => source.includes(part.trim()));
    expect(messages.filter(({ message }) => !isKnown(message))).toEqual([]);
  });

  test('every setting of the environment is in docs/guide/configuration.md or docs/protocol.md', () => {
    const config = readFileSync(join(root, 'server/config.ts'), 'utf8');
    const [, schema = ''] = /z\.object\(\{([\s\S]*?)\n\}\)/.exec(config) ?? [];
    const names = [...schema.matchAll(/^ {2}([A-Z_]+):/gm)].map(([, name = '']) => name);
    expect(names.length).toBeGreaterThan(10);
    const documented = `${textOf('docs/guide/configuration.md')}${textOf('docs/protocol.md')}`;
    expect(names.filter((name) => !documented.includes(`\`${name}\``))).toEqual([]);
  });

  test('docs/guide/server.md lists every event type', () => {
    const page = textOf('docs/guide/server.md');
    expect(Object.keys(runwireEvents).filter((type) => !page.includes(`| \`${type}\` |`))).toEqual([]);
  });

  test('docs/protocol.md lists every procedure and every limit, and quotes the heartbeat', async () => {
    const page = textOf('docs/protocol.md');
    await using server = await openServer();
    const procedures = Object.keys((server.router as unknown as { _def: { procedures: object } })._def.procedures);
    expect(procedures.length).toBeGreaterThan(15);
    const limits = Object.keys(defaultLimits).map(limitVariable);
    expect([...procedures, ...limits].filter((name) => !page.includes(`\`${name}\``))).toEqual([]);
    const [, heartbeat = ''] = /^## Heartbeat$([\s\S]*?)^## /m.exec(page) ?? [];
    const seconds = (ms: number) => `${ms / 1_000} s`;
    for (const ms of [HEARTBEAT_MS, 2 * HEARTBEAT_MS, SSE_PING_MS, SSE_INACTIVITY_MS]) {
      expect(heartbeat).toContain(seconds(ms));
    }
    expect(page).toContain(`Send \`PING\` after ${seconds(HEARTBEAT_MS)} of silence`);
    expect(textOf('docs/guide/server.md')).toContain(`| \`heartbeatMs\` | ${HEARTBEAT_MS.toLocaleString('en')} |`);
    expect(textOf('docs/guide/operations.md')).toContain(
      `every ${seconds(HEARTBEAT_MS)} and a stream every ${seconds(SSE_PING_MS)}`,
    );
  });
});
