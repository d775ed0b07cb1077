import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium, type Page } from 'playwright';
import { afterAll, expect, test } from 'vitest';
import { chromium as launchOptions } from '../browser/chromium.ts';
import { output, packTo } from '../matrix/project.ts';
import { freePort } from '../support/ports.ts';
import { type Block, blocksOf, isShown, root } from './blocks.ts';

/**
 * Does what `docs/quickstart.md` says, block by block, in an empty folder: writes the files, runs the commands, compares
 * their outputs with those that the page shows, and then uses the page of the app in Chromium.
 */

const PAGE = 'docs/quickstart.md';
const TIMEOUT_MS = 300_000;
const folder = mkdtempSync(join(tmpdir(), 'runwire-quickstart-'));
const app = join(folder, 'app');
const started: Terminal[] = [];
let replaced: (text: string) => string = (text) => text;

/** A command in a terminal, with everything that it starts. */
class Terminal {
  readonly #process: ChildProcess;
  readonly #ended: Promise<unknown>;
  #output = '';

  constructor(command: string) {
    const kept = Object.entries(process.env).filter(([name]) => !/^npm_|^NODE_ENV$|^FORCE_COLOR$|^VITEST/i.test(name));
    const env = { ...Object.fromEntries(kept), NO_COLOR: '1' };
    this.#process = spawn('bash', ['-ec', command], { cwd: app, env, detached: true });
    this.#ended = new Promise((resolve) => this.#process.once('exit', resolve));
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream?.on('data', (data: Buffer) => {
        this.#output += data.toString();
      });
    }
    started.push(this);
  }

  /** Waits until the output is as shown. The time is a bound for a command that hangs. */
  shows(shown: string): Promise<void> {
    return expect.poll(() => isShown(this.#output, shown) || this.#output, { timeout: 120_000 }).toBe(true);
  }

  async kill(signal: NodeJS.Signals): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      process.kill(-(this.#process.pid as number), signal);
    }
    await this.#ended;
  }
}

const blocks = blocksOf(PAGE);
/** The commands that go on, in the order of the page: the Express server, and Vite. */
const servers: { command: string; terminal: Terminal; shown: string }[] = [];

/** Does what one block says. `next` is the output that the page shows below a command. */
async function follow(block: Block, next: Block | undefined): Promise<void> {
  const text = replaced(block.text);
  const shown = next?.language === 'text' ? replaced(next.text) : undefined;
  if (block.language === 'text') return;
  if (block.path !== undefined) {
    writeFileSync(join(app, block.path), text);
  } else if (block.language !== 'sh' || block.marks.includes('checkout')) {
    throw new Error(`${block.at}: no path above the block, and no command`);
  } else if (block.marks.includes('server')) {
    const terminal = new Terminal(text);
    servers.push({ command: text, terminal, shown: shown ?? '' });
    await terminal.shows(shown ?? '');
  } else if (shown === undefined) {
    await output('bash', ['-ec', text], app);
  } else {
    await expect
      .poll(async () => {
        const printed = await output('bash', ['-ec', text.replaceAll(/\bcurl /g, 'curl -sS ')], app);
        return isShown(printed, shown) || printed;
      })
      .toBe(true);
  }
}

afterAll(async () => {
  for (const terminal of started) await terminal.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
}, TIMEOUT_MS);

test('the package is made by commands of the checkout', () => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  const made = blocks.filter(({ marks }) => marks.includes('checkout')).map(({ text }) => text);
  expect(made).toEqual(['npm ci\nnpm pack --pack-destination /tmp\n']);
  expect(blocks.some(({ text }) => text.includes(`/tmp/runwire-${version}.tgz`))).toBe(true);
});

test('[K35] every command and file of the page does what the page shows', { timeout: TIMEOUT_MS }, async () => {
  mkdirSync(app);
  const tarball = await packTo(folder);
  const [express, vite] = [await freePort(), await freePort()];
  replaced = (text) =>
    text
      .replaceAll('/tmp/runwire-0.1.0.tgz', tarball)
      .replace(/\b8080\b/g, String(express))
      .replace(/\b5173\b/g, String(vite))
      .replaceAll('npx vite\n', `npx vite --port ${vite}\n`);
  const own = blocks.filter(({ marks }) => !marks.includes('checkout'));
  const build = own.findIndex(({ text }) => text.includes('vite build'));
  for (const [index, block] of own.slice(0, build).entries()) {
    await follow(block, own[index + 1]);
    if (block.text.includes('npm install --save-dev') && process.versions.node.startsWith('20.')) {
      await output('npm', ['install', '--no-audit', '--prefer-offline', '@photostructure/sqlite'], app);
    }
  }
});

/** The epochs that the page lists. */
const epochsOf = async (page: Page) =>
  (await page.locator('li').allTextContents()).map((text) => Number(text.match(/\d+/)));

test('[K35] the page shows each epoch live, after a reload, and after a kill of the server', {
  timeout: TIMEOUT_MS,
}, async () => {
  const browser = await chromium.launch(launchOptions);
  const page = await browser.newPage();
  await page.goto(replaced('http://localhost:5173/'));
  await page.getByRole('button', { name: 'Start a training' }).click();
  await page.getByText('epoch 3: loss 0.333').waitFor();
  expect(await page.locator('h1').textContent()).toBe('Training of the model: running');
  await page.reload();
  await page.getByText('epoch 4: loss 0.250').waitFor();

  const [server] = servers as [(typeof servers)[0]];
  await server.terminal.kill('SIGKILL');
  await page.getByText('reconnecting').waitFor();
  const before = await epochsOf(page);
  await new Terminal(server.command).shows(server.shown);
  await page.getByText('connected', { exact: true }).waitFor();
  expect((await epochsOf(page)).slice(0, before.length)).toEqual(before);
  expect(before).toEqual(before.map((_, index) => index + 1));

  await page.getByRole('button', { name: 'Start a training' }).click();
  await page.getByText('Training of the model: completed').waitFor();
  expect(await epochsOf(page)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  await browser.close();
});

test('[K35] a wrong field does not compile, in the server and in the page', { timeout: TIMEOUT_MS }, async () => {
  const file = join(app, 'events.ts');
  const text = readFileSync(file, 'utf8');
  writeFileSync(file, text.replace('loss:', 'error:'));
  const refused = output('npx', ['tsc', '--noEmit', '--pretty', 'false'], app).finally(() => writeFileSync(file, text));
  await expect(refused).rejects.toThrow(/main\.tsx\(\d+.*'loss'[\s\S]*server\.ts\(\d+.*'loss'/);
});

test('Express serves the built page', { timeout: TIMEOUT_MS }, async () => {
  const build = blocks.findIndex(({ text }) => text.includes('vite build'));
  for (const block of blocks.slice(build)) await follow(block, undefined);
  const browser = await chromium.launch(launchOptions);
  const page = await browser.newPage();
  await page.goto(replaced('http://127.0.0.1:8080'));
  await page.getByRole('button', { name: 'Start a training' }).click();
  await page.getByText('epoch 1: loss 1.000').waitFor();
  await browser.close();
});
