import { type ReactNode, StrictMode, useEffect, useState } from 'react';
import { flushSync } from 'react-dom';
import { createRoot } from 'react-dom/client';
import { expect, onTestFinished, test, vi } from 'vitest';
import { RunwireProvider, type UseRunEventsReturn, useRunEvents } from '../../client/hooks/index.ts';
import type { Unit } from '../plans/journal.ts';
import { planOf, type QueryName, queries, type Slot, slots, type User, users } from '../plans/plan.ts';
import { isPlanned, Runner, type World } from '../plans/runner.ts';
import { openServer, type TestServer } from './servers.ts';

/** Random plans over real hooks. `tests/plans/plan.ts` has the operations, and `tests/plans/plans.test.ts` the same without React. */

type Config = { user: User; hooks: Partial<Record<Slot, { query: QueryName; isEnabled: boolean }>> };
type Shown = Pick<UseRunEventsReturn, 'phase' | 'events' | 'run' | 'disconnect' | 'reconnect'>;

/** A mounted hook: its unit, and whether it may be called now. */
class Mounted {
  unit: Unit | undefined;
  shown: Shown | undefined;
  #isFollowing = false;
  #isDisconnected = false;

  /** Call in an effect after the hook's own effect. */
  follow(runner: Runner, slot: Slot, query: QueryName, user: User): () => void {
    if (this.unit?.query !== query) this.unit = runner.journal.begin(slot, query, user);
    this.#update({ isFollowing: true });
    return () => this.#update({ isFollowing: false });
  }

  /** Call when another user takes over: the hook starts over. */
  forget(): void {
    this.#isDisconnected = false;
    this.#update({ isFollowing: false });
    this.unit = undefined;
  }

  disconnect(): void {
    this.#isDisconnected = true;
    this.shown?.disconnect();
    this.#update();
  }

  reconnect(): void {
    this.#isDisconnected = false;
    this.#update();
    this.shown?.reconnect();
  }

  #update({ isFollowing = this.#isFollowing } = {}): void {
    this.#isFollowing = isFollowing;
    if (this.unit) this.unit.isActive = isFollowing && !this.#isDisconnected;
  }
}

const inStrictMode = (page: ReactNode) => <StrictMode>{page}</StrictMode>;

/** A page with the hooks of a plan. `show` changes it. */
function openPage(runner: Runner, server: TestServer, tokens: Map<User, string>, isStrict: boolean) {
  const mounted = new Map<Slot, Mounted>();

  function Hook({ slot, query, isEnabled, user }: { slot: Slot; query: QueryName; isEnabled: boolean; user: User }) {
    const [own] = useState(() => new Mounted());
    const hook = useRunEvents({
      ...queries[query](user),
      enabled: isEnabled,
      onGap: (gap) => runner.journal.gap(own.unit, gap),
    });
    const { phase, events, disconnect, reconnect, subscribe, subscribe_category } = hook;
    // Two of the hooks do not use the run.
    const run = slot < 'c' ? hook.run : undefined;
    // biome-ignore lint/correctness/useExhaustiveDependencies: it runs when the user changes.
    useEffect(() => () => own.forget(), [own, user]);
    useEffect(
      () => (isEnabled ? own.follow(runner, slot, query, user) : undefined),
      [own, slot, query, user, isEnabled],
    );
    useEffect(() => {
      mounted.set(slot, own);
      return () => void (mounted.get(slot) === own && mounted.delete(slot));
    }, [own, slot]);
    useEffect(() => {
      own.shown = { phase, events, run, disconnect, reconnect };
    });
    useEffect(
      () => subscribe('stage.progress', (event) => runner.handled(slot, 'type', own.unit, event)),
      [own, slot, subscribe],
    );
    useEffect(
      () => subscribe_category('stage', (event) => runner.handled(slot, 'category', own.unit, event)),
      [own, slot, subscribe_category],
    );
    return null;
  }

  let config: Config = { user: runner.user, hooks: {} };
  let render: (config: Config) => void = () => undefined;
  function Page() {
    const [{ user, hooks }, setConfig] = useState(config);
    render = setConfig;
    return (
      <RunwireProvider url={server.url} token={tokens.get(user)} reconnectDelayMs={1} maxReconnectAttempts={1e9}>
        {slots.map((slot) => {
          const shown = hooks[slot];
          return shown && <Hook key={slot} slot={slot} user={user} {...shown} />;
        })}
      </RunwireProvider>
    );
  }
  const root = createRoot(document.createElement('div'));
  flushSync(() => root.render(isStrict ? inStrictMode(<Page />) : <Page />));
  const show = (change: (before: Config) => Config, isFlushed = true) => {
    config = change(config);
    if (isFlushed) flushSync(() => render(config));
    else render(config);
  };
  return { mounted, show, close: () => root.unmount() };
}

