import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright';
import { afterAll, beforeAll, expect, onTestFinished } from 'vitest';
import type { RunEvent, RunEventDraft } from '../../shared/events.ts';
import { startServer, tokenFor } from '../support/harness.ts';
import { freePort } from '../support/ports.ts';
import { chromium as launchOptions } from './chromium.ts';

/** Runs the built web app in Chromium. Run `npm run build` first. */

const main = fileURLToPath(new URL('../../dist/server/main.js', import.meta.url));

let browser: Browser;

/** Opens one browser for all tests of a file. */
export function withBrowser(): void {
  beforeAll(async () => {
    browser = await chromium.launch(launchOptions);
  });
  afterAll(() => browser.close());
}

/** Starts a server in this process, so that the test can use its log, and opens a signed-in tab, which shows no page yet. */
export async function openApp({ token, ...options }: TabOptions & { token?: string } = {}) {
  const server = await startServer();
  onTestFinished(() => server.close());
  const page = await openTab(options);
  const publish = (...events: RunEventDraft[]) => server.bus.publish(events, { actor: 'ada' });
  const open = (path: string) => page.goto(server.url + path);
  await signIn(page, server.url, token);
  return { server, page, publish, open };
}

/** Stores the cookie of a user in a tab, without the load of the page behind the link. Default: a user with every right. */
export async function signIn(page: Page, url: string, token?: string): Promise<void> {
  await page.request.get(`${url}/login?token=${token ?? (await tokenFor())}`, { maxRedirects: 0 });
}

/** Starts `node dist/server/main.js` with its own data folder. After `kill`, `start` uses the same port. */
export async function startProcess() {
  const folder = mkdtempSync(join(tmpdir(), 'runwire-page-'));
  let child: ChildProcess | undefined;
  const port = String(await freePort());
  const start = async (): Promise<string> => {
    const { PATH } = process.env;
    const started = spawn(process.execPath, [main], { cwd: folder, env: { PATH, PORT: port } });
    child = started;
    let output = '';
    const link = await new Promise<string>((resolve, reject) => {
      started.stdout.on('data', (data) => {
        output += data;
        const found = /^Open (\S+)$/m.exec(output);
        if (found?.[1]) resolve(found[1]);
      });
      started.stderr.on('data', (data) => {
        output += data;
      });
      started.once('exit', () => reject(new Error(`the server exited: ${output}`)));
    });
    return link;
  };
  const kill = async () => {
    if (child?.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  };
  const link = await start();
  onTestFinished(async () => {
    await kill();
    rmSync(folder, { recursive: true });
  });
  const data = join(folder, 'data');
  /** Copies the data folder and restores the copy. Call both while the server is down. */
  const backUp = () => cpSync(data, `${data}-backup`, { recursive: true });
  const restore = () => {
    rmSync(data, { recursive: true });
    cpSync(`${data}-backup`, data, { recursive: true });
  };
  const { origin, searchParams } = new URL(link);
  const headers = { authorization: `Bearer ${searchParams.get('token')}`, 'content-type': 'application/json' };
  const publish = async (...events: RunEventDraft[]) => {
    const response = await fetch(`${origin}/api/v1/events`, { method: 'POST', headers, body: JSON.stringify(events) });
    if (!response.ok) throw new Error(await response.text());
  };
  const history = async (projectId: string, runId: string): Promise<RunEvent[]> => {
    const input = encodeURIComponent(JSON.stringify({ projectId, runId, limit: 500 }));
    const response = await fetch(`${origin}/trpc/run.history?input=${input}`, { headers });
    return ((await response.json()) as { result: { data: { events: RunEvent[] } } }).result.data.events;
  };
  /** Sends a signal to the process: SIGSTOP freezes the server, and its sockets stay open. */
  const signal = (name: NodeJS.Signals) => void child?.kill(name);
  /** Signs a token of another user. */
  const signToken = (claims: Parameters<typeof tokenFor>[0]) =>
    tokenFor({ ...claims, secret: readFileSync(join(data, 'auth-secret'), 'utf8').trim() });
  return { link, origin, publish, history, start, kill, signal, tokenFor: signToken, backUp, restore };
}

type TabOptions = { expectedErrors?: RegExp } & BrowserContextOptions;

/**
 * Opens a tab with its own cookies. An error or a warning in the console of the page fails the test, unless it matches
 * `expectedErrors`.
 */
export async function openTab({ expectedErrors, ...options }: TabOptions = {}): Promise<Page> {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(60_000); // A machine with other work.
  const page = await context.newPage();
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('console', (message) => {
    if (message.type() !== 'error' && message.type() !== 'warning') return;
    if (!expectedErrors?.test(message.text())) errors.push(message.text());
  });
  onTestFinished(async () => {
    await context.close();
    expect(errors).toEqual([]);
  });
  return page;
}

export const draft = (runId: string, type: RunEventDraft['type'], fields: object = {}) =>
  ({ projectId: 'demo', runId, type, ...fields }) as RunEventDraft;
export const rowOf = (page: Page, name: string) => page.getByRole('row').filter({ hasText: name });
/** Waits until the badge states that the page has all events up to a `seq`. */
export const completeUpTo = (page: Page, seq: number) =>
  page.getByTitle(`Complete up to event ${seq.toLocaleString('en-US')} of the log`, { exact: true }).waitFor();
/** Returns the `runSeq` of each event in the page. */
export const eventsShown = (page: Page) =>
  page
    .getByRole('log')
    .locator('.event:has(.what)')
    .evaluateAll((all) => all.map((one) => Number(one.getAttribute('aria-posinset'))));
