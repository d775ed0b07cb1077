import { randomUUID } from 'node:crypto';
import { RunwireError } from '../shared/errors.ts';
import type { Nodes } from './event-log/contract/nodes.ts';
import type { Health } from './health.ts';

/**
 * What the servers of a log report to each other, and calls between them.
 *
 * - Each server publishes parts of a state, and reads those of the others once a second.
 * - A call goes to all other servers by message, and stays in the caller's state until it is answered: where a message is
 *   lost, or there is no backplane, the others find it there, and the caller finds the answer in their states.
 */

const READ_MS = 1_000;
const RETRY_MS = 250;
/** Time for which answers stay in the state, and for which an answered call is recognised: longer than any call waits. */
const KEPT_MS = 30_000;
/** Size of the calls and answers in the state. Those that do not fit wait for others to leave. */
const MAX_CALL_BYTES = 24 * 1024;

type Call = { id: string; topic: string; body: unknown };
type Answer = { id: string } & (
  | { value: unknown }
  | { error: { code: string; message: string; path?: string | undefined } }
  /** The call is for another server. */
  | { isOther: true }
);
type State = { calls?: Call[]; answers?: Answer[] } & Record<string, unknown>;
type Waiting = {
  call: Call;
  /** Servers that have not answered yet. */
  open: Set<string>;
  settle: (answer: Answer | undefined) => void;
};

/** Answers a call; undefined if it is for another server. */
export type Handler = (body: never) => Promise<unknown> | undefined;

export class Peers {
  readonly #nodes: Nodes;
  readonly #health: Pick<Health, 'note'>;
  readonly #parts = new Map<string, () => unknown>();
  readonly #handlers = new Map<string, Handler>();
  readonly #waiting = new Map<string, Waiting>();
  /** Answers that this server has given or is working on. */
  readonly #given = new Map<string, { atMs: number; answer: Answer | undefined }>();
  readonly #stops: (() => void)[];
  readonly #timer: NodeJS.Timeout;
  #others: ReadonlyMap<string, State> = new Map();
  #isReading = false;

