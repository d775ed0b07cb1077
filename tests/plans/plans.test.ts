import { expect, onTestFinished, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { FeedCache } from '../../client/feeds/feed-cache.ts';
import { RunFeedObserver } from '../../client/feeds/run-feed-observer.ts';
import { createRunwireClient } from '../../client/index.ts';
import type { RunEvent } from '../../shared/events.ts';
import { startCuttableServer } from '../browser/server.ts';
import { tokenFor } from '../support/harness.ts';
import type { Unit } from './journal.ts';
import { planOf, type QueryName, queries, type Slot, slots, type User } from './plan.ts';
import { isPlanned, Runner, type World } from './runner.ts';

/** Plans over the observers of hooks, without React. */

/** A mounted hook. Mirrors the effects of `useRunEvents`. */
class Hook {
  readonly #runner: Runner;
  readonly #slot: Slot;
  readonly observer: RunFeedObserver;
  unit: Unit | undefined;
  isEnabled = true;
  #isDisconnected = false;
  #query: QueryName;
  #stop: (() => void) | undefined;

  constructor(runner: Runner, feeds: FeedCache, slot: Slot, query: QueryName) {
    this.#runner = runner;
    this.#slot = slot;
    this.#query = query;
    this.observer = new RunFeedObserver(feeds);
    this.observer.wantsRun = true;
    this.observer.onGap = (gap) => runner.journal.gap(this.unit, gap);
    const { handlers } = this.observer;
    handlers.subscribe('stage.progress', (event) => this.#handled('type', event));
    handlers.subscribeCategory('stage', (event) => this.#handled('category', event));
    this.#start();
  }

  show(query: QueryName): void {
    this.stop();
    this.#query = query;
    if (this.isEnabled) this.#start();
  }

  toggle(): void {
    this.isEnabled = !this.isEnabled;
    if (this.isEnabled) this.#start();
    else this.stop();
  }

  disconnect(): void {
    this.#isDisconnected = true;
    this.observer.disconnect();
    this.#update();
  }

  reconnect(): void {
    this.#isDisconnected = false;
    this.#update();
    this.observer.reconnect();
  }

  stop(): void {
    this.#stop?.();
    this.#stop = undefined;
    this.#update();
  }

  #start(): void {
    const { user, journal } = this.#runner;
    if (this.unit?.query !== this.#query) {
      if (this.unit) this.unit.isActive = false;
      this.unit = journal.begin(this.#slot, this.#query, user);
    }
    this.#stop = this.observer.follow(queries[this.#query](user));
    this.#update();
  }

  #update(): void {
    if (this.unit) this.unit.isActive = this.#stop !== undefined && !this.#isDisconnected;
  }

  #handled(name: 'type' | 'category', event: RunEvent): void {
    this.#runner.handled(this.#slot, name, this.unit, event);
  }
}

async function runSeed(seed: number) {
  const plan = planOf(seed);
  const runner = new Runner(plan);
  const { journal } = runner;
  let server = await startCuttableServer();
  const port = Number(new URL(server.url).port);
  const tokens = new Map<User, string>();
  for (const user of ['ann', 'bob'] as const) tokens.set(user, await tokenFor({ sub: user, projects: [user] }));
  const open = () => {
    const options = {
      url: server.url,
      token: tokens.get(runner.user),
      WebSocket,
      reconnectDelayMs: 1,
      maxReconnectAttempts: 1e9,
    };
    const { client, connection } = createRunwireClient(options);
    return { client, connection, feeds: new FeedCache(client, connection) };
  };
  let scope = open();
  const hooks = new Map<Slot, Hook>();
  const unmount = (slot: Slot) => {
    hooks.get(slot)?.stop();
    hooks.delete(slot);
  };
  const world: World = {
    act: (act) => {
      const hook = hooks.get(act.slot);
      if (act.act === 'show') {
        if (hook) hook.show(act.query);
        else hooks.set(act.slot, new Hook(runner, scope.feeds, act.slot, act.query));
      } else if (act.act === 'unmount') unmount(act.slot);
      else hook?.[act.act]();
    },
    resumeAll: () => {
      for (const hook of hooks.values()) {
        if (!hook.isEnabled) hook.toggle();
        hook.reconnect();
      }
    },
    unmountAll: () => slots.forEach(unmount),
    activeUnits: () => [...hooks.values()].flatMap(({ unit }) => (unit?.isActive ? [unit] : [])),
    differences: async () => {
      const found: string[] = [];
      for (const { observer, unit } of hooks.values()) {
        const { phase, run, events } = observer.getState();
        const restart = unit?.entries.category.findLastIndex((entry) => 'gap' in entry) ?? -1;
        const received = unit?.entries.category.slice(restart + 1).map((entry) => 'eventId' in entry && entry.eventId);
        if (phase !== 'live') found.push(`${unit}: the phase is ${phase}`);
        const shown = events.map(({ eventId }) => eventId);
        if (JSON.stringify(shown) !== JSON.stringify(received))
          found.push(`${unit}: events are ${shown}, not ${received}`);
        if (!run) continue;
        const { run: expected } = await scope.client.run.get.query({ runId: run.runId });
        if (JSON.stringify(run) !== JSON.stringify(expected)) found.push(`${unit}: the run differs from the server's`);
      }
      return found;
    },
    changeUser: async () => {
      const shown = [...hooks].map(([slot, { unit, isEnabled }]) => ({ slot, unit, isEnabled }));
      scope.feeds.end();
      for (const { unit } of hooks.values()) if (unit) unit.isActive = false;
      const closed = scope.connection.close();
      scope = open();
      for (const { slot, unit, isEnabled } of shown) {
        unmount(slot);
        const hook = new Hook(runner, scope.feeds, slot, unit?.query ?? 'run');
        hooks.set(slot, hook);
        if (!isEnabled) hook.toggle();
      }
      await closed;
    },
    frame: () => new Promise((resolve) => setTimeout(resolve, 16)),
    publish: async (drafts) => void (await server.bus.publish(drafts, { actor: 'ada' })),
    cut: async () => server.cut(),
    away: () => server.away(),
    back: () => server.back(),
    replace: async () => {
      await server.close();
      server = await startCuttableServer({}, port);
    },
    subscriptionCount: async () => server.getStats().subscriptions,
  };
  const reported: unknown[] = [];
  vi.stubGlobal('navigator', { userAgent: 'Mozilla/5.0' });
  vi.stubGlobal('reportError', (error: unknown) => void (isPlanned(error) || reported.push(error)));
  try {
    const problems = await runner.run(world);
    return { problems: [...problems, ...reported.map(String)], delivered: journal.delivered, plan };
  } finally {
    world.unmountAll();
    await scope.connection.close();
    await server.close();
    vi.unstubAllGlobals();
  }
}

/** `PLAN_SEED` runs one plan; `PLANS` is the number of plans. */
const seeds = process.env.PLAN_SEED
  ? [Number(process.env.PLAN_SEED)]
  : Array.from({ length: Number(process.env.PLANS ?? 20) }, (_, index) => index + 1);

test.for(seeds)(
  '[H12] [H14] each handler receives its events once and in order, in the random plan %i',
  async (seed) => {
    onTestFinished(() => void vi.unstubAllGlobals());
    const { problems, delivered, plan } = await runSeed(seed);
    if (problems.length > 0)
      console.error(`PLAN_SEED=${seed}\n${plan.steps.map((step) => JSON.stringify(step)).join('\n')}`);
    expect(problems).toEqual([]);
    expect(delivered).toBeGreaterThan(0);
  },
);
