import { once } from 'node:events';
import { WebSocket } from 'ws';

/** An independent client: reads every event, and publishes one now and then. */
export class Bystander {
  readonly #port: number;
  readonly #token: string;
  readonly #ws: WebSocket;
  readonly #waiting: { seq: number; resolve: () => void }[] = [];
  #seq: number | undefined;
  #heardAt = performance.now();
  received = 0;
  problem: string | undefined;

  private constructor(port: number, token: string) {
    this.#port = port;
    this.#token = token;
    this.#ws = new WebSocket(`ws://127.0.0.1:${port}/ws?connectionParams=1`);
    this.#ws.on('error', (error) => {
      this.problem ??= `the bystander's socket failed: ${String(error)}`;
    });
    this.#ws.on('ping', () => {
      this.#heardAt = performance.now();
    });
    this.#ws.on('close', (code) => {
      const silentMs = Math.round(performance.now() - this.#heardAt);
      this.problem ??= `the bystander was closed with ${code}, ${silentMs} ms after it was sent anything`;
      for (const { resolve } of this.#waiting.splice(0)) resolve();
    });
    this.#ws.on('message', (data) => this.#receive(data.toString()));
  }

  /** Resolves once its subscription is live. */
  static async open(port: number, token: string): Promise<Bystander> {
    const bystander = new Bystander(port, token);
    await once(bystander.#ws, 'open');
    bystander.#send({ method: 'connectionParams', data: { token } });
    bystander.#send({ id: 1, method: 'subscription', params: { path: 'onEvent', input: {} } });
    await bystander.#until(0);
    return bystander;
  }

  /** Publishes an event, and resolves once it has been delivered. */
  async check(boundMs: number): Promise<void> {
    const patience = setTimeout(() => {
      this.problem ??= `the bystander got nothing for ${boundMs} ms`;
      this.#ws.terminate();
    }, boundMs);
    try {
      const response = await fetch(`http://127.0.0.1:${this.#port}/api/v1/events`, {
        method: 'POST',
        headers: { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json' },
        body: JSON.stringify({ type: 'run.started', projectId: 'bystander', runId: 'r' }),
      });
      const { seq } = (await response.json()) as { seq?: number };
      if (seq === undefined) this.problem ??= `the bystander's event was answered ${response.status}`;
      else if (this.problem === undefined) await this.#until(seq);
    } catch (error) {
      this.problem ??= `the bystander's event was not answered: ${String(error)}`;
    } finally {
      clearTimeout(patience);
    }
  }

  close(): void {
    this.problem ??= 'closed';
    this.#ws.terminate();
  }

  #send(message: object): void {
    this.#ws.send(JSON.stringify(message));
  }

  #until(seq: number): Promise<void> {
    if ((this.#seq ?? -1) >= seq || this.problem !== undefined) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ seq, resolve }));
  }

  #receive(text: string): void {
    this.#heardAt = performance.now();
    const { result, error } = JSON.parse(text) as {
      result?: { data?: { data?: { type: string; seq: number } } };
      error?: unknown;
    };
    if (error !== undefined) this.problem ??= `the bystander was answered ${text.slice(0, 200)}`;
    const item = result?.data?.data;
    if (item === undefined) return;
    if (item.type !== 'stream.live') {
      this.received++;
      if (this.#seq !== undefined && item.seq !== this.#seq + 1)
        this.problem ??= `the bystander read ${item.seq} after ${this.#seq}`;
    }
    this.#seq = item.seq;
    for (const waiter of [...this.#waiting]) {
      if (waiter.seq > item.seq) continue;
      this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
      waiter.resolve();
    }
  }
}
