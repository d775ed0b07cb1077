import { cpus } from 'node:os';
import { gzipSync } from 'node:zlib';
import { type Browser, chromium, type Page, type Response } from 'playwright';
import { signToken } from '../server/auth/tokens.ts';
import { createRunServer } from '../server/run-server.ts';
import type { RunEventDraft } from '../shared/events.ts';
import { chromium as launchOptions } from '../tests/browser/chromium.ts';

/**
 * `npm run bench:page` measures the built app in Chromium, and compares each figure with its budget:
 * - the JavaScript that the first page loads,
 * - the time until a run of 10,000 stages and 100,000 events is visible,
 * - the longest task and the longest pause between frames while that run changes 500 times a second,
 * - the time to travel to an event in the middle of that run, the first time and again, and to step from there,
 * - the longest task for a list of 1,000 live runs.
 *
 * `npm run bench:page -- memory` follows the long run for ten minutes instead, and prints the used heap of each minute.
 */

const ROUNDS = 5;
const STAGES = 10_000;
const EVENTS = 100_000;
const RUNS = 1_000;
const PER_SECOND = 500;
const SECONDS = 20;
const MEMORY_MINUTES = 10;
const MAX_FIRST_PAGE_BYTES = 120_000;
const MAX_OPEN_MS = 2_000;
const MAX_TASK_MS = 100;
const secret = 'a secret of the bench, 32 bytes long or more';

const print = (text: string) => process.stdout.write(`${text}\n`);
const median = (samples: number[]) => [...samples].sort((a, b) => a - b)[Math.floor(samples.length / 2)] as number;
const ms = (value: number) => `${Math.round(value).toLocaleString('en-US')} ms`;
const pause = (duration: number) => new Promise((resolve) => setTimeout(resolve, duration));

const server = await createRunServer({ databaseUrl: 'memory:', authSecret: secret, port: 0 });
const { url } = await server.listen();

async function publish(events: RunEventDraft[]): Promise<void> {
  for (let from = 0; from < events.length; from += 1_000) {
    await server.bus.publish(events.slice(from, from + 1_000), { actor: 'bench' });
  }
}

const stageIdOf = (index: number) => `stage-${String(index % STAGES).padStart(5, '0')}`;
const progress = (runId: string, stageId: string, value: number): RunEventDraft => ({
  type: 'stage.progress',
  projectId: 'bench',
  runId,
  stageId,
  progress: value,
  message: `epoch ${value} of 100: loss 0.0731, accuracy 0.981`,
});

/** All stages have completed but the last 100, which are running. */
function longRun(): RunEventDraft[] {
  const base = { projectId: 'bench', runId: 'long' };
  const events: RunEventDraft[] = [
    { type: 'run.created', ...base, name: 'A long run' },
    { type: 'run.started', ...base },
  ];
  for (let index = 0; index < STAGES; index++) {
    events.push({ type: 'stage.started', ...base, stageId: stageIdOf(index), name: `Shard ${index + 1}` });
  }
  for (let round = 1; events.length < EVENTS - STAGES; round++) {
    for (let index = 0; index < STAGES && events.length < EVENTS - STAGES; index++) {
      events.push(progress('long', stageIdOf(index), round * 10));
    }
  }
  for (let index = 0; events.length < EVENTS; index++) {
    const stageId = stageIdOf(index);
    events.push(index < STAGES - 100 ? { type: 'stage.completed', ...base, stageId } : progress('long', stageId, 95));
  }
  return events;
}

type Found = { tasks: number[]; frames: number[] };

/** Runs in the page: records each task over 50 ms and each pause between two frames. */
function watchTasks(): void {
  const found: Found = { tasks: [], frames: [] };
  Object.assign(window, { found });
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) found.tasks.push(duration);
  }).observe({ type: 'longtask', buffered: true });
  let last = performance.now();
  const onFrame = (now: number) => {
    found.frames.push(now - last);
    last = now;
    requestAnimationFrame(onFrame);
  };
  requestAnimationFrame(onFrame);
}

/** Returns and clears the records of {@link watchTasks}. */
const takeFound = (page: Page): Promise<Found> =>
  page.evaluate(() => {
    const { found } = window as unknown as { found: Found };
    return { tasks: found.tasks.splice(0), frames: found.frames.splice(0) };
  });

const verdict = (isMet: boolean) => (isMet ? 'met' : 'NOT MET');

function printTasks(tasks: number[], cpuMs: number): void {
  const longest = tasks.length === 0 ? 'under 50 ms' : ms(Math.max(...tasks));
  const over = (limit: number) => tasks.filter((task) => task > limit).length;
  print(
    `  longest task ${longest}, by processor time ${ms(cpuMs)}; over 50 ms: ${over(50)}, over 100 ms: ${over(100)}; budget ${ms(MAX_TASK_MS)}: ${verdict(cpuMs <= MAX_TASK_MS)}`,
  );
}

