import { createTRPCClient, createWSClient, wsLink } from '@trpc/client';
import { WebSocket } from 'ws';
import { createRunwireClient, type RunwireClient } from '../../client/index.ts';
import { isSignal } from '../../shared/protocol.ts';
import type { AppRouter } from '../../shared/router.ts';
import type { ReaderPlan } from './plan.ts';
import type { Item, Transcript } from './transcript.ts';

/** Readers: one for each way to connect. Each resumes by cursor after every disconnection. */

export type Surroundings = {
  /** The address of the proxy. */
  url: string;
  token(of: { sub: string; projects: string[] }): Promise<string>;
  /** A connection without a message for this long counts as dead. Default: {@link SILENCE_MS}. */
  silenceMs?: number;
  /** Time before a further connection. Default: {@link RETRY_MS}. */
  retryMs?: number;
};

/** Reads until it is stopped, and records nothing afterwards. */
type Session = { end(): Promise<void> | void };

export const SILENCE_MS = 800;
const RETRY_MS = 25;

export class ChaosReader {
  readonly plan: ReaderPlan;
  readonly transcripts: Transcript[];
  readonly #surroundings: Surroundings;
  #session: Session | undefined;

  constructor(plan: ReaderPlan, transcripts: Transcript[], surroundings: Surroundings) {
    this.plan = plan;
    this.transcripts = transcripts;
    this.#surroundings = surroundings;
  }

  get isOn(): boolean {
    return this.#session !== undefined;
  }

