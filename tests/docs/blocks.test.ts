import { execFile, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { loadConfig } from '../../server/config.ts';
import { cliPath, serverPath } from '../support/cli-harness.ts';
import { secret, tokenFor } from '../support/harness.ts';
import { freePort } from '../support/ports.ts';
import { type Block, blocksOf, root } from './blocks.ts';
import { compileBlocks, linkPackages, nameOf } from './compile.ts';

/**
 * Every code block of the documents is tried; `quickstart.test.ts` has those of the quickstart, and `tests/examples` runs the examples. The language and the marks
 * behind it state how:
 *
 * | block | is |
 * |---|---|
 * | `ts`, `js` | compiled, and run beside a server |
 * | `tsx`, `ts app` | compiled: a part of an app with a page |
 * | `ts former` | code of the former system, for comparison |
 * | `sh` | run by bash, in the order of the page, beside a server |
 * | `sh`, with a first line `# On …` or `# In …` | for another machine or a checkout: its commands and options exist |
 * | `env`, `json`, `yaml`, `ini` | parsed |
 * | `nginx`, `haproxy`, `sql` | run by `tests/proxy` and `tests/cluster/outbox.test.ts` |
 * | `text` | not code: an output, a drawing, a message |
 */

const TIMEOUT_MS = 300_000;
const listed = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '*.md'], { cwd: root, encoding: 'utf8' });
const pages = listed
  .trim()
  .split('\n')
  .filter((page) => page !== 'docs/quickstart.md' && !page.startsWith('examples/') && existsSync(join(root, page)));
