import type { RunFeedQuery } from '../../client/feeds/query.ts';
import { Dice } from '../chaos/random.ts';

/**
 * Random plans: operations on several hooks of one page, from outside and from within their handlers, together with faults of
 * the connection, of the server and a change of the user. A seed always gives the same plan. `world.ts` runs a plan.
 */

export const slots = ['a', 'b', 'c', 'd'] as const;
/** A place on the page for one hook. */
export type Slot = (typeof slots)[number];
export const users = ['ann', 'bob'] as const;
/** A user reads the project of the same name, and no other. */
export type User = (typeof users)[number];
export const runs = ['r1', 'r2'] as const;
export type Run = (typeof runs)[number];

/** The queries. Most hooks have the first one, so that they share a subscription. */
export const queries = {
  run: () => ({ runId: 'r1' }),
  start: () => ({ runId: 'r1', from: 'start' }),
  other: () => ({ runId: 'r2' }),
  project: (user) => ({ projectId: user }),
  types: () => ({ runId: 'r1', types: ['stage.progress'] }),
  all: () => ({ scope: 'all', from: 'start' }),
} satisfies { [name: string]: (user: User) => RunFeedQuery };
export type QueryName = keyof typeof queries;
const queryNames: QueryName[] = ['run', 'run', 'run', 'run', 'start', 'start', 'other', 'project', 'types', 'all'];

/** An operation of one task. `show` mounts a hook with a query, or switches a mounted one to it. */
export type Act =
  | { act: 'show'; slot: Slot; query: QueryName }
  | { act: 'unmount' | 'toggle' | 'disconnect' | 'reconnect'; slot: Slot }
  | { act: 'throw' };

/** The two handlers of each hook: one for a type, and, called after it, one for the categories. */
export type HandlerName = 'type' | 'category';

export type Step =
  /** All acts happen in one task. With `isFlushed`, React renders after each. */
  | { step: 'acts'; acts: Act[]; isFlushed: boolean }
  /** The handler does the acts when it is called for the `after`-th time from now. */
  | { step: 'arm'; slot: Slot; handler: HandlerName; after: number; acts: Act[]; isFlushed: boolean }
  | { step: 'publish'; run: Run; count: number }
  /** The socket is lost. */
  | { step: 'cut' }
  /** The server is away while events are published. */
  | { step: 'absence'; count: number }
  /** The server has another log. */
  | { step: 'replace' }
  /** Another user takes over. */
  | { step: 'user' }
  /** Waits for a frame, or until every connected hook has received everything. */
  | { step: 'frame' | 'settle' };

export type Plan = { seed: number; isStrict: boolean; steps: Step[] };

function actOf(dice: Dice): Act {
  const slot = dice.pick(slots);
  const act = dice.pick([
    ...['show', 'show', 'unmount', 'toggle', 'disconnect', 'disconnect', 'disconnect'],
    ...['reconnect', 'reconnect', 'reconnect', 'reconnect', 'throw'],
  ] as const);
  if (act === 'throw') return { act };
  return act === 'show' ? { act, slot, query: dice.pick(queryNames) } : { act, slot };
}

function actsOf(dice: Dice): Act[] {
  // All hooks leave, or come back, in the same task.
  if (dice.chance(0.3)) return onAll(dice, dice.pick(['disconnect', 'reconnect', 'reconnect']));
  return dice.list(dice.between(1, 3), () => actOf(dice));
}

function onAll(dice: Dice, act: 'disconnect' | 'reconnect'): Act[] {
  const order = slots.map((slot) => ({ slot, at: dice.between(1, 1_000) })).sort((one, other) => one.at - other.at);
  return order.map(({ slot }) => ({ act, slot }));
}

/** All hooks leave at different events and come back together. */
function pausesOf(dice: Dice): Step[] {
  const pauses = onAll(dice, 'disconnect').flatMap((act): Step[] => [
    { step: 'acts', acts: [act], isFlushed: false },
    { step: 'publish', run: 'r1', count: dice.between(1, 4) },
    { step: 'frame' },
  ]);
  return [{ step: 'settle' }, ...pauses, { step: 'acts', acts: onAll(dice, 'reconnect'), isFlushed: false }];
}

function stepOf(dice: Dice): Step {
  const number = dice.between(1, 100);
  const isFlushed = dice.chance(0.5);
  if (number <= 25) return { step: 'acts', acts: actsOf(dice), isFlushed };
  if (number <= 50) {
    const [slot, handler] = [dice.pick(slots), dice.pick(['type', 'category'] as const)];
    return { step: 'arm', slot, handler, after: dice.between(1, 4), acts: actsOf(dice), isFlushed };
  }
  if (number <= 80) return { step: 'publish', run: dice.pick(['r1', 'r1', 'r1', 'r2']), count: dice.between(1, 6) };
  if (number <= 84) return { step: 'cut' };
  if (number <= 86) return { step: 'absence', count: dice.between(1, 10) };
  if (number <= 87) return { step: 'replace' };
  if (number <= 88) return { step: 'user' };
  return { step: number <= 94 ? 'frame' : 'settle' };
}

/** Number of random steps in a plan. */
const STEPS = 60;

/** Returns the plan of a seed. `isOneUser`: no other user takes over. */
export function planOf(seed: number, { isOneUser = false } = {}): Plan {
  const dice = new Dice(seed);
  const mounts: Act[] = slots.map((slot) => ({ act: 'show', slot, query: dice.pick(queryNames) }));
  const first: Step[] = [{ step: 'acts', acts: mounts, isFlushed: false }, { step: 'settle' }];
  const isStrict = dice.chance(0.5);
  const steps = [...first, ...dice.list(STEPS, () => (dice.chance(0.04) ? pausesOf(dice) : [stepOf(dice)])).flat()];
  return { seed, isStrict, steps: isOneUser ? steps.filter(({ step }) => step !== 'user') : steps };
}
