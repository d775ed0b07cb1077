import { createRunwireClient, type Runwire, type RunwireClient } from '../../client/index.ts';
import { RunwireError } from '../../shared/errors.ts';
import type { RunEvent } from '../../shared/events.ts';
import { isSignal, type StreamSignal } from '../../shared/protocol.ts';
import { BackpressureSocket } from './backpressure.ts';
import { webSocketOf } from './call.ts';
import { serverErrorOf, UsageError } from './errors.ts';
import { lineOf, safeJson } from './format.ts';
import { type TargetOptions, targetOf } from './target.ts';

export type TailOptions = TargetOptions & {
  run?: string;
  project?: string;
  from: 'now' | 'start';
  json?: boolean;
  untilEnd?: boolean;
};

/** Delay before a failed query for the run is sent again. */
const RETRY_MS = 1_000;

/**
 * Prints each event once, in order, until the process is stopped, or with `--until-end` until the run has ended.
 * Resolves with the exit code.
 */
export async function tail(options: TailOptions): Promise<number> {
  if (options.untilEnd && options.run === undefined) throw new UsageError('--until-end needs --run');
  const target = await targetOf(options);
  const output = new BackpressureSocket(process.stdout, webSocketOf(target));
  const { client, connection } = createRunwireClient({
    ...target,
    WebSocket: output.WebSocket,
    maxReconnectAttempts: Number.POSITIVE_INFINITY,
    reconnectDelayMs: 250,
    maxReconnectDelayMs: 5_000,
  });
  const code = await new Promise<number>((resolve, reject) => {
    new Tail({ options, url: target.url, client, connection, output, resolve, reject }).start();
  });
  await output.flushed();
  return code;
}

type TailContext = Runwire & {
  options: TailOptions;
  url: string;
  output: BackpressureSocket;
  resolve: (code: number) => void;
  reject: (error: unknown) => void;
};

/** One subscription and its output. It ends once: it calls `resolve` with an exit code, or `reject` with an error. */
class Tail {
  readonly #context: TailContext;
  #isLive = false;
  #hasEnded = false;
  #isDown = false;
  #wasConnected = false;
  /** Set once the server reports that the run has ended. The tail ends when it has printed the events up to `seq`. */
  #end: { seq: number; code: number } | undefined;

  constructor(context: TailContext) {
    this.#context = context;
  }

  start(): void {
    const { connection } = this.#context;
    connection.subscribe(() => this.#onConnection());
    this.#subscribe();
  }

  #subscribe(): void {
    const { client, options } = this.#context;
    const { run: runId, project: projectId, from } = options;
    const observer = {
      onData: ({ data }: { data: RunEvent | StreamSignal }) => {
        if (this.#hasEnded) return;
        if (isSignal(data)) this.#onSignal(data);
        else this.#onEvent(data);
      },
      onError: (error: unknown) => this.#fail(serverErrorOf(error)),
      onComplete: () => this.#fail(new RunwireError('UNAVAILABLE', 'the server ended the subscription')),
    };
    if (runId !== undefined) client.onRunEvent.subscribe({ ...runOf(options, runId), from }, observer);
    else if (projectId !== undefined) client.onProjectEvent.subscribe({ projectId, from }, observer);
    else client.onEvent.subscribe({ from }, observer);
  }

  #onEvent(event: RunEvent): void {
    const { options, output } = this.#context;
    output.write(`${options.json ? safeJson(event) : lineOf(event, options.run === undefined)}\n`);
    if (!options.untilEnd) return;
    if (this.#isLive && event.type === 'run.completed') this.#finish(0);
    else if (this.#isLive && event.type === 'run.failed') this.#finish(1);
    else if (this.#end && event.seq >= this.#end.seq) this.#finish(this.#end.code);
  }

  #onSignal(signal: StreamSignal): void {
    const { options } = this.#context;
    const wasLive = this.#isLive;
    this.#isLive = signal.type === 'stream.live';
    if (options.json) process.stderr.write(`${safeJson(signal)}\n`);
    else if (signal.type === 'stream.gap')
      note(`gap (${signal.reason}): events ${signal.fromSeq} to ${signal.toSeq} cannot be delivered`);
    else if (!wasLive) note(`live at ${signal.seq}`);
    if (signal.type === 'stream.live' && options.untilEnd) void this.#checkEnd(signal.seq);
  }

  /** Queries whether the run has ended already: with `--from now`, the last event of the run may not be delivered. */
  async #checkEnd(seenSeq: number): Promise<void> {
    const { client, options } = this.#context;
    try {
      this.#end = await endOf(client, options);
    } catch (error) {
      if (serverErrorOf(error).code === 'RUN_NOT_FOUND' || this.#hasEnded) return;
      setTimeout(() => void this.#checkEnd(seenSeq), RETRY_MS);
    }
    if (this.#end && seenSeq >= this.#end.seq) this.#finish(this.#end.code);
  }

  #onConnection(): void {
    if (this.#hasEnded) return;
    const { connection, url } = this.#context;
    const { state, error } = connection.getStatus();
    if (state === 'failed') this.#fail(error ?? new RunwireError('UNAVAILABLE', 'the connection failed'));
    else if (state === 'reconnecting' && error && !this.#isDown) {
      this.#isDown = true;
      this.#isLive = false;
      const code = error instanceof RunwireError ? error.code : 'INTERNAL';
      const isServer = this.#wasConnected || code !== 'UNAVAILABLE';
      // After a refused token, the client tries once more with a fresh token. A second refusal is final.
      const retry = code === 'UNAUTHENTICATED' ? 'trying again once' : 'trying again';
      note(`${isServer ? error.message : `cannot connect to ${url}`}; ${retry}`);
    } else if (state === 'connected') {
      if (this.#isDown) note(this.#wasConnected ? 'reconnected' : 'connected');
      this.#isDown = false;
      this.#wasConnected = true;
    }
  }

  #finish(code: number): void {
    this.#hasEnded = true;
    this.#context.resolve(code);
  }

  #fail(error: unknown): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#context.reject(error);
  }
}

const note = (text: string) => process.stderr.write(`runwire: ${text}\n`);

const runOf = ({ project: projectId }: TailOptions, runId: string) =>
  projectId === undefined ? { runId } : { runId, projectId };

async function endOf(client: RunwireClient, options: TailOptions) {
  const { run } = await client.run.get.query(runOf(options, options.run ?? ''));
  if (run.status !== 'completed' && run.status !== 'failed') return undefined;
  return { seq: run.lastSeq, code: run.status === 'completed' ? 0 : 1 };
}
