import type { Logger } from 'pino';

/** What does not work: the text for operators, without a value of a client, and the file and the error for the log. */
export type Problem = { message: string; path?: string | undefined; err?: unknown };

type Condition = {
  /** Undefined while the condition is met. */
  problem: Problem | undefined;
  /** Time of the last line in the log about a problem. */
  loggedAt: number;
  /** Reports since that line. */
  reports: number;
  /** Whether the present problem has a line. Without one, its end gets none either. */
  isLogged: boolean;
};

/** Time between two log lines about the same condition. */
const LOG_INTERVAL_MS = 60_000;

/**
 * The conditions that the server needs in order to work, by short fixed names (`commit`, `clock`, …). `/readyz` answers 503
 * while one has a problem. The log gets a line at the first report, at most one line a minute while the problem lasts, and a
 * line when it has ended.
 */
export class Health {
  readonly #logger: Logger;
  readonly #now: () => number;
  readonly #conditions = new Map<string, Condition>();

  constructor(logger: Logger, now: () => number = () => performance.now()) {
    this.#logger = logger;
    this.#now = now;
  }

  /** The present problems: condition and message. */
  get problems(): ReadonlyMap<string, string> {
    const problems = new Map<string, string>();
    for (const [name, { problem }] of this.#conditions) if (problem) problems.set(name, problem.message);
    return problems;
  }

  /** Every condition that was ever reported, and whether it has a problem. */
  *states(): Iterable<readonly [condition: string, hasProblem: boolean]> {
    for (const [name, { problem }] of this.#conditions) yield [name, problem !== undefined];
  }

  /** Reports a problem, or with undefined that the condition is met. */
  report(name: string, problem: Problem | undefined): void {
    let condition = this.#conditions.get(name);
    if (!condition) {
      condition = { problem: undefined, loggedAt: Number.NEGATIVE_INFINITY, reports: 0, isLogged: false };
      this.#conditions.set(name, condition);
    }
    const before = condition.problem;
    condition.problem = problem;
    if (problem) {
      condition.reports++;
      const now = this.#now();
      if (now - condition.loggedAt < LOG_INTERVAL_MS) return;
      const { message, ...cause } = problem;
      this.#logger.error({ condition: name, reports: condition.reports, ...cause }, message);
      Object.assign(condition, { loggedAt: now, reports: 0, isLogged: true });
    } else if (before && condition.isLogged) {
      condition.isLogged = false;
      this.#logger.warn({ condition: name, path: before.path }, `works again: ${before.message}`);
    }
  }
}