  constructor({ nodes, health }: { nodes: Nodes; health: Pick<Health, 'note'> }) {
    this.#nodes = nodes;
    this.#health = health;
    nodes.publishState(() => this.#state());
    this.#stops = [
      nodes.receive('call', (call, node) => this.#called(call as Call, node)),
      nodes.receive('answer', (answer, node) => this.#answered(answer as Answer, node)),
    ];
    this.#timer = setInterval(() => void this.#read(), READ_MS).unref();
    void this.#read();
  }

  /** Id of this server. */
  get id(): string {
    return this.#nodes.id;
  }

  /** Adds a part to the state of this server. All parts together have at most 64 KiB as JSON. */
  publish(name: string, read: () => unknown): void {
    this.#parts.set(name, read);
  }

  /** Returns a part of the state of each other server, of at most about 2 s ago. */
  partsOf<Part>(name: string): Map<string, Part> {
    const parts = new Map<string, Part>();
    for (const [node, state] of this.#others) if (name in state) parts.set(node, state[name] as Part);
    return parts;
  }

  /** Sets the function that answers the calls of a topic. */
  handle(topic: string, handler: Handler): void {
    this.#handlers.set(topic, handler);
  }

  /** Calls every other server. Resolves with the first answer; undefined if the call is for none of them. */
  call<Result>(topic: string, body: unknown, timeoutMs: number): Promise<Result | undefined> {
    const call = { id: randomUUID(), topic, body };
    return new Promise((resolve, reject) => {
      const begin = async () => {
        await this.#read(); // Servers that have joined since the last look.
        const open = new Set(this.#others.keys());
        if (open.size === 0) return resolve(undefined);
        const timer = setTimeout(() => settle({ id: call.id, error: TIMEOUT }), timeoutMs);
        const settle = (answer: Answer | undefined) => {
          clearTimeout(timer);
          this.#waiting.delete(call.id);
          if (!answer || 'isOther' in answer) return resolve(undefined);
          if ('value' in answer) return resolve(answer.value as Result);
          const { code, message, path } = answer.error;
          reject(new RunwireError(code as RunwireError['code'], message, { path }));
        };
        this.#waiting.set(call.id, { call, open, settle });
        this.#nodes.send('call', call);
      };
      begin().catch(reject);
    });
  }

  /**
   * Calls the server that answers a topic, at most one at a time: until there is one, the call is repeated. Throws
   * `UNAVAILABLE` at the timeout.
   */
  async callOne<Result>(topic: string, body: unknown, timeoutMs: number, isOwn: () => boolean): Promise<Result> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const handler = isOwn() ? this.#handlers.get(topic)?.(body as never) : undefined;
      const result = await (handler ?? this.call<Result>(topic, body, Math.max(1, deadline - performance.now())));
      if (result !== undefined) return result as Result;
      if (performance.now() >= deadline) throw new RunwireError('UNAVAILABLE', TIMEOUT.message);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  close(): void {
    clearInterval(this.#timer);
    for (const stop of this.#stops) stop();
    for (const { call, settle } of [...this.#waiting.values()]) settle({ id: call.id, error: TIMEOUT });
  }

  #state(): State {
    const own: State = Object.fromEntries([...this.#parts].map(([name, read]) => [name, read()]));
    let bytes = 0;
    const fits = (value: unknown) => {
      bytes += JSON.stringify(value).length;
      return bytes <= MAX_CALL_BYTES;
    };
    const calls = [...this.#waiting.values()].map(({ call }) => call).filter(fits);
    const answers = [...this.#given.values()].flatMap(({ answer }) => (answer && fits(answer) ? [answer] : []));
    return { ...own, calls, answers };
  }

  /** Reads the states of the other servers, with their calls and answers. */
  async #read(): Promise<void> {
    if (this.#isReading) return;
    this.#isReading = true;
    try {
      const entries = await this.#nodes.list();
      const others = entries.filter(({ isSelf }) => !isSelf);
      this.#others = new Map(others.map(({ id, state }) => [id, state as State]));
      for (const [node, { calls = [], answers = [] }] of this.#others) {
        for (const call of calls) this.#called(call, node);
        for (const answer of answers) this.#answered(answer, node);
      }
      // A server that has left answers no more.
      for (const waiting of [...this.#waiting.values()]) {
        for (const node of waiting.open) if (!this.#others.has(node)) this.#isOther(waiting, node);
      }
    } catch (err) {
      this.#health.note('cannot read the states of the other servers', { err });
    } finally {
      this.#isReading = false;
      const nowMs = performance.now();
      for (const [id, { atMs, answer }] of this.#given) if (answer && nowMs - atMs > KEPT_MS) this.#given.delete(id);
    }
  }

  #called({ id, topic, body }: Call, node: string): void {
    if (node === this.#nodes.id || this.#given.has(id)) return;
    const given: { atMs: number; answer: Answer | undefined } = { atMs: performance.now(), answer: undefined };
    this.#given.set(id, given);
    const give = (answer: Answer): void => {
      given.answer = answer;
      given.atMs = performance.now();
      this.#nodes.send('answer', answer);
    };
    const fail = (error: unknown) => {
      const { code, message, path } =
        error instanceof RunwireError ? error : new RunwireError('INTERNAL', 'an internal error');
      give({ id, error: { code, message, path } });
    };
    const answering = this.#handlers.get(topic)?.(body as never);
    // An answer of more than 64 KiB is an error too.
    if (answering) answering.then((value) => give({ id, value: value ?? null })).catch(fail);
    else give({ id, isOther: true });
  }

  #answered(answer: Answer, node: string): void {
    const waiting = this.#waiting.get(answer.id);
    if (!waiting) return;
    if ('isOther' in answer) this.#isOther(waiting, node);
    else waiting.settle(answer);
  }

  #isOther({ open, settle }: Waiting, node: string): void {
    if (open.delete(node) && open.size === 0) settle(undefined);
  }
}

const TIMEOUT = { code: 'UNAVAILABLE', message: 'the other servers of this log have not answered' };