type TraceEvent = { name: string; ph: string; pid: number; tid: number; tdur?: number; args?: { name?: string } };

/**
 * Returns the processor time of the longest task of the page, in ms. Unlike its duration, it does not depend on the load
 * of the machine.
 */
async function takeLongestCpu(browser: Browser): Promise<number> {
  const { traceEvents } = JSON.parse((await browser.stopTracing()).toString()) as { traceEvents: TraceEvent[] };
  const threadOf = ({ pid, tid }: TraceEvent) => `${pid} ${tid}`;
  const main = new Set(
    traceEvents.filter(({ name, args }) => name === 'thread_name' && args?.name === 'CrRendererMain').map(threadOf),
  );
  let longest = 0;
  for (const event of traceEvents) {
    if (event.name.endsWith('RunTask') && main.has(threadOf(event))) longest = Math.max(longest, event.tdur ?? 0);
  }
  return longest / 1_000;
}

async function openTab(browser: Browser, onResponse: (response: Response) => void = () => {}): Promise<Page> {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  page.on('response', onResponse);
  // tsx compiles functions to code that calls `__name`, which the page does not have.
  await page.addInitScript('globalThis.__name = (named) => named');
  await page.addInitScript(watchTasks);
  const token = await signToken({ secret }, { sub: 'bench', projects: ['*'], roles: ['viewer'], ttlSeconds: 3_600 });
  await page.goto(`${url}/login?token=${token}`);
  return page;
}

/** A task is one event of this category. Other categories are off, because tracing takes time itself. */
const trace = (browser: Browser, page: Page) => browser.startTracing(page, { categories: ['toplevel'] });

/** Returns the ms from the navigation until the first bar and the last event are visible. */
async function opened(page: Page, lastRunSeq: number): Promise<number> {
  await page.goto(`${url}/runs/bench/long`);
  return page.evaluate(
    (last) =>
      new Promise<number>((resolve) => {
        const check = () => {
          const hasEvent = document.querySelector(`.event[aria-posinset="${last}"] .what`);
          if (hasEvent && document.querySelector('.timeline .bar-of')) {
            // The next frame shows the current content of the page.
            requestAnimationFrame(() => setTimeout(() => resolve(performance.now())));
          } else requestAnimationFrame(check);
        };
        check();
      }),
    lastRunSeq,
  );
}

const completeUpTo = (page: Page, seq: number) =>
  page.getByTitle(`Complete up to event ${seq.toLocaleString('en-US')} of the log`, { exact: true }).waitFor();

/** Publishes `PER_SECOND` events a second for a time. Returns the reached rate. */
async function publishFor(seconds: number, next: (index: number) => RunEventDraft): Promise<number> {
  const begun = performance.now();
  const EVERY_MS = 25;
  let sent = 0;
  for (let tick = 1; sent < PER_SECOND * seconds; tick++) {
    const due = Math.min(PER_SECOND * seconds, Math.round((tick * EVERY_MS * PER_SECOND) / 1_000));
    const events = Array.from({ length: due - sent }, (_, index) => next(sent + index));
    sent = due;
    await publish(events);
    await pause(Math.max(0, begun + tick * EVERY_MS - performance.now()));
  }
  return Math.round((sent / (performance.now() - begun)) * 1_000);
}

/** Publishes for `SECONDS`, then prints how the page coped. */
async function follow(page: Page, name: string, next: (index: number) => RunEventDraft): Promise<void> {
  await takeFound(page);
  await trace(browser, page);
  const rate = await publishFor(SECONDS, next);
  const { head: seq } = server.log;
  await completeUpTo(page, seq);
  const { tasks, frames } = await takeFound(page);
  const cpuMs = await takeLongestCpu(browser);
  print(`${name}: ${rate} events/s for ${SECONDS} s`);
  printTasks(tasks, cpuMs);
  print(`  frames ${frames.length}, longest pause between two ${ms(Math.max(...frames))}`);
  print(`  the page shows seq ${seq.toLocaleString('en-US')}, the head of the log`);
}

/** Prints the gzipped size of the scripts that the list of runs loads before any interaction. */
async function measureFirstPage(browser: Browser): Promise<void> {
  const sizes = new Map<string, number>();
  const page = await openTab(browser, async (response) => {
    if (response.request().resourceType() !== 'script') return;
    sizes.set(new URL(response.url()).pathname, gzipSync(await response.body()).length);
  });
  await page.waitForLoadState('networkidle');
  const bytes = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  print(
    `JavaScript of the first page: ${bytes.toLocaleString('en-US')} bytes gzip in ${sizes.size} files; budget ${MAX_FIRST_PAGE_BYTES.toLocaleString('en-US')}: ${verdict(bytes <= MAX_FIRST_PAGE_BYTES)}`,
  );
  await page.context().close();
}

