import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { constants } from 'node:os';
import { basename } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createPublisher, type PublisherDraft } from '../../client/publisher/index.ts';
import type { RunwireError } from '../../shared/errors.ts';
import { RunEventDraftSchema } from '../../shared/events.ts';
import { describeIssue } from '../../shared/issues.ts';
import { publishWithholding } from '../phi/withhold.ts';
import { type Exit, type Running, start } from './child-process.ts';
import { describeError, UsageError } from './errors.ts';
import { idOrFallback, slugOf } from './ids.ts';
import { cut, Latest, toMessage } from './output-lines.ts';
import { type TargetOptions, targetOf } from './target.ts';

/** Runs real commands as a run: they come first, and telling of them must neither fail nor hold them up. */

export type ExecOptions = TargetOptions & {
  project: string;
  name: string;
  run?: string;
  label?: Record<string, string>;
  artifact?: string[];
};

/** A stage as given: a shell's command line, or a command and its arguments. */
export type Step = {
  name: string;
  command: string | readonly string[];
  /** Titles of approvals that it waits for. */
  approvals: readonly string[];
};

type Stage = { stageId: string; name: string; file: string; args: readonly string[]; approvals: readonly string[] };
/** How a run failed. */
type Failure = {
  stageId: string | undefined;
  error: { message: string; code: string };
  /** The message without what the command said. */
  outcome: string;
  exitCode: number;
};

/** Where the run is to be seen. */
const pageOf = (url: string, projectId: string, runId: string): string =>
  new URL(`/runs/${encodeURIComponent(projectId)}/${encodeURIComponent(runId)}`, url).href;

