import { type ProblemKind, problemKinds } from './checker.ts';
import { YEAR_MS } from './plan.ts';
import type { RoundResult } from './round.ts';

/** Sums over all rounds. */
export class Tally {
  rounds = 0;
  readonly problems = Object.fromEntries(problemKinds.map((kind) => [kind, 0])) as Record<ProblemKind, number>;
  readonly #begun = performance.now();
  readonly #sums: Record<'events' | 'readers' | 'items' | 'gaps' | 'connections', number> = {
    events: 0,
    readers: 0,
    items: 0,
    gaps: 0,
    connections: 0,
  };
  readonly #counts = new Map<string, Map<string, number>>();

  add({ plan, problems, ...result }: RoundResult): void {
    this.rounds++;
    for (const { kind } of problems) this.problems[kind]++;
    this.#sums.events += result.events;
    this.#sums.readers += plan.readers.length;
    this.#sums.items += result.items;
    this.#sums.gaps += result.gaps;
    this.#sums.connections += result.connections;
    this.#count('delivery', plan.delivery);
    for (const { kind } of plan.publishers) this.#count('publishers', kind);
    for (const { kind, conflate } of plan.readers) {
      this.#count('readers', kind);
      if (conflate) this.#count('readers', 'conflating');
    }
    for (const step of plan.steps) {
      if (step.do === 'fault') this.#count('faults', step.fault.kind);
      else if (step.do === 'restart') this.#count('restarts', step.isNewLog ? 'with another log' : step.signal);
      else if (step.do === 'restore') this.#count('restores', step.how);
      else if (step.do === 'clock') this.#count('clock steps', Math.abs(step.stepMs) < YEAR_MS ? 'hours' : 'years');
      else if (step.do === 'trim') this.#count('others', 'trims');
    }
  }

  /** Counts of problems only. */
  get line(): string {
    const found = problemKinds.map((kind) => `${kind} ${this.problems[kind]}`).join(', ');
    return `${this.rounds} rounds, ${Math.round((performance.now() - this.#begun) / 1_000)} s: ${found}`;
  }

  toString(): string {
    const { events, readers, items, gaps, connections } = this.#sums;
    const lines = [...this.#counts].map(
      ([group, counts]) =>
        `  ${group}: ${[...counts]
          .sort()
          .map(([name, count]) => `${name} ${count}`)
          .join(', ')}`,
    );
    return [
      `${this.rounds} rounds: ${events} events, ${readers} readers, ${connections} connections, ${items} items received, ${gaps} of them expected gaps`,
      ...lines,
      this.line,
    ].join('\n');
  }

  #count(group: string, name: string): void {
    const counts = this.#counts.get(group) ?? new Map<string, number>();
    this.#counts.set(group, counts.set(name, (counts.get(name) ?? 0) + 1));
  }
}
