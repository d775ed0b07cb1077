import { randomBytes } from 'node:crypto';
import { constants } from 'node:os';
import { createPublisher, type EventPublisher } from '../../client/publisher/index.ts';
import { RunEventDraftSchema } from '../../shared/events.ts';
import { describeIssue } from '../../shared/issues.ts';
import { readArtifacts } from './artifacts.ts';
import { type Exit, type Running, start } from './child-process.ts';
import { describeError, UsageError } from './errors.ts';
import { EventSender } from './event-sender.ts';
import { idOrFallback, slugOf, uniqueId } from './ids.ts';
import { cut, Latest, toMessage } from './output-lines.ts';
import { type Target, type TargetOptions, targetOf } from './target.ts';

/**
 * `exec` runs commands as the stages of a run, and publishes the events of the run. The commands have priority: a
 * failure to publish neither stops nor delays a command. Phases:
 *
 * 1. Check the arguments.
 * 2. Run the stages in order, each after its approvals.
 * 3. Read the artifacts, and publish the end of the run.
 * 4. Wait for the delivery of the events.
 */

export type ExecOptions = TargetOptions & {
  project: string;
  name: string;
  run?: string;
  label?: Record<string, string>;
  artifact?: string[];
  requireServer?: boolean;
};

/** A stage as given in the arguments. `command` is a command line for the shell, or a program and its arguments. */
export type Step = {
  name: string;
  command: string | readonly string[];
  /** Titles of the approvals that the stage waits for. */
  approvals: readonly string[];
};

type Stage = { stageId: string; name: string; file: string; args: readonly string[]; approvals: readonly string[] };
type Failure = {
  stageId: string | undefined;
  error: { message: string; code: string };
  /** The error message without the command's output. */
  outcome: string;
  exitCode: number;
};

const PROGRESS_INTERVAL_MS = 400;

/** Runs the steps. Resolves with 0, or with the exit code of the stage that failed. */
export async function exec(options: ExecOptions, steps: readonly Step[]): Promise<number> {
  const stages = stagesOf(steps);
  const runId = options.run ?? newRunId(options.name);
  const { project: projectId, name, label: labels } = options;
  const plan = stages.map((stage) => ({ stageId: stage.stageId, name: stage.name }));
  const created = { type: 'run.created' as const, runId, name, stages: plan, ...(labels ? { labels } : {}) };
  requireValid({ ...created, projectId });
  const target = await targetOf(options);
  await checkApprovals(stages, target, projectId, runId);
  await checkServer(target, { projectId, runId }, options.requireServer ?? false);

  const publisher = createPublisher({
    url: target.url,
    token: target.token,
    projectId,
    onPhi: 'redact',
    maxRetryDelayMs: 2_000,
  });
  const sender = new EventSender(publisher);
  const signals = new Signals(() => sender.giveUp());
  const execution = new Execution({ target, publisher, sender, signals, projectId, runId });

  process.stderr.write(`runwire: run ${runId}: ${pageOf(target.url, projectId, runId)}\n`);
  process.stderr.write(
    `runwire: the page shows samples of the output: its last line, at most every ${PROGRESS_INTERVAL_MS} ms\n`,
  );
  sender.send(created);
  sender.send({ type: 'run.started', runId });
  const startedAt = performance.now();
  const startedAtMs = Date.now();
  const failure = await execution.run(stages);
  const durationMs = msSince(startedAt);
  for await (const artifact of readArtifacts(options.artifact ?? [], failure ? startedAtMs : undefined)) {
    sender.send({ type: 'artifact.created', runId, ...artifact });
  }
  if (failure) {
    const { stageId, error, outcome } = failure;
    sender.send(
      { type: 'run.failed', runId, error, durationMs, ...(stageId === undefined ? {} : { stageId }) },
      outcome,
    );
  } else {
    const summary =
      stages.length === 1 ? '1 stage completed, exit code 0' : `${stages.length} stages completed, exit code 0 each`;
    sender.send({ type: 'run.completed', runId, durationMs, summary });
  }

  signals.commandsEnded();
  await sender.finish();
  signals.close();
  sender.report(runId);
  return failure?.exitCode ?? 0;
}