const PROGRESS_INTERVAL_MS = 400;
/** How long the events are waited for once the commands have ended. */
const DELIVERY_WAIT_MS = 5_000;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Resolves with the exit code of the commands. */
export async function exec(options: ExecOptions, steps: readonly Step[]): Promise<number> {
  const stages = stagesOf(steps);
  const runId = options.run ?? newRunId(options.name);
  const { project: projectId, name, label: labels } = options;
  const plan = stages.map((stage) => ({ stageId: stage.stageId, name: stage.name }));
  const created = { type: 'run.created' as const, runId, name, stages: plan, ...(labels ? { labels } : {}) };
  demandValid({ ...created, projectId });
  const target = targetOf(options);
  const gates = stages.flatMap((stage) => stage.approvals.map((title) => ({ stage, title })));
  if (gates.length > 0) {
    const { demandReadable, requestOf } = await import('./approval-gate.ts');
    for (const gate of gates) demandValid({ ...requestOf({ ...gate, runId }), projectId });
    await demandReadable(target, projectId);
  }
  const publisher = createPublisher({ ...target, projectId, onPhi: 'redact', maxRetryDelayMs: 2_000 });
  const undelivered = new Tally();
  const withheld = new Tally();
  const sending = new Set<Promise<void>>();
  const send = (draft: PublisherDraft, outcome?: string): void => {
    // Sent again, it still happened now.
    const sent = deliver({ timestamp: new Date().toISOString(), ...draft }, outcome).finally(() =>
      sending.delete(sent),
    );
    sending.add(sent);
  };
  const deliver = async (draft: PublisherDraft, outcome: string | undefined): Promise<void> => {
    try {
      await publishWithholding([draft], (drafts) => publisher.publish(drafts), outcome);
    } catch (caught) {
      const error = caught as RunwireError;
      const isOutput = error.code === 'PHI_REJECTED' && error.issues[0]?.path === 'message';
      (isOutput ? withheld : undelivered).add(describeError(error));
    }
  };

  let running: Running | undefined;
  let cancelledBy: NodeJS.Signals | undefined;
  let isDelivering = false;
  const waiting = new AbortController();
  const onSignal = (signal: NodeJS.Signals) => {
    if (isDelivering) void publisher.close(0);
    else cancelledBy ??= signal;
    running?.kill(signal);
    waiting.abort();
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);

  const runStage = async ({ stageId, file, args }: Stage): Promise<Failure | undefined> => {
    const latest = new Latest(PROGRESS_INTERVAL_MS, (message) =>
      send({ type: 'stage.progress', runId, stageId, message }),
    );
    send({ type: 'stage.started', runId, stageId });
    const startedAt = performance.now();
    running = start(file, args, (line) => latest.tell(line));
    const exit = await running.ended;
    running = undefined;
    latest.end();
    if (exit.reason !== undefined) process.stderr.write(`runwire: ${file}: ${exit.reason}\n`);
    const failure = cancelledBy === undefined ? failureOf(exit, stageId, latest.value) : cancelled(exit, stageId);
    if (failure) send({ type: 'stage.failed', runId, stageId, error: failure.error }, failure.outcome);
    else send({ type: 'stage.completed', runId, stageId, durationMs: since(startedAt) });
    return failure;
  };
  /** Before a stage, which has not begun: nothing of it has failed. */
  const waitFor = async (stage: Stage, title: string): Promise<Failure | undefined> => {
    const closed = (message: string, code: string): Failure => {
      process.stderr.write(`runwire: ${toMessage(message)}\n`);
      return { stageId: undefined, error: { message: cut(message), code }, outcome: 'not approved', exitCode: 1 };
    };
    try {
      const { passGate } = await import('./approval-gate.ts');
      const { signal } = waiting;
      const { status, decisions } = await passGate({ target, publisher, projectId, runId, stage, title, signal });
      const { decidedBy, reason } = decisions.at(-1) ?? { decidedBy: 'nobody' };
      if (status === 'expired') return closed('the approval has expired', 'APPROVAL_EXPIRED');
      if (status !== 'granted') return closed(`the approval was denied by ${decidedBy}: ${reason}`, 'APPROVAL_DENIED');
      process.stderr.write(`runwire: granted by ${toMessage(decidedBy)}\n`);
      return undefined;
    } catch (error) {
      if (cancelledBy !== undefined) return cancelled({ code: 0 }, undefined);
      return closed(`the approval cannot be waited for: ${describeError(error)}`, 'APPROVAL_UNKNOWN');
    }
  };
  const cancelled = ({ code }: Exit, stageId: string | undefined): Failure => {
    const signal = cancelledBy as NodeJS.Signals;
    const outcome = `cancelled by ${signal}`;
    return {
      stageId,
      error: { message: outcome, code: 'CANCELLED' },
      outcome,
      exitCode: code === 0 ? 128 + constants.signals[signal] : code,
    };
  };

  // To a person; a script has commands of its own to listen to.
  if (process.stderr.isTTY) process.stderr.write(`runwire: ${pageOf(target.url, projectId, runId)}\n`);
  send(created);
  send({ type: 'run.started', runId });
  const startedAt = performance.now();
  const startedAtMs = Date.now();
  let failure: Failure | undefined;
  for (const stage of stages) {
    const { approvals } = stage;
    for (const title of approvals) failure ??= cancelledBy === undefined ? await waitFor(stage, title) : undefined;
    failure ??= cancelledBy === undefined ? await runStage(stage) : cancelled({ code: 0 }, undefined);
    if (failure) break;
  }
  const durationMs = since(startedAt);
  for await (const artifact of artifactsOf(options.artifact ?? [], failure ? startedAtMs : undefined)) {
    send({ type: 'artifact.created', runId, ...artifact });
  }
  if (failure) {
    const { stageId, error, outcome } = failure;
    send({ type: 'run.failed', runId, error, durationMs, ...(stageId === undefined ? {} : { stageId }) }, outcome);
  } else {
    const summary =
      stages.length === 1 ? '1 stage completed, exit code 0' : `${stages.length} stages completed, exit code 0 each`;
    send({ type: 'run.completed', runId, durationMs, summary });
  }

  isDelivering = true;
  void publisher.flush();
  const patience = setTimeout(() => void publisher.close(0), DELIVERY_WAIT_MS);
  // What was refused may go out a second time, so the publisher is not closed before.
  await Promise.all(sending);
  clearTimeout(patience);
  for (const signal of SIGNALS) process.off(signal, onSignal);
  const { count, reason } = undelivered;
  if (count > 0) {
    const events = count === 1 ? '1 event' : `${count} events`;
    process.stderr.write(`runwire: ${events} of run ${runId} could not be delivered: ${reason}\n`);
  }
  if (withheld.count > 0) {
    process.stderr.write(`runwire: output of run ${runId} was withheld from its progress: ${withheld.reason}\n`);
  }
  return failure?.exitCode ?? 0;
}

