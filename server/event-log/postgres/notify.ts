import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { Health } from '../../health.ts';
import { type Backplane, backoffMs } from './backplane.ts';

/**
 * The backplane without Redis: LISTEN and NOTIFY over one connection. PostgreSQL takes less than 8,000 bytes at a time, so a
 * longer message is sent in pieces, all in one transaction.
 */

const MAX_PAYLOAD_BYTES = 7_900;
const PIECE_BYTES = 5_700;
/** UTF-16 units of the messages that wait for the connection. Further ones are dropped. */
const MAX_WAITING = 1 << 20;
/** Number of messages of which only some pieces have arrived. */
const MAX_PARTIAL = 16;
/** An idle connection is tried after this time: a dead peer sends nothing. */
const TRIAL_MS = 5_000;
const TIMEOUT_MS = 5_000;
const NOTIFY = 'SELECT pg_notify($1, m) FROM json_array_elements_text($2::json) AS m';

type Parts = { options: pg.ClientConfig; channel: string; health: Pick<Health, 'report'> };

export class NotifyBackplane implements Backplane {
  readonly maxBytes = MAX_PAYLOAD_BYTES;
  readonly #parts: Parts;
  readonly #channel: string;
  readonly #partial = new Map<string, string[]>();
  readonly #closing = new AbortController();
  readonly #running: Promise<void>;
  #listener: (message: string) => void = () => undefined;
  #client: pg.Client | undefined;
  #waiting: string[] = [];
  #waitingLength = 0;
  #isSending = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#channel = `runwire_${parts.channel}`;
    this.#running = this.#run();
  }

  get isConnected(): boolean {
    return this.#client !== undefined;
  }

  receive(listener: (message: string) => void): void {
    this.#listener = listener;
  }

  send(message: string): void {
    if (!this.#client || this.#waitingLength + message.length > MAX_WAITING) return;
    this.#waiting.push(...piecesOf(message));
    this.#waitingLength += message.length;
    if (!this.#isSending) void this.#flush();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  /** Keeps one connection open until `close`. */
  async #run(): Promise<void> {
    const { signal } = this.#closing;
    for (let failures = 0; !signal.aborted; failures++) {
      const cause = await this.#listen(() => {
        failures = 0;
      }).catch((error: unknown) => error);
      if (signal.aborted) return;
      const message =
        'PostgreSQL carries no messages between the nodes: events of other nodes arrive up to 250 ms later';
      this.#parts.health.report('backplane', { message, err: cause, isWarning: true });
      await sleep(backoffMs(failures), undefined, { signal }).catch(() => undefined);
    }
  }

  /** Connects, and resolves with the cause once the connection is lost. */
  async #listen(onConnected: () => void): Promise<unknown> {
    const { options, health } = this.#parts;
    const timeouts = { connectionTimeoutMillis: TIMEOUT_MS, statement_timeout: TIMEOUT_MS, query_timeout: TIMEOUT_MS };
    const client = new pg.Client({ ...options, ...timeouts });
    const lost = new Promise<unknown>((resolve) => {
      client.on('error', resolve);
      client.on('end', () => resolve(new Error('the connection was closed')));
      this.#closing.signal.addEventListener('abort', resolve, { once: true });
    });
    client.on('notification', ({ payload = '' }) => this.#take(payload));
    try {
      await client.connect();
      await client.query(`SET synchronous_commit = off; LISTEN "${this.#channel}"`);
      this.#client = client;
      health.report('backplane', undefined);
      onConnected();
      const trial = setInterval(() => this.#isSending || void this.#flush(true), TRIAL_MS);
      return await lost.finally(() => clearInterval(trial));
    } finally {
      this.#client = undefined;
      this.#waiting = [];
      this.#waitingLength = 0;
      this.#partial.clear();
      await Promise.race([client.end(), sleep(TIMEOUT_MS, undefined, { ref: false })]).catch(() => undefined);
    }
  }

  async #flush(isTrial = false): Promise<void> {
    this.#isSending = true;
    for (let client = this.#client; client && (this.#waiting.length > 0 || isTrial); client = this.#client) {
      const messages = this.#waiting;
      this.#waiting = [];
      this.#waitingLength = 0;
      isTrial = false;
      try {
        await client.query({ name: 'notify', text: NOTIFY, values: [this.#channel, JSON.stringify(messages)] });
      } catch (error) {
        // The messages are lost. An error other than one about their text means that the connection cannot be used.
        if (!(error instanceof pg.DatabaseError)) client.emit('error', error as Error);
        break;
      }
    }
    this.#isSending = false;
  }

  #take(payload: string): void {
    if (!payload.startsWith('#')) {
      this.#listener(payload);
      return;
    }
    const [, id, index, count, piece] = /^#(\w+)\.(\d+)\.(\d+)\.(.*)$/.exec(payload) ?? [];
    if (id === undefined || piece === undefined) return;
    const pieces = this.#partial.get(id) ?? [];
    pieces.push(piece);
    this.#partial.set(id, pieces);
    if (Number(index) + 1 !== Number(count)) {
      const [oldest] = this.#partial.keys();
      if (this.#partial.size > MAX_PARTIAL && oldest !== undefined) this.#partial.delete(oldest);
      return;
    }
    this.#partial.delete(id);
    if (pieces.length === Number(count)) this.#listener(Buffer.from(pieces.join(''), 'base64').toString());
  }
}

function piecesOf(message: string): string[] {
  if (message.length <= MAX_PAYLOAD_BYTES && Buffer.byteLength(message) <= MAX_PAYLOAD_BYTES) return [message];
  const bytes = Buffer.from(message);
  const id = randomBytes(6).toString('hex');
  const count = Math.ceil(bytes.length / PIECE_BYTES);
  return Array.from({ length: count }, (_, index) => {
    const piece = bytes.subarray(index * PIECE_BYTES, (index + 1) * PIECE_BYTES);
    return `#${id}.${index}.${count}.${piece.toString('base64')}`;
  });
}