/** Prints the time from a key until the page shows the run as of the event. */
async function measureTravel(page: Page): Promise<void> {
  const bar = page.getByRole('region', { name: 'Time travel' });
  const field = bar.getByRole('spinbutton');
  const shows = async (at: number, act: () => Promise<void>): Promise<number> => {
    const begun = performance.now();
    await act();
    await page.locator(`.travel[aria-busy="false"] input[type="number"][value="${at}"]`).waitFor();
    return performance.now() - begun;
  };
  await page.keyboard.press('t');
  await bar.waitFor();
  const first = await shows(EVENTS / 2, () => field.fill(String(EVENTS / 2)));
  await shows(EVENTS / 4, () => field.fill(String(EVENTS / 4)));
  const again = await shows(EVENTS / 2 - 700, () => field.fill(String(EVENTS / 2 - 700)));
  const steps: number[] = [];
  await page.locator('main').focus();
  for (let step = 1; step <= 20; step++) {
    steps.push(await shows(EVENTS / 2 - 700 + step, () => page.keyboard.press('.')));
  }
  print(`time travel: ${ms(first)} to event ${EVENTS / 2}, ${ms(again)} near it again, ${ms(median(steps))} a step`);
  await page.keyboard.press('Escape');
  await bar.waitFor({ state: 'detached' });
}

/** Follows the long run, and prints the heap in use after a garbage collection, once a minute. */
async function measureMemory(page: Page): Promise<void> {
  const session = await page.context().newCDPSession(page);
  await page.goto(`${url}/runs/bench/long`);
  await page.getByText('up to date').waitFor();
  for (let minute = 0; ; minute++) {
    await session.send('HeapProfiler.collectGarbage');
    const { usedSize } = await session.send('Runtime.getHeapUsage');
    print(`  after ${minute} min: ${(usedSize / 2 ** 20).toFixed(1)} MiB`);
    if (minute === MEMORY_MINUTES) return;
    await publishFor(60, (index) => progress('long', stageIdOf(STAGES - 100 + (index % 100)), index % 100));
    await completeUpTo(page, server.log.head);
  }
}

print(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}`);
await publish(longRun());
const browser = await chromium.launch(launchOptions);
print(`Chromium ${browser.version()}`);
const page = await openTab(browser);
if (process.argv.includes('memory')) {
  print(`heap of the page of the long run at ${PER_SECOND} events/s:`);
  await measureMemory(page);
  await browser.close();
  await server.close();
  process.exit();
}
await measureFirstPage(browser);
const samples: number[] = [];
await trace(browser, page);
for (let round = 0; round < ROUNDS; round++) samples.push(await opened(page, EVENTS));
print(
  `opening a run of ${STAGES.toLocaleString('en-US')} stages and ${EVENTS.toLocaleString('en-US')} events: median ${ms(median(samples))} (${samples.map(Math.round).join(', ')}); budget ${ms(MAX_OPEN_MS)}: ${verdict(median(samples) <= MAX_OPEN_MS)}`,
);
await page.getByText('up to date').waitFor();
printTasks((await takeFound(page)).tasks, await takeLongestCpu(browser));
await measureTravel(page);
await follow(page, 'following it', (index) => progress('long', stageIdOf(STAGES - 100 + (index % 100)), index % 100));

await publish(
  Array.from({ length: RUNS }, (_, index) => [
    { type: 'run.created' as const, projectId: 'bench', runId: `r${index}`, name: `Run ${index}`, createdBy: 'bench' },
    progress(`r${index}`, 's1', 1),
  ]).flat(),
);
await page.goto(`${url}/`);
await page.getByText('up to date').waitFor();
// Scrolling to the end fetches all pages. The measurement runs at the top, with the newest runs visible.
for (
  let shown = 0;
  shown < RUNS;
  shown = await page.evaluate(() => Number(document.querySelector('.runs')?.ariaRowCount))
) {
  await page.evaluate(() => window.scrollTo(0, document.documentElement.scrollHeight));
  await pause(20);
}
await page.evaluate(() => window.scrollTo(0, 0));
await follow(page, `a list of ${RUNS.toLocaleString('en-US')} live runs`, (index) =>
  progress(`r${(index * 7) % RUNS}`, 's1', index % 100),
);
await browser.close();
await server.close();
