import type { RunEvent, RunEventDraft } from '../../shared/events.ts';
import { Journal, type Unit } from './journal.ts';
import { type Act, type HandlerName, type Plan, type Slot, type Step, slots, type User, users } from './plan.ts';

/** The hooks of a plan, and the server behind them. */
export type World = {
  act(act: Exclude<Act, { act: 'throw' }>, isFlushed: boolean): void;
  /** Enables and connects every mounted hook. */
  resumeAll(): void;
  unmountAll(): void;
  /** The units whose hooks are mounted, enabled and connected. */
  activeUnits(): Unit[];
  /** Compares the states of the hooks with the journal and the server. Returns what differs. */
  differences(): Promise<string[]>;
  changeUser(user: User): Promise<void>;
  frame(): Promise<void>;
  publish(drafts: RunEventDraft[]): Promise<void>;
  cut(): Promise<void>;
  away(): Promise<void>;
  back(): Promise<void>;
  replace(): Promise<void>;
  subscriptionCount(): Promise<number>;
};

type Arm = { left: number; acts: Act[]; isFlushed: boolean };
/** Without a report of a hook for this time, a plan has failed. */
const MAX_WAIT_MS = 60_000;
const plannedError = new Error('thrown by a plan');
/** Errors that plans throw in handlers. Everything else that is reported is a problem. */
export const isPlanned = (error: unknown): boolean => error === plannedError;

/** Runs a plan in a world, and compares what the handlers received with what was published. */
export class Runner {
  readonly journal = new Journal();
  user: User = users[0];
  readonly #plan: Plan;
  readonly #arms = new Map<string, Arm>();
  #world: World | undefined;
  #count = 0;

  constructor(plan: Plan) {
    this.#plan = plan;
  }

  /** The world calls this in each handler. */
  handled(slot: Slot, handler: HandlerName, unit: Unit | undefined, event: RunEvent): void {
    this.journal.receive(unit, handler, event);
    const key = `${slot} ${handler}`;
    const arm = this.#arms.get(key);
    if (!arm) return;
    arm.left--;
    if (arm.left > 0) return;
    this.#arms.delete(key);
    this.#act(arm);
  }

  /** Returns what went wrong. */
  async run(world: World): Promise<string[]> {
    this.#world = world;
    const { journal } = this;
    for (const step of this.#plan.steps) {
      await this.#step(step, world);
      if (journal.problems.length > 0) return journal.problemsOf();
    }
    this.#arms.clear();
    world.resumeAll();
    const late = await this.#settle(world);
    const problems = [...journal.problemsOf(), ...late];
    if (problems.length > 0) return problems;
    const differences: string[] = [];
    const isSame = async () => {
      const found = await world.differences();
      differences.splice(0, differences.length, ...found);
      return found.length === 0;
    };
    if (!(await eventually(isSame))) return differences;
    world.unmountAll();
    if (!(await eventually(async () => (await world.subscriptionCount()) === 0))) return ['a subscription is left'];
    const { delivered } = journal;
    await this.#publish(world, 'r1', 3);
    await world.frame();
    return journal.delivered === delivered ? [] : ['a handler was called after the unmount'];
  }

  #act({ acts, isFlushed }: { acts: Act[]; isFlushed: boolean }): void {
    for (const act of acts) {
      if (act.act === 'throw') throw plannedError;
      this.#world?.act(act, isFlushed);
    }
  }

  async #step(step: Step, world: World): Promise<void> {
    switch (step.step) {
      case 'acts':
        return this.#act({ ...step, acts: step.acts.filter(({ act }) => act !== 'throw') });
      case 'arm':
        return void this.#arms.set(`${step.slot} ${step.handler}`, { ...step, left: step.after });
      case 'publish':
        return this.#publish(world, step.run, step.count);
      case 'cut':
        return world.cut();
      case 'absence':
        await world.away();
        await this.#publish(world, 'r1', step.count);
        return world.back();
      case 'replace':
        await world.replace();
        return this.journal.replaced();
      case 'user':
        this.user = this.user === 'ann' ? 'bob' : 'ann';
        return world.changeUser(this.user);
      case 'frame':
        return world.frame();
      case 'settle': {
        this.journal.problems.push(...(await this.#settle(world)));
      }
    }
  }

  /** Publishes until every active hook has received the last events. Returns the hooks that did not. */
  async #settle(world: World): Promise<string[]> {
    const { journal } = this;
    const missing = () => world.activeUnits().filter((unit) => !journal.isComplete(unit));
    const startedAt = performance.now();
    for (let withinMs = 300; ; withinMs *= 2) {
      // A hook that starts at the end of the log receives events that are published once it is live.
      await this.#publish(world, 'r1', 1);
      await this.#publish(world, 'r2', 1);
      if (await eventually(async () => missing().length === 0, withinMs)) {
        for (const unit of world.activeUnits()) journal.live(unit);
        return [];
      }
      if (performance.now() - startedAt >= MAX_WAIT_MS) break;
    }
    return missing().map((unit) => `${unit}: did not receive the last event`);
  }

  async #publish(world: World, runId: string, count: number): Promise<void> {
    const drafts = Array.from({ length: count }, () => {
      const number = ++this.#count;
      // Each fifth event is of the other user. In a settle, each user has its own last event.
      const projectId = number % 5 === 0 && count > 1 ? this.#other : this.user;
      const rest = { projectId, runId, stageId: `s${number % 3}` };
      const draft: RunEventDraft =
        number % 7 === 0 && count > 1
          ? { type: 'stage.started', ...rest }
          : { type: 'stage.progress', ...rest, progress: number % 101 };
      return this.journal.publishing(draft);
    });
    await world.publish(drafts);
  }

  get #other(): User {
    return this.user === 'ann' ? 'bob' : 'ann';
  }
}

/** Waits until a condition holds. Returns whether it does. */
async function eventually(holds: () => Promise<boolean>, withinMs = MAX_WAIT_MS): Promise<boolean> {
  const startedAt = performance.now();
  while (!(await holds())) {
    if (performance.now() - startedAt > withinMs) return false;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  return true;
}

/** All slots, for a world. */
export const eachSlot = <T>(make: (slot: Slot) => T): Map<Slot, T> => new Map(slots.map((slot) => [slot, make(slot)]));