async function runSeed(seed: number) {
  const plan = planOf(seed);
  const runner = new Runner(plan);
  const server = await openServer();
  const tokens = new Map<User, string>();
  for (const user of users) tokens.set(user, await server.tokenOf(user, { projects: [user] }));
  const reported: unknown[] = [];
  vi.stubGlobal('reportError', (error: unknown) => void (isPlanned(error) || reported.push(error)));
  onTestFinished(() => void vi.unstubAllGlobals());
  const { mounted, show, close } = openPage(runner, server, tokens, plan.isStrict);
  onTestFinished(close);
  const world: World = {
    act: (act, isFlushed) => {
      const { slot } = act;
      if (act.act === 'disconnect' || act.act === 'reconnect') return mounted.get(slot)?.[act.act]();
      show(({ user, hooks }) => {
        const before = hooks[slot];
        if (act.act === 'show') {
          return { user, hooks: { ...hooks, [slot]: { query: act.query, isEnabled: before?.isEnabled ?? true } } };
        }
        if (act.act === 'unmount' || !before) return { user, hooks: { ...hooks, [slot]: undefined } };
        return { user, hooks: { ...hooks, [slot]: { ...before, isEnabled: !before.isEnabled } } };
      }, isFlushed);
    },
    resumeAll: () => {
      show(({ user, hooks }) => {
        const enabled = Object.entries(hooks).map(([slot, shown]) => [slot, shown && { ...shown, isEnabled: true }]);
        return { user, hooks: Object.fromEntries(enabled) };
      });
      for (const hook of mounted.values()) hook.reconnect();
    },
    unmountAll: () => show(({ user }) => ({ user, hooks: {} })),
    activeUnits: () => [...mounted.values()].flatMap(({ unit }) => (unit?.isActive ? [unit] : [])),
    differences: async () => {
      const found: string[] = [];
      for (const { unit, shown } of mounted.values()) {
        if (!unit || !shown) continue;
        const { phase, run, events } = shown;
        const restart = unit.entries.category.findLastIndex((entry) => 'gap' in entry);
        const received = unit.entries.category.slice(restart + 1).map((entry) => 'eventId' in entry && entry.eventId);
        if (phase !== 'live') found.push(`${unit}: the phase is ${phase}`);
        if (JSON.stringify(events.map(({ eventId }) => eventId)) !== JSON.stringify(received)) {
          found.push(`${unit}: the state has other events than the handler received`);
        }
        if (!run) continue;
        const { run: expected } = await server.client.run.get.query({ runId: run.runId, projectId: unit.user });
        if (JSON.stringify(run) !== JSON.stringify(expected)) found.push(`${unit}: the run differs from the server's`);
      }
      return found;
    },
    changeUser: async (user) => show(({ hooks }) => ({ user, hooks })),
    frame: () => new Promise((resolve) => requestAnimationFrame(() => resolve())),
    publish: async (drafts) => server.publishInside(...drafts),
    cut: async () => void (await server.cut()),
    away: async () => void (await server.away()),
    back: async () => void (await server.back()),
    replace: async () => void (await server.replace()),
    subscriptionCount: async () => (await server.stats()).subscriptions,
  };
  const problems = await runner.run(world);
  return { problems: [...problems, ...reported.map(String)], delivered: runner.journal.delivered, plan };
}

// `VITE_PLANS` is the number of plans, and `VITE_PLAN_FROM` the seed of the first one.
const { VITE_PLANS = '4', VITE_PLAN_FROM = '1' } = import.meta.env as { [name: string]: string | undefined };
const seeds = Array.from({ length: Number(VITE_PLANS) }, (_, index) => Number(VITE_PLAN_FROM) + index);

test.for(seeds)(
  '[H12] [H14] with real hooks, each handler receives its events once and in order, in the random plan %i',
  async (seed) => {
    const { problems, delivered, plan } = await runSeed(seed);
    if (problems.length > 0) {
      const steps = plan.steps.map((step) => JSON.stringify(step)).join('\n');
      console.error(
        `VITE_PLANS=1 VITE_PLAN_FROM=${seed}, isStrict: ${plan.isStrict}\n${problems.join('\n')}\n${steps}`,
      );
    }
    expect(problems).toEqual([]);
    expect(delivered).toBeGreaterThan(0);
  },
);
