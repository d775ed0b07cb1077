import type { Logger } from 'pino';

/**
 * What does not work: the text for operators, without a value of a client, and the file and the error for the log.
 * `isWarning`: the server works without it, and is ready.
 */
export type Problem = { message: string; path?: string | undefined; err?: unknown; isWarning?: boolean };

/**
 * `reports`: the reports since the line. `isOpen`: the line is about the present problem. A problem without a line gets none at
 * its end either.
 */
type Line = { loggedAt: number; reports: number; isOpen: boolean };

/** Time between two log lines about the same condition. */
const LOG_INTERVAL_MS = 60_000;

/**
 * The conditions that the server needs in order to work, by short fixed names (`commit`, `clock`, …). `/readyz` answers 503
 * while one has a problem other than a warning. The log gets a line at the first report, at most one line a minute while the problem lasts, and a
 * line when it has ended.
 */
export class Health {
  readonly #logger: Logger;
  readonly #now: () => number;
  /** The problem of each condition that was ever reported; undefined while the condition is met. */
  readonly #states = new Map<string, Problem | undefined>();
  /** The last line about each condition or failure. */
  readonly #lines = new Map<string, Line>();

  constructor(logger: Logger, now: () => number = () => performance.now()) {
    this.#logger = logger;
    this.#now = now;
  }

  /** The present problems other than warnings: condition and message. */
  get problems(): ReadonlyMap<string, string> {
    const problems = new Map<string, string>();
    for (const [name, problem] of this.#states) if (problem && !problem.isWarning) problems.set(name, problem.message);
    return problems;
  }

  /** Every condition that was ever reported, and whether it has a problem. */
  *states(): Iterable<readonly [condition: string, hasProblem: boolean]> {
    for (const [name, problem] of this.#states) yield [name, problem !== undefined];
  }

  /** Reports a problem, or with undefined that the condition is met. */
  report(condition: string, problem: Problem | undefined): void {
    const before = this.#states.get(condition);
    this.#states.set(condition, problem);
    if (problem) {
      const { message, isWarning: _, ...cause } = problem;
      this.#log(condition, { condition, ...cause }, message);
    } else if (before && this.#lines.get(condition)?.isOpen) {
      (this.#lines.get(condition) as Line).isOpen = false;
      this.#logger.warn({ condition, path: before.path }, `the problem is over: ${before.message}`);
    }
  }

  /**
   * Logs a failure that is no lasting condition, at most once a minute for each place in the code. `message` is a fixed text.
   */
  note(message: string, cause: Omit<Problem, 'message'> & { procedure?: string; type?: string; code?: string }): void {
    this.#log(`${message} ${placeOf(cause.err)}`, cause, message);
  }

  #log(key: string, cause: object, message: string): void {
    const line = this.#lines.get(key) ?? { loggedAt: Number.NEGATIVE_INFINITY, reports: 0, isOpen: false };
    this.#lines.set(key, line);
    line.reports++;
    const now = this.#now();
    if (now - line.loggedAt < LOG_INTERVAL_MS) return;
    this.#logger.error({ ...cause, reports: line.reports }, message);
    this.#lines.set(key, { loggedAt: now, reports: 0, isOpen: true });
  }
}

/** Returns the first place of an error's stack, after its message: places are bounded in number, messages are not. */
function placeOf(err: unknown): string {
  let error = err;
  while (error instanceof Error && error.cause instanceof Error) error = error.cause;
  if (!(error instanceof Error)) return '';
  const { message, stack = '' } = error;
  return stack.slice(stack.indexOf(message) + message.length).match(/^ +at .*/m)?.[0] ?? '';
}