/** How often something went wrong, and why it did at first. */
class Tally {
  count = 0;
  reason: string | undefined;

  add(reason: string): void {
    this.count++;
    this.reason ??= reason;
  }
}

/** By its place where its name would give someone away: a digest of the name could be tried out. */
function stagesOf(steps: readonly Step[]): Stage[] {
  const taken = new Set<string>();
  return steps.map(({ name, command, approvals }, index) => {
    const stageId = unused(idOrFallback(name, `stage-${index + 1}`), taken);
    if (typeof command === 'string') return { stageId, name, approvals, file: 'sh', args: ['-c', command] };
    const [file = '', ...args] = command;
    return { stageId, name, approvals, file, args };
  });
}

function failureOf({ code, signal, reason }: Exit, stageId: string, lastLine: string | undefined): Failure | undefined {
  if (code === 0) return undefined;
  const what = reason ?? (signal === undefined ? `exit code ${code}` : `killed by ${signal}`);
  const message = cut(lastLine === undefined ? what : `${what}: ${lastLine}`);
  return { stageId, error: { message, code: signal ?? `EXIT_${code}` }, outcome: what, exitCode: code };
}

/** Wrong values are wrong usage, and known before anything has been run. */
function demandValid(created: object): void {
  const parsed = RunEventDraftSchema.safeParse(created);
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

const since = (startedAt: number): number => Math.round(performance.now() - startedAt);

/** As `build-all-20250131-142501-3fa9`. */
function newRunId(name: string): string {
  const [day = '', time = ''] = new Date().toISOString().replaceAll(/[-:]/g, '').split(/[T.]/);
  const unique = `${day}-${time}-${randomBytes(2).toString('hex')}`;
  return idOrFallback(`${slugOf(name) || 'run'}-${unique}`, `run-${unique}`);
}

/** The name, or with a number behind it what has not been taken; takes it. */
function unused(name: string, taken: Set<string>): string {
  let id = name;
  for (let number = 2; taken.has(id); number++) id = `${name}-${number}`;
  taken.add(id);
  return id;
}

/**
 * The files that a run has made. Names only: a whole path tells of users and machines. When the run failed, those that
 * are older than it, or missing, are not its work and go without saying.
 */
async function* artifactsOf(paths: readonly string[], failedRunStartedAtMs: number | undefined) {
  const taken = new Set<string>();
  for (const [index, path] of paths.entries()) {
    const name = basename(path);
    try {
      const entry = await stat(path);
      if (!entry.isFile()) throw new Error('not a file');
      // File systems may count in whole seconds.
      if (failedRunStartedAtMs !== undefined && entry.mtimeMs < Math.floor(failedRunStartedAtMs / 1_000) * 1_000)
        continue;
      const hash = createHash('sha256');
      await pipeline(createReadStream(path), hash);
      const artifactId = unused(idOrFallback(name, `artifact-${index + 1}`), taken);
      yield { artifactId, name, sizeBytes: entry.size, sha256: hash.digest('hex') };
    } catch (error) {
      if (failedRunStartedAtMs !== undefined) continue;
      const { code, message } = error as NodeJS.ErrnoException;
      process.stderr.write(`runwire: artifact ${path}: ${code ?? message}\n`);
    }
  }
}