  /** Resumes after an absence. */
  join(): void {
    const [transcript] = this.transcripts;
    if (!transcript || this.#session) return;
    switch (this.plan.kind) {
      case 'client':
      case 'slow':
        this.#session = readByClient(this.#surroundings, transcript);
        return;
      case 'stock':
        this.#session = readByStock(this.#surroundings, transcript);
        return;
      case 'wire':
      case 'pile':
        this.#session = readByWire(this.#surroundings, this.transcripts);
        return;
      case 'sse':
        this.#session = readBySse(this.#surroundings, transcript);
    }
  }

  async leave(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    await session?.end();
  }
}

const procedures = { run: 'onRunEvent', project: 'onProjectEvent', user: 'onUserEvent', all: 'onEvent' } as const;

function requestOf({ plan, cursor }: Transcript) {
  const { kind, ...scope } = plan.scope;
  const input = {
    ...scope,
    from: plan.start === 'start' ? 'start' : 'now',
    ...(plan.types ? { types: plan.types } : {}),
    ...(plan.conflate ? { conflate: true } : {}),
  };
  return { path: procedures[kind], input, lastEventId: cursor };
}

type Handlers = {
  onData(tracked: { id: string; data: Item }): void;
  onError(error: { message: string; shape?: unknown }): void;
};
function subscribe(client: RunwireClient, transcript: Transcript, handlers: Handlers): { unsubscribe(): void } {
  const { path, input, lastEventId } = requestOf(transcript);
  const procedure = client[path] as typeof client.onEvent; // The union of their types has no common signature.
  return procedure.subscribe({ ...input, ...(lastEventId ? { lastEventId } : {}) } as never, handlers as never);
}

function readByClient(
  { url, token, silenceMs = SILENCE_MS, retryMs = RETRY_MS }: Surroundings,
  transcript: Transcript,
): Session {
  const isSlow = transcript.plan.kind === 'slow';
  const { client, connection } = createRunwireClient({
    url,
    token: () => token(transcript.plan),
    WebSocket: isSlow ? FitfulWebSocket : WebSocket,
    maxReconnectAttempts: Number.POSITIVE_INFINITY,
    reconnectDelayMs: retryMs,
    maxReconnectDelayMs: 8 * retryMs,
    heartbeatMs: isSlow ? 3 * silenceMs : silenceMs,
  });
  let isOver = false;
  connection.subscribe(() => {
    const { state, error } = connection.getStatus();
    if (state === 'failed') transcript.failure = `the connection has failed: ${error?.message}`;
  });
  subscribe(client, transcript, {
    onData: ({ id, data }) => {
      if (!isOver) transcript.add(id, data);
    },
    onError: ({ message }) => {
      if (!isOver) transcript.failure = message;
    },
  });
  return {
    end: () => {
      isOver = true;
      return connection.close();
    },
  };
}

/** Pauses and resumes the socket at intervals. */
class FitfulWebSocket extends WebSocket {
  constructor(url: string | URL) {
    super(url);
    let isPaused = false;
    const timer = setInterval(() => {
      if (this.readyState !== this.OPEN) return;
      isPaused = !isPaused;
      if (isPaused) this.pause();
      else this.resume();
    }, 60);
    this.once('close', () => clearInterval(timer));
  }
}

/** The stock client of tRPC. A dying socket may repeat items: repetitions are dropped by `seq`. */
function readByStock(
  { url, token, silenceMs = SILENCE_MS, retryMs = RETRY_MS }: Surroundings,
  transcript: Transcript,
): Session {
  const socket = createWSClient({
    url: `${url.replace(/^http/, 'ws')}/ws`,
    connectionParams: async () => ({ token: await token(transcript.plan) }),
    WebSocket: WebSocket as never,
    retryDelayMs: () => retryMs,
    keepAlive: { enabled: true, intervalMs: silenceMs, pongTimeoutMs: silenceMs },
  });
  const client = createTRPCClient<AppRouter>({ links: [wsLink<AppRouter>({ client: socket })] });
  let isOver = false;
  let lastSeq = 0;
  const ask = () => {
    if (isOver) return;
    subscribe(client, transcript, {
      onData: ({ id, data }) => {
        if (isOver) return;
        if (!isSignal(data)) {
          if (data.seq <= lastSeq) return;
          lastSeq = data.seq;
        } else if (data.type === 'stream.gap') lastSeq = data.toSeq;
        transcript.add(id, data);
      },
      onError: (error) => {
        // It drops a subscription when the socket closes before the request was sent: subscribe again.
        if (error.shape === undefined) setTimeout(ask, retryMs);
        else if (!isOver) transcript.failure = error.message;
      },
    });
  };
  ask();
  return {
    end: () => {
      isOver = true;
      void socket.close();
    },
  };
}

/** Raw messages over a new socket each time, from the cursor of the last item: no item may be repeated. */
function readByWire(
  { url, token, silenceMs = SILENCE_MS, retryMs = RETRY_MS }: Surroundings,
  transcripts: Transcript[],
): Session {
  let isOver = false;
  let current: WebSocket | undefined;
  const open = async (): Promise<void> => {
    const { plan } = transcripts[0] as Transcript;
    const said = await token(plan);
    if (isOver) return;
    const ws = new WebSocket(`${url.replace(/^http/, 'ws')}/ws?connectionParams=1`, {
      handshakeTimeout: 2 * silenceMs,
    });
    current = ws;
    const silence = setTimeout(() => ws.terminate(), 4 * silenceMs);
    ws.on('error', () => undefined);
    ws.on('ping', () => silence.refresh());
    ws.once('open', () => {
      ws.send(JSON.stringify({ method: 'connectionParams', data: { token: said } }));
      transcripts.forEach((transcript, index) => {
        const { path, input, lastEventId } = requestOf(transcript);
        ws.send(JSON.stringify({ id: index + 1, method: 'subscription', params: { path, input, lastEventId } }));
      });
      if (plan.kind !== 'pile') return;
      ws.pause();
      setTimeout(() => ws.resume(), silenceMs / 4);
    });
    ws.on('message', (data) => {
      silence.refresh();
      const { id, result, error } = JSON.parse(String(data)) as {
        id: number | null;
        result?: { type: string; data?: { id: string; data: Item } };
        error?: { message: string };
      };
      const transcript = transcripts[(id ?? 0) - 1];
      if (!transcript || isOver || current !== ws) return;
      if (error) transcript.failure = error.message;
      else if (result?.data) transcript.add(result.data.id, result.data.data);
      else if (result?.type === 'stopped') transcript.failure = 'the server has stopped the subscription';
    });
    ws.once('close', () => {
      clearTimeout(silence);
      if (!isOver) setTimeout(open, retryMs);
    });
  };
  void open();
  return {
    end: () => {
      isOver = true;
      current?.terminate();
    },
  };
}

/** Server-sent events. An item that a disconnection truncates is dropped. */
function readBySse(
  { url, token, silenceMs = SILENCE_MS, retryMs = RETRY_MS }: Surroundings,
  transcript: Transcript,
): Session {
  const ending = new AbortController();
  const read = async (): Promise<void> => {
    const { path, input, lastEventId } = requestOf(transcript);
    const address = new URL(`${url}/trpc/${path}`);
    address.searchParams.set('input', JSON.stringify({ ...input, ...(lastEventId ? { lastEventId } : {}) }));
    const silent = new AbortController();
    const silence = setTimeout(() => silent.abort(), 3 * silenceMs);
    try {
      const response = await fetch(address, {
        headers: { accept: 'text/event-stream', authorization: `Bearer ${await token(transcript.plan)}` },
        signal: AbortSignal.any([ending.signal, silent.signal]),
      });
      let text = '';
      for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
        silence.refresh();
        text += chunk;
        const blocks = text.split('\n\n');
        text = blocks.pop() ?? '';
        for (const block of blocks) if (!ending.signal.aborted) takeBlock(transcript, block);
      }
    } catch {
      // Disconnected or silent for too long: resume with the cursor.
    } finally {
      clearTimeout(silence);
    }
  };
  void (async () => {
    while (!ending.signal.aborted) {
      await read();
      await new Promise((resolve) => setTimeout(resolve, retryMs));
    }
  })();
  return { end: () => ending.abort() };
}

function takeBlock(transcript: Transcript, block: string): void {
  const fields = new Map(block.split('\n').map((line) => line.split(/: ?(.*)/s, 2) as [string, string]));
  const [event, data, id] = ['event', 'data', 'id'].map((name) => fields.get(name));
  if (event === undefined && data !== undefined && id !== undefined) {
    transcript.add(id, JSON.parse(data) as Item);
  } else if (event === 'serialized-error') {
    const { data: details } = JSON.parse(data ?? '{}') as { data?: { runwireCode?: string } };
    // A stopping server and an expired token are reported in the stream.
    if (!['UNAVAILABLE', 'UNAUTHENTICATED'].includes(details?.runwireCode ?? '')) transcript.failure = String(data);
  } else if (event === 'return') transcript.failure = 'the server has ended the stream';
}
