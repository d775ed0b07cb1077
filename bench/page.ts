import { cpus } from 'node:os';
import { type Browser, chromium, type Page } from 'playwright';
import { signToken } from '../server/auth/tokens.ts';
import { createRunServer } from '../server/run-server.ts';
import type { RunEventDraft } from '../shared/events.ts';
import { chromium as launchOptions } from '../tests/browser/chromium.ts';

/**
 * `npm run bench:page`: what a reader of the built app waits for, in Chromium: until a run of 10,000 stages and 100,000
 * events can be read, and while it, or a list of 2,000 runs, changes 200 times a second. `npm run build` comes first.
 */

const ROUNDS = 5;
const STAGES = 10_000;
const EVENTS = 100_000;
const RUNS = 2_000;
const PER_SECOND = 200;
const SECONDS = 20;
const secret = 'a secret of the bench, 32 bytes long or more';

const say = (text: string) => process.stdout.write(`${text}\n`);
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

/** Most stages have completed; the last hundred are still at it. */
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

/** Runs in the page: keeps the length of every task over 50 ms, and of every pause between two frames. */
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

/** What the watch has found since it was last asked. */
const takeFound = (page: Page): Promise<Found> =>
  page.evaluate(() => {
    const { found } = window as unknown as { found: Found };
    return { tasks: found.tasks.splice(0), frames: found.frames.splice(0) };
  });

function sayTasks(tasks: number[], cpuMs: number): void {
  const longest = tasks.length === 0 ? 'under 50 ms' : ms(Math.max(...tasks));
  const over = (limit: number) => tasks.filter((task) => task > limit).length;
  say(`  longest task ${longest}, by processor time ${ms(cpuMs)}; over 50 ms: ${over(50)}, over 100 ms: ${over(100)}`);
}

type TraceEvent = { name: string; ph: string; pid: number; tid: number; tdur?: number; args?: { name?: string } };

/**
 * Ms of its own processor that the longest task of the page took. Beside the time by the clock it tells what the page
 * costs from what the machine's load does to it.
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

async function openTab(browser: Browser): Promise<Page> {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  // What tsx makes of a function names the functions in it by this.
  await page.addInitScript('globalThis.__name = (named) => named');
  await page.addInitScript(watchTasks);
  const token = await signToken({ secret }, { sub: 'bench', projects: ['*'], roles: ['viewer'], ttlSeconds: 3_600 });
  await page.goto(`${url}/login?token=${token}`);
  return page;
}

/** A task is one such event; nothing else is traced, for tracing costs time too. */
const trace = (browser: Browser, page: Page) => browser.startTracing(page, { categories: ['toplevel'] });

/** Ms from the navigation until the first bar and the last event can be seen. */
async function opened(page: Page, lastRunSeq: number): Promise<number> {
  await page.goto(`${url}/runs/bench/long`);
  return page.evaluate(
    (last) =>
      new Promise<number>((resolve) => {
        const look = () => {
          const hasEvent = document.querySelector(`.event[aria-posinset="${last}"] .what`);
          if (hasEvent && document.querySelector('.timeline .bar-of')) {
            // What is in the page now is on the screen with the next frame.
            requestAnimationFrame(() => setTimeout(() => resolve(performance.now())));
          } else requestAnimationFrame(look);
        };
        look();
      }),
    lastRunSeq,
  );
}

/** Publishes `PER_SECOND` for `SECONDS`, then says what became of the page meanwhile. */
async function follow(page: Page, name: string, next: (index: number) => RunEventDraft): Promise<void> {
  await takeFound(page);
  await trace(browser, page);
  const begun = performance.now();
  const EVERY_MS = 25;
  let sent = 0;
  for (let tick = 1; sent < PER_SECOND * SECONDS; tick++) {
    const due = Math.min(PER_SECOND * SECONDS, Math.round((tick * EVERY_MS * PER_SECOND) / 1_000));
    const events = Array.from({ length: due - sent }, (_, index) => next(sent + index));
    sent = due;
    await publish(events);
    await pause(Math.max(0, begun + tick * EVERY_MS - performance.now()));
  }
  const took = performance.now() - begun;
  const { head: seq } = server.log;
  await page.getByText(`Live · seq ${seq.toLocaleString('en-US')}`).waitFor();
  const { tasks, frames } = await takeFound(page);
  const cpuMs = await takeLongestCpu(browser);
  say(`${name}: ${Math.round((sent / took) * 1_000)} events/s for ${Math.round(took / 1_000)} s`);
  sayTasks(tasks, cpuMs);
  say(`  frames ${frames.length}, longest pause between two ${ms(Math.max(...frames))}`);
  say(`  the page shows seq ${seq.toLocaleString('en-US')}, the head of the log`);
}

say(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}`);
await publish(longRun());
const browser = await chromium.launch(launchOptions);
say(`Chromium ${browser.version()}`);
const page = await openTab(browser);
const samples: number[] = [];
await trace(browser, page);
for (let round = 0; round < ROUNDS; round++) samples.push(await opened(page, EVENTS));
say(
  `opening a run of ${STAGES.toLocaleString('en-US')} stages and ${EVENTS.toLocaleString('en-US')} events: median ${ms(median(samples))} (${samples.map(Math.round).join(', ')})`,
);
await page.getByText('Live · seq').waitFor();
sayTasks((await takeFound(page)).tasks, await takeLongestCpu(browser));
await follow(page, 'following it', (index) => progress('long', stageIdOf(STAGES - 100 + (index % 100)), index % 100));

await publish(
  Array.from({ length: RUNS }, (_, index) => [
    { type: 'run.created' as const, projectId: 'bench', runId: `r${index}`, name: `Run ${index}`, createdBy: 'bench' },
    progress(`r${index}`, 's1', 1),
  ]).flat(),
);
await page.goto(`${url}/`);
await page.getByText('Live · seq').waitFor();
// All pages are fetched by going to the end, then the newest runs are looked at.
for (
  let shown = 0;
  shown < RUNS;
  shown = await page.evaluate(() => Number(document.querySelector('.runs')?.ariaRowCount))
) {
  await page.evaluate(() => window.scrollTo(0, document.documentElement.scrollHeight));
  await pause(20);
}
await page.evaluate(() => window.scrollTo(0, 0));
await follow(page, `a list of ${RUNS.toLocaleString('en-US')} runs`, (index) =>
  progress(`r${(index * 7) % RUNS}`, 's1', index % 100),
);
await browser.close();
await server.close();