type ExecutionContext = {
  target: Target;
  publisher: EventPublisher;
  sender: EventSender;
  signals: Signals;
  projectId: string;
  runId: string;
};

class Execution {
  readonly #context: ExecutionContext;

  constructor(context: ExecutionContext) {
    this.#context = context;
  }

  /** Runs the stages until one fails, an approval is not granted, or a signal arrives. */
  async run(stages: readonly Stage[]): Promise<Failure | undefined> {
    const { signals } = this.#context;
    for (const stage of stages) {
      for (const title of stage.approvals) {
        const failure = signals.received === undefined ? await this.#waitForApproval(stage, title) : undefined;
        if (failure) return failure;
      }
      const failure =
        signals.received === undefined ? await this.#runStage(stage) : cancelled(signals.received, 0, undefined);
      if (failure) return failure;
    }
    return undefined;
  }

  async #runStage({ stageId, file, args }: Stage): Promise<Failure | undefined> {
    const { sender, signals, runId } = this.#context;
    const latest = new Latest(PROGRESS_INTERVAL_MS, (message) =>
      sender.send({ type: 'stage.progress', runId, stageId, message }),
    );
    sender.send({ type: 'stage.started', runId, stageId });
    const startedAt = performance.now();
    const running = start(file, args, (line) => latest.update(line));
    signals.running = running;
    const exit = await running.ended;
    signals.running = undefined;
    latest.end();
    if (exit.reason !== undefined) process.stderr.write(`runwire: ${file}: ${exit.reason}\n`);
    const failure =
      signals.received === undefined
        ? failureOf(exit, stageId, latest.value)
        : cancelled(signals.received, exit.code, stageId);
    if (failure) sender.send({ type: 'stage.failed', runId, stageId, error: failure.error }, failure.outcome);
    else sender.send({ type: 'stage.completed', runId, stageId, durationMs: msSince(startedAt) });
    return failure;
  }

  async #waitForApproval(stage: Stage, title: string): Promise<Failure | undefined> {
    const { target, publisher, signals, projectId, runId } = this.#context;
    try {
      const { passGate } = await import('./approval-gate.ts');
      const { signal } = signals;
      const { status, decisions } = await passGate({ target, publisher, projectId, runId, stage, title, signal });
      const { decidedBy, reason } = decisions.at(-1) ?? { decidedBy: 'nobody' };
      if (status === 'expired') return notApproved('the approval has expired', 'APPROVAL_EXPIRED');
      if (status !== 'granted')
        return notApproved(`the approval was denied by ${decidedBy}: ${reason}`, 'APPROVAL_DENIED');
      process.stderr.write(`runwire: granted by ${toMessage(decidedBy)}\n`);
      return undefined;
    } catch (error) {
      if (signals.received !== undefined) return cancelled(signals.received, 0, undefined);
      return notApproved(`cannot wait for the approval: ${describeError(error)}`, 'APPROVAL_UNKNOWN');
    }
  }
}

/**
 * Passes the signals of this process on to the running command. The first signal cancels the run. After the last
 * command has ended, a signal ends the delivery of events instead.
 */
class Signals {
  static readonly #names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  running: Running | undefined;
  readonly #giveUp: () => void;
  readonly #abort = new AbortController();
  #received: NodeJS.Signals | undefined;
  #isDelivering = false;

