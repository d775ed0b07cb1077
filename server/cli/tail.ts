import { WebSocket } from 'ws';
import { createRunwireClient, type RunwireClient, type WebSocketClass } from '../../client/index.ts';
import { RunwireError } from '../../shared/errors.ts';
import type { RunEvent } from '../../shared/events.ts';
import { isSignal, type StreamSignal } from '../../shared/protocol.ts';
import { refusalOf, UsageError } from './errors.ts';
import { lineOf, safeJson } from './format.ts';
import { type TargetOptions, targetOf } from './target.ts';

/**
 * Prints events as they come: each once, in order, for as long as it takes. What the terminal or the pipe has not taken
 * is not asked for: the socket is paused, the server stops reading for it, and nothing piles up on either side.
 */

export type TailOptions = TargetOptions & {
  run?: string;
  project?: string;
  from: 'now' | 'start';
  json?: boolean;
  untilEnd?: boolean;
};

/** A question about the run that failed is asked again after so long. */
const RETRY_MS = 1_000;

type Item = RunEvent | StreamSignal;
type Observer = {
  onData(item: { id: string; data: Item }): void;
  onError(error: unknown): void;
  onComplete(): void;
};

/** Resolves with the exit code, when there is one: without `--until-end` it does not end by itself. */
export async function tail(options: TailOptions): Promise<number> {
  if (options.untilEnd && options.run === undefined) throw new UsageError('--until-end needs --run');
  const target = targetOf(options);
  const valve = new BackpressureSocket(process.stdout);
  const { client, connection } = createRunwireClient({
    ...target,
    WebSocket: valve.WebSocket,
    maxReconnectAttempts: Number.POSITIVE_INFINITY,
    reconnectDelayMs: 250,
    maxReconnectDelayMs: 5_000,
  });
  const note = (text: string) => process.stderr.write(`runwire: ${text}\n`);

  const code = await new Promise<number>((resolve, reject) => {
    let isLive = false;
    let hasEnded = false;
    let isDown = false;
    let wasConnected = false;
    /** Set once it is known that the run has ended: when its events up to here have been printed, that is all. */
    let end: { seq: number; code: number } | undefined;
    const finish = (exitCode: number) => {
      hasEnded = true;
      resolve(exitCode);
    };
    const fail = (error: unknown) => {
      hasEnded = true;
      reject(error);
    };

    const onEvent = (event: RunEvent) => {
      valve.write(`${options.json ? safeJson(event) : lineOf(event, options.run === undefined)}\n`);
      if (!options.untilEnd) return;
      if (isLive && event.type === 'run.completed') finish(0);
      else if (isLive && event.type === 'run.failed') finish(1);
      else if (end && event.seq >= end.seq) finish(end.code);
    };
    const onSignal = (signal: StreamSignal) => {
      const wasLive = isLive;
      isLive = signal.type === 'stream.live';
      if (options.json) process.stderr.write(`${safeJson(signal)}\n`);
      else if (signal.type === 'stream.gap')
        note(`gap (${signal.reason}): ${signal.fromSeq} to ${signal.toSeq} are not to be had`);
      else if (!wasLive) note(`live at ${signal.seq}`);
      if (signal.type === 'stream.live' && options.untilEnd) void lookForEnd(signal.seq);
    };
    // The end may have come before we did.
    const lookForEnd = async (seenTo: number): Promise<void> => {
      try {
        end = await endOf(client, options);
      } catch (error) {
        if (refusalOf(error).code === 'RUN_NOT_FOUND' || hasEnded) return;
        setTimeout(() => void lookForEnd(seenTo), RETRY_MS);
      }
      if (end && seenTo >= end.seq) finish(end.code);
    };

    const observer: Observer = {
      onData: ({ data }) => {
        if (hasEnded) return;
        if (isSignal(data)) onSignal(data);
        else onEvent(data);
      },
      onError: (error) => {
        if (!hasEnded) fail(refusalOf(error));
      },
      onComplete: () => {
        if (!hasEnded) fail(new RunwireError('UNAVAILABLE', 'the server has ended the subscription'));
      },
    };
    connection.subscribe(() => {
      if (hasEnded) return;
      const { state, error } = connection.getStatus();
      if (state === 'failed') fail(error ?? new RunwireError('UNAVAILABLE', 'the connection has failed'));
      else if (state === 'reconnecting' && error && !isDown) {
        isDown = true;
        isLive = false;
        const code = error instanceof RunwireError ? error.code : 'INTERNAL';
        const isThere = wasConnected || code !== 'UNAVAILABLE';
        // A token is fetched anew once, and one that was given is the same again.
        const how = code === 'UNAUTHENTICATED' ? 'once more' : 'again';
        note(`${isThere ? error.message : `nothing answers at ${target.url}`}; trying ${how}`);
      } else if (state === 'connected') {
        if (isDown) note(wasConnected ? 'connected again' : 'connected');
        isDown = false;
        wasConnected = true;
      }
    });
    subscribe(client, options, observer);
  });
  await valve.flushed();
  return code;
}

function subscribe(client: RunwireClient, options: TailOptions, observer: Observer) {
  const { run: runId, project: projectId, from } = options;
  if (runId !== undefined) {
    return client.onRunEvent.subscribe({ runId, ...(projectId === undefined ? {} : { projectId }), from }, observer);
  }
  if (projectId !== undefined) return client.onProjectEvent.subscribe({ projectId, from }, observer);
  return client.onEvent.subscribe({ from }, observer);
}

async function endOf(client: RunwireClient, { run: runId = '', project: projectId }: TailOptions) {
  const { run } = await client.run.get.query({ runId, ...(projectId === undefined ? {} : { projectId }) });
  if (run.status !== 'completed' && run.status !== 'failed') return undefined;
  return { seq: run.lastSeq, code: run.status === 'completed' ? 0 : 1 };
}

/** Writes to a stream, and holds up the sockets while it is full. */
class BackpressureSocket {
  readonly WebSocket: WebSocketClass;
  readonly #stream: NodeJS.WriteStream;
  readonly #sockets = new Set<WebSocket>();
  #isFull = false;

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
    const sockets = this.#sockets;
    const hold = (socket: WebSocket) => {
      if (this.#isFull) socket.pause();
    };
    class HeldWebSocket extends WebSocket {
      constructor(url: string | URL) {
        super(url);
        sockets.add(this);
        this.once('open', () => hold(this));
        this.once('close', () => sockets.delete(this));
      }
    }
    this.WebSocket = HeldWebSocket;
  }

  write(text: string): void {
    if (this.#stream.write(text) || this.#isFull) return;
    this.#isFull = true;
    for (const socket of this.#sockets) socket.pause();
    this.#stream.once('drain', () => {
      this.#isFull = false;
      for (const socket of this.#sockets) socket.resume();
    });
  }

  flushed(): Promise<void> {
    return new Promise((resolve) => this.#stream.write('', () => resolve()));
  }
}
