import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Browser, chromium, type Page } from 'playwright';
import type { RunEvent } from '../../shared/events.ts';
import { chromium as launchOptions } from '../browser/chromium.ts';
import { created, everyone, progress, startServer, tokenFor } from '../support/harness.ts';
import { freePort } from '../support/ports.ts';

/**
 * Opens pages that an app has rendered on its server in Chromium. Events are published at each moment of a page's way, in
 * all combinations: before the fetch, between fetch and render, before the page's scripts, between hydration and
 * subscription, and afterwards.
 */

const moments = [
  'before the fetch',
  'between fetch and render',
  'before the scripts',
  'before the socket',
  'when live',
] as const;
type Moment = (typeof moments)[number];
const plans = Array.from({ length: 2 ** moments.length }, (_, bits) =>
  moments.filter((_, index) => bits & (1 << index)),
);

const TIMEOUT_MS = 60_000;

type Server = Awaited<ReturnType<typeof startServer>>;
type Tools = { browser: Browser; server: Server; gate: Gate; address: string };

/** Holds the app's server at its requests to `url`, for as long as the test's work takes. */
type Gate = { url: string; onPass(work: (path: string) => Promise<unknown>): void } & AsyncDisposable;

async function startGate(): Promise<Gate> {
  let pass: (path: string) => Promise<unknown> = async () => undefined;
  const http = createServer(async (request, response) => {
    await pass(request.url ?? '').catch(() => response.writeHead(500));
    response.end();
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    onPass: (work) => {
      pass = work;
    },
    [Symbol.asyncDispose]: async () => {
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}

/** Starts the app's server with Node.js, beside a Runwire server, and calls `work` once it answers. */
export async function serveApp<T>(
  argsFor: (port: string) => string[],
  folder: string,
  work: (tools: Tools) => Promise<T>,
): Promise<T> {
  const port = await freePort();
  const address = `http://127.0.0.1:${port}`;
  await using server = await startServer({ allowedOrigins: [address] });
  await using gate = await startGate();
  const app = spawn(process.execPath, argsFor(String(port)), {
    cwd: folder,
    env: {
      ...process.env,
      NODE_ENV: 'production',
      NEXT_TELEMETRY_DISABLED: '1',
      PORT: String(port),
      RUNWIRE_URL: server.url,
      RUNWIRE_TOKEN: await tokenFor({ roles: ['viewer'] }),
      GATE_URL: gate.url,
    },
    stdio: 'ignore',
  });
  try {
    await until('the app', async () => {
      const answer = await fetch(address).catch(() => undefined);
      return answer?.ok ? undefined : `is answered ${answer?.status ?? 'by nobody'}`;
    });
    const browser = await chromium.launch(launchOptions);
    try {
      return await work({ browser, server, gate, address });
    } finally {
      await browser.close();
    }
  } finally {
    app.kill();
  }
}

/** Waits until `differs` returns undefined. The last difference is the text of the error. */
async function until(name: string, differs: () => Promise<string | undefined>): Promise<void> {
  const deadline = Date.now() + TIMEOUT_MS;
  for (;;) {
    const difference = await differs();
    if (difference === undefined) return;
    if (Date.now() > deadline) throw new Error(`${name}: ${difference}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export const textOf = (page: Page, id: string) => page.locator(`#${id}`).textContent({ timeout: TIMEOUT_MS });
export const untilText = (page: Page, id: string, text: string) =>
  until(`#${id}`, async () => ((await textOf(page, id))?.includes(text) ? undefined : `${await textOf(page, id)}`));

function hold(): [held: Promise<void>, release: () => void] {
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  return [held, release];
}

/** Opens a tab. `check` throws if the page has reported an error, or has requested what came with it. */
async function openTab({ browser, server }: Tools, name: string) {
  const context = await browser.newContext();
  const page = await context.newPage();
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') errors.push(message.text());
  });
  page.on('request', (request) => {
    const { origin, pathname } = new URL(request.url());
    if (origin === server.url && /run\.(get|list)/.test(pathname)) errors.push(`a request of ${pathname}`);
  });
  const check = () => {
    if (errors.length > 0) throw new Error(`${name}: the page reports ${errors.join('\n')}`);
  };
  return { page, check, [Symbol.asyncDispose]: () => context.close() };
}

/** Creates a run and returns functions that publish its next event, and that compare a page with the log. */
async function createRun(server: Server, name: string) {
  const runId = `run-${Math.random().toString(36).slice(2)}`;
  let value = 0;
  const publish = async () => {
    value++;
    await server.bus.publish([progress(runId, value)], { actor: 'ada' });
  };
  await server.bus.publish([created(runId)], { actor: 'ada' });
  await publish();
  const untilWhole = async (page: Page) => {
    const { events } = await server.router.createCaller({ principal: everyone }).run.history({ runId });
    await until(name, async () => {
      const shown = { run: '', runs: '', received: '', handled: '' };
      for (const id of Object.keys(shown) as (keyof typeof shown)[]) shown[id] = (await textOf(page, id)) ?? '';
      const isWhole =
        shown.run.endsWith(` ${value} ${events.at(-1)?.seq}`) &&
        shown.runs.split(', ').includes(shown.run) &&
        shown.received === seqsOf(events) &&
        shown.handled === seqsOf(events.filter(({ type }) => type === 'stage.progress'));
      return isWhole ? undefined : `the page shows ${JSON.stringify(shown)}, the log has ${seqsOf(events)}`;
    });
  };
  return { runId, publish, untilWhole, value: () => value };
}

const seqsOf = (events: RunEvent[]) => events.map(({ seq }) => seq).join(' ');

/** Runs all plans. Throws at a page that misses or repeats an event, or reports an error. */
export async function followPages(
  tools: Tools,
  addressOf: (runId: string) => string,
  expected: Record<string, string> = {},
): Promise<string> {
  for (const plan of plans) await followPage(tools, addressOf, plan, expected);
  return `${plans.length} interleavings`;
}

async function followPage(
  tools: Tools,
  addressOf: (runId: string) => string,
  plan: readonly Moment[],
  expected: Record<string, string>,
): Promise<void> {
  const { server, gate } = tools;
  const name = plan.join(' and ') || 'no event';
  const run = await createRun(server, name);
  const publishAt = async (moment: Moment) => {
    if (plan.includes(moment)) await run.publish();
  };
  await using tab = await openTab(tools, name);
  const { page } = tab;
  const [scripts, releaseScripts] = hold();
  await page.route(/\.js(\?|$)/, async (route) => {
    await scripts;
    await route.continue();
  });
  const [socket, releaseSocket] = hold();
  await page.routeWebSocket(/\/ws(\?|$)/, async (ws) => {
    await socket;
    ws.connectToServer();
  });

  await publishAt('before the fetch');
  const fetched = `${run.value()} `;
  gate.onPass(() => publishAt('between fetch and render'));
  await page.goto(addressOf(run.runId), { waitUntil: 'commit' });
  const rendered = await textOf(page, 'run');
  if (!rendered?.includes(` ${fetched}`)) throw new Error(`${name}: the server has rendered ${rendered}`);
  await publishAt('before the scripts');
  if ((await textOf(page, 'hydrated')) !== 'no') throw new Error(`${name}: the page has its scripts already`);
  releaseScripts();
  await untilText(page, 'hydrated', 'yes');
  if ((await textOf(page, 'run')) !== rendered) throw new Error(`${name}: hydration has changed the page`);
  await publishAt('before the socket');
  releaseSocket();
  await untilText(page, 'phase', 'live');
  await publishAt('when live');
  await run.untilWhole(page);
  for (const [id, text] of Object.entries(expected)) await untilText(page, id, text);
  tab.check();
}

/**
 * A part of the page arrives when the rest is live: before or after its fetch, an event changes what the page shows already.
 * Throws if the hydration of the part reports a difference.
 */
export async function followStreamedPage(tools: Tools, addressOf: (runId: string) => string): Promise<string> {
  for (const when of ['/fetch', '/render']) {
    const name = `an event before the ${when.slice(1)} of a late part`;
    const run = await createRun(tools.server, name);
    await using tab = await openTab(tools, name);
    const { page } = tab;
    tools.gate.onPass(async (path) => {
      await untilText(page, 'phase', 'live');
      if (path === when) await run.publish();
      await run.untilWhole(page);
    });
    await page.goto(addressOf(run.runId), { waitUntil: 'commit' });
    await until(name, async () => {
      const [late, whole] = [await textOf(page, 'late'), `${await textOf(page, 'run')}, ${await textOf(page, 'runs')}`];
      return run.value() === 2 && late === whole ? undefined : `the late part shows ${late}, the rest ${whole}`;
    });
    tab.check();
  }
  return 'a late part';
}

/** A live page is rendered again by a server with another clock; an event overtakes the answer. Throws if it gets lost. */
export async function refreshPage(tools: Tools, addressOf: (runId: string) => string): Promise<string> {
  for (const aheadMs of [0, 3_600_000]) {
    const name = `a refresh by a server whose clock is ${aheadMs} ms ahead`;
    const run = await createRun(tools.server, name);
    await using tab = await openTab(tools, name);
    const { page } = tab;
    await page.addInitScript((ms) => {
      const { now } = Date;
      Date.now = () => now() - ms;
    }, aheadMs);
    tools.gate.onPass(async () => undefined);
    await page.goto(addressOf(run.runId));
    await untilText(page, 'phase', 'live');
    tools.gate.onPass(async () => {
      await run.publish();
      await run.untilWhole(page);
    });
    await page.getByRole('button', { name: 'Refresh' }).click();
    await untilText(page, 'refreshed', '1');
    const other = await createRun(tools.server, name);
    await page.getByRole('button', { name: 'Show new' }).click();
    await untilText(page, 'runs', other.runId);
    await run.untilWhole(page);
    tab.check();
  }
  return 'refreshed';
}