  constructor(giveUp: () => void) {
    this.#giveUp = giveUp;
    for (const name of Signals.#names) process.on(name, this.#onSignal);
  }

  /** The first signal that arrived while commands ran. */
  get received(): NodeJS.Signals | undefined {
    return this.#received;
  }

  /** Aborts at the first signal. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  commandsEnded(): void {
    this.#isDelivering = true;
  }

  close(): void {
    for (const name of Signals.#names) process.off(name, this.#onSignal);
  }

  readonly #onSignal = (name: NodeJS.Signals): void => {
    if (this.#isDelivering) this.#giveUp();
    else this.#received ??= name;
    this.running?.kill(name);
    this.#abort.abort();
  };
}

/** Checks, before any command runs, that the approval requests are valid and the token may read the decisions. */
async function checkApprovals(stages: readonly Stage[], target: Target, projectId: string, runId: string) {
  const gates = stages.flatMap((stage) => stage.approvals.map((title) => ({ stage, title })));
  if (gates.length === 0) return;
  const { requestOf, requireReadable } = await import('./approval-gate.ts');
  for (const gate of gates) requireValid({ ...requestOf({ ...gate, runId }), projectId });
  await requireReadable(target, { projectId, runId });
}

/**
 * Reports at once when the server cannot be reached or refuses the token. If the server is required, waits for the
 * answer and throws; otherwise the commands do not wait.
 */
async function checkServer(
  target: Target,
  run: { projectId: string; runId: string },
  isRequired: boolean,
): Promise<void> {
  const check = import('./call.ts').then(({ serverProblem }) => serverProblem(target, run));
  if (isRequired) {
    const problem = await check;
    if (problem !== undefined) throw new Error(problem);
    return;
  }
  void check.then((problem) => {
    if (problem === undefined) return;
    process.stderr.write(`runwire: ${problem}; the commands run, and their events are sent while they run\n`);
  });
}

/**
 * Makes stages from the steps. The id of a stage is its name, or its number if the PHI guard refuses the name. A digest
 * of the name was rejected: an attacker could find the name by trying likely ones.
 */
function stagesOf(steps: readonly Step[]): Stage[] {
  const taken = new Set<string>();
  return steps.map(({ name, command, approvals }, index) => {
    const stageId = uniqueId(idOrFallback(name, `stage-${index + 1}`), taken);
    if (typeof command === 'string') return { stageId, name, approvals, file: 'sh', args: ['-c', command] };
    const [file = '', ...args] = command;
    return { stageId, name, approvals, file, args };
  });
}

function failureOf({ code, signal, reason }: Exit, stageId: string, lastLine: string | undefined): Failure | undefined {
  if (code === 0) return undefined;
  const outcome = reason ?? (signal === undefined ? `exit code ${code}` : `killed by ${signal}`);
  const message = cut(lastLine === undefined ? outcome : `${outcome}: ${lastLine}`);
  return { stageId, error: { message, code: signal ?? `EXIT_${code}` }, outcome, exitCode: code };
}

function cancelled(signal: NodeJS.Signals, code: number, stageId: string | undefined): Failure {
  const outcome = `cancelled by ${signal}`;
  return {
    stageId,
    error: { message: outcome, code: 'CANCELLED' },
    outcome,
    exitCode: code === 0 ? 128 + constants.signals[signal] : code,
  };
}

/** A failure without a stage: the stage has not started, so only the run fails. */
function notApproved(message: string, code: string): Failure {
  process.stderr.write(`runwire: ${toMessage(message)}\n`);
  return { stageId: undefined, error: { message: cut(message), code }, outcome: 'not approved', exitCode: 1 };
}

/** Throws a {@link UsageError} that names the option of the first wrong field. */
function requireValid(draft: object): void {
  const parsed = RunEventDraftSchema.safeParse(draft);
  const [first] = parsed.error?.issues ?? [];
  if (!first) return;
  const { path, message } = describeIssue(first);
  const [field = ''] = path.split('.');
  const optionOf: Record<string, string> = {
    projectId: 'project',
    runId: 'run',
    labels: 'label',
    stages: 'stage',
    title: 'approve',
  };
  throw new UsageError(`--${optionOf[field] ?? field}: ${message}`);
}

const msSince = (startedAt: number): number => Math.round(performance.now() - startedAt);

const pageOf = (url: string, projectId: string, runId: string): string =>
  new URL(`/runs/${encodeURIComponent(projectId)}/${encodeURIComponent(runId)}`, url).href;

/** Returns an id such as `build-all-20250131-142501-3fa9`. */
function newRunId(name: string): string {
  const [day = '', time = ''] = new Date().toISOString().replaceAll(/[-:]/g, '').split(/[T.]/);
  const unique = `${day}-${time}-${randomBytes(2).toString('hex')}`;
  return idOrFallback(`${slugOf(name) || 'run'}-${unique}`, `run-${unique}`);
}