const blocks = pages.flatMap((page) => blocksOf(page));
const isElsewhere = ({ text }: Block) => /^(# (On|In)|[^#\n]*# (on|in)) /.test(text);
const of = (...languages: string[]) => blocks.filter(({ language }) => languages.includes(language));

const folder = mkdtempSync(join(tmpdir(), 'runwire-blocks-'));
const checkout = join(folder, 'checkout');
let stop = async () => {};
let environment: Record<string, string> = {};
let onThisServer = (text: string) => text;

type Ended = { code: number | null; output: string };

/** Runs a program with the variables that a reader of the documents has set. */
const run = (program: string, args: string[], cwd: string): Promise<Ended> =>
  new Promise((resolve) => {
    const { PATH = '', HOME = '' } = process.env;
    const options = { cwd, env: { PATH, HOME, ...environment }, timeout: 120_000 };
    execFile(program, args, options, (error, stdout, stderr) => {
      const code = error ? ((error as { code?: number | null }).code ?? null) : 0;
      const isEnded = (error as { signal?: string } | null)?.signal === 'SIGTERM' && !error?.killed;
      resolve({ code: isEnded ? 0 : code, output: `${stdout}${stderr}` });
    });
  });

/** Starts the built server in a folder that looks like a checkout of the reader, and publishes the runs of the examples. */
beforeAll(async () => {
  mkdirSync(checkout);
  linkPackages(checkout);
  const port = await freePort();
  const scripts = { runwire: `node ${cliPath}` };
  writeFileSync(join(checkout, 'package.json'), JSON.stringify({ private: true, type: 'module', scripts }));
  writeFileSync(join(checkout, '.env'), `PORT=${port}\nAUTH_SECRET=${secret}\nWEBHOOK_ALLOW=127.0.0.1\n`);
  const address = `http://127.0.0.1:${port}`;
  const server = spawn(process.execPath, [serverPath], { cwd: checkout, stdio: 'ignore' });
  const ended = new Promise((resolve) => server.once('exit', resolve));
  stop = async () => {
    server.kill('SIGKILL');
    await ended;
  };
  const token = await tokenFor();
  // `expect.poll` needs a test.
  await vi.waitFor(async () => expect((await fetch(`${address}/healthz`)).ok).toBe(true), { timeout: 60_000 });
  const scope = { projectId: 'trials', runId: 'run-17' };
  const approval = { ...scope, type: 'governance.required', title: 'Release' };
  const progress = [1, 2, 3, 4, 5].map((value) => ({
    ...scope,
    type: 'stage.progress',
    stageId: 'qc',
    progress: value,
  }));
  const events = [
    { ...scope, type: 'run.created', name: 'Nightly cohort' },
    { ...approval, approvalId: 'release' },
    { ...approval, approvalId: 'release-1' },
    ...progress,
  ];
  const response = await fetch(`${address}/api/v1/events`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await tokenFor({ sub: 'ci' })}`, 'content-type': 'application/json' },
    body: JSON.stringify(events),
  });
  expect(await response.text()).toContain('accepted');
  environment = {
    AUTH_SECRET: secret,
    TOKEN: token,
    RUNWIRE_TOKEN: token,
    WEBHOOK_SECRET: 'whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cw==',
  };
  onThisServer = (text) =>
    text
      .replaceAll('http://127.0.0.1:3001', address)
      .replaceAll('release-…', 'release-1')
      .replace(/\blisten\((8080|3001|4000)/g, 'listen(0');
}, TIMEOUT_MS);

afterAll(async () => {
  await stop();
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
}, TIMEOUT_MS);

test('every block has a language and marks that this test knows', () => {
  const known = /^(sh|ts|ts app|ts former|tsx|js|env|json|yaml|ini|nginx|haproxy|sql|text)$/;
  const unknown = blocks.filter(({ language, marks }) => !known.test([language, ...marks].join(' ')));
  expect(unknown.map(({ at, language, marks }) => `${at} ${language} ${marks}`)).toEqual([]);
});

describe('TypeScript', () => {
  const code = of('ts', 'tsx', 'js').filter(({ marks }) => !marks.includes('former'));
  const project = join(folder, 'blocks');

  test('[K36] every block compiles against the types of the package', { timeout: TIMEOUT_MS }, async () => {
    mkdirSync(project);
    const typed = code.filter(({ language }) => language !== 'js');
    const errors = await compileBlocks(
      project,
      typed.map((block) => ({ ...block, text: onThisServer(block.text) })),
    );
    expect(errors).toEqual([]);
    expect(typed.length).toBeGreaterThan(25);
    const wrong = typed
      .filter(({ at }) => at.startsWith('README.md'))
      .map((block) => ({ ...block, text: block.text.replace('authSecret });', 'authSecrets: authSecret });') }));
    const other = join(folder, 'wrong');
    mkdirSync(other);
    expect(await compileBlocks(other, wrong)).not.toEqual([]);
  });

  const runnable = code.filter(({ language, marks }) => language !== 'tsx' && marks.length === 0);
  test.each(runnable)('[K36] $at runs', { timeout: TIMEOUT_MS }, async (block) => {
    const own = join(project, 'out', nameOf(block));
    mkdirSync(own, { recursive: true });
    const compiled =
      block.language === 'js'
        ? onThisServer(block.text)
        : readFileSync(join(project, 'out', `${nameOf(block)}.js`), 'utf8');
    // The statement after the last one of the block ends what goes on, as a service manager does.
    writeFileSync(join(own, 'block.mjs'), `${compiled}\nsetImmediate(() => process.kill(process.pid, 'SIGTERM'));\n`);
    expect(await run(process.execPath, ['block.mjs'], own)).toMatchObject({ code: 0 });
  });
});

describe('commands', () => {
  const here = of('sh').filter((block) => !isElsewhere(block));
  test.each(here)('[K36] $at runs', { timeout: TIMEOUT_MS }, async (block) => {
    // A request that the server refuses fails, and so does a command of a pipe.
    const curl = 'curl() { command curl -sS --fail-with-body "$@"; }; set -euo pipefail';
    expect(await run('bash', ['-c', `${curl}\n${onThisServer(block.text)}`], checkout)).toMatchObject({ code: 0 });
  });

  const elsewhere = [...of('sh').filter(isElsewhere), ...of('text')];
  test('[K36] commands for other machines are in bash, and have options that exist', {
    timeout: TIMEOUT_MS,
  }, async () => {
    const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: object };
    const problems: string[] = [];
    for (const { at, language, text } of elsewhere) {
      if (language === 'sh') {
        const { code, output } = await run('bash', ['-n', '-c', text], folder);
        if (code !== 0) problems.push(`${at}: ${output}`);
      }
      for (const [, name = ''] of text.matchAll(/\bnpm run (?:-s )?([\w:]+)/g)) {
        if (!(name in scripts)) problems.push(`${at}: there is no script ${name}`);
      }
      for (const [, command = '', rest = ''] of text.matchAll(/(?:^|[\s/])runwire(?: --)? ([a-z]+)\b([^\n#|)]*)/gm)) {
        // `token` is `token sign`.
        const words = command === 'token' ? [command, 'sign'] : [command];
        const help = await run(process.execPath, [cliPath, ...words, '--help'], folder);
        const options = [...rest.matchAll(/--[a-z-]+/g)].map(([option]) => option);
        const missing = options.filter((option) => !help.output.includes(option));
        if (help.code !== 0 || missing.length > 0) problems.push(`${at}: runwire ${command} ${missing}`);
      }
    }
    expect(problems).toEqual([]);
  });
});

describe('settings and data', () => {
  test.each(of('env'))('$at has settings that the server reads', ({ text }) => {
    const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    const entries = lines.map((line) => /^(\w+)=(\S+)(?:\s+#.*)?$/.exec(line)?.slice(1) as [string, string]);
    const config = readFileSync(join(root, 'server/config.ts'), 'utf8');
    expect(entries.filter(([name]) => !config.includes(`  ${name}:`))).toEqual([]);
    const filled = entries.map(([name, value]) => [name, value.replace('…', 'x'.repeat(40))]);
    expect(() => loadConfig(Object.fromEntries(filled))).not.toThrow();
  });

  test.each(of('json'))('$at is JSON', ({ text }) => {
    expect(() => JSON.parse(text)).not.toThrow();
  });

  test.each(of('yaml'))('$at is YAML, and has metrics that the server has', ({ text }) => {
    const lines = text.split('\n').filter((line) => line.trim() !== '');
    expect(lines.filter((line) => !/^ *(- )?[\w-]+:( .+)?$/.test(line))).toEqual([]);
    // Most names in the source have no prefix.
    const args = ['grep', '-hoE', "runwire_[a-z_]+|'[a-z_]+'", '--', 'server'];
    const source = execFileSync('git', args, { cwd: root, encoding: 'utf8' });
    const metrics = [...text.matchAll(/\brunwire_([a-z_]+)/g)].map(([, name = '']) => name.replace(/_bucket$/, ''));
    expect(metrics.filter((name) => !source.includes(`'${name}'`) && !source.includes(`runwire_${name}`))).toEqual([]);
  });

  test.each(of('ini'))('$at has sections and settings, and starts a file of the package', ({ text }) => {
    const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    expect(lines.filter((line) => !/^(\[\w+\]|[A-Z]\w+=.+)$/.test(line))).toEqual([]);
    const [, started = ''] = /^ExecStart=\S+ (\S+)$/m.exec(text) ?? [];
    expect(existsSync(join(root, started)), started).toBe(true);
  });

  test('blocks that other tests run are on the pages that those read', () => {
    const place = (language: string) => of(language).map(({ at }) => at.replace(/:.*/, ''));
    expect(place('nginx')).toEqual(['docs/guide/operations.md']);
    expect(place('haproxy')).toEqual(['docs/guide/operations.md']);
    expect(new Set(place('sql'))).toEqual(new Set(['docs/guide/producers.md']));
  });
});
