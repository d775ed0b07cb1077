import { setTimeout as delay } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { createRunwireClient } from '../../client/index.ts';
import { createPublisher } from '../../client/publisher/index.ts';
import type { Batch, Draft, PublisherPlan } from './plan.ts';
import { SILENCE_MS, type Surroundings } from './readers.ts';

/** Publishers: each sends its drafts in order, and retries each until it is answered. */

export type Acknowledged = { publisher: string; drafts: Draft[] };

export type PublisherHooks = Surroundings & {
  onAcknowledged(acknowledged: Acknowledged): void;
  /** Responses that no publisher should receive. */
  onRefused(publisher: string, reason: string): void;
  /** Aborted when the round gives up. */
  signal: AbortSignal;
  /** Whether an earlier event may be unknown because the server has a new log. */
  mayForget: boolean;
};

/** Slow machines answer late: each retry waits longer. */
const TIMEOUT_MS = 1_000;
const TIMEOUT_MOST_MS = 8_000;
const RETRY_MS = 20;
const claims = { sub: 'producer', projects: ['*'] };

type Answer = { accepted: number; duplicates: number };

type Batches = { batches: Iterable<Batch> | AsyncIterable<Batch> };

export async function publishAll(
  { kind, name, batches }: Omit<PublisherPlan, 'batches'> & Batches,
  hooks: PublisherHooks,
): Promise<void> {
  const { signal, onAcknowledged, onRefused } = hooks;
  await using ways = openWays(hooks);
  let isFirst = true;
  const under = new Set<Promise<void>>();
  for await (const { drafts, pauseMs, isSentTwice } of batches) {
    const sent = ways[kind](drafts).then(
      () => onAcknowledged({ publisher: name, drafts }),
      (error: unknown) => onRefused(name, String(error)),
    );
    under.add(sent);
    void sent.then(() => under.delete(sent));
    // `runwire/publisher` keeps the order of parallel calls; the others send one request at a time.
    if (kind !== 'publisher' || isFirst || under.size > 3) await sent;
    isFirst = false;
    if (isSentTwice) {
      await sent;
      const again = await ways.http(drafts).catch((error: unknown) => onRefused(name, String(error)));
      if (again && again.accepted > 0 && !hooks.mayForget)
        onRefused(name, `${again.accepted} events were stored twice`);
    }
    if (pauseMs > 0) await delay(pauseMs);
    if (signal.aborted) break;
  }
  await Promise.all(under);
}

function openWays({ url, token: tokenOf, silenceMs = SILENCE_MS, signal: givingUp }: PublisherHooks) {
  const token = () => tokenOf(claims);
  const publisher = createPublisher({
    url,
    token,
    timeoutMs: 3 * TIMEOUT_MS,
    retryDelayMs: RETRY_MS,
    maxRetryDelayMs: 100,
  });
  givingUp.addEventListener('abort', () => void publisher.close(0));
  const { client, connection } = createRunwireClient({ url, token, WebSocket, heartbeatMs: silenceMs });

  /** Sends until it is answered. A permanent refusal is an answer. */
  const untilAnswered = async (send: (signal: AbortSignal) => Promise<Answer>): Promise<Answer> => {
    let reason = '';
    for (let timeoutMs = TIMEOUT_MS; ; timeoutMs = Math.min(TIMEOUT_MOST_MS, 2 * timeoutMs)) {
      if (givingUp.aborted) throw new Refusal(`given up: ${reason}`);
      const answer = await send(AbortSignal.timeout(timeoutMs)).catch((error: Error) => {
        if (error instanceof Refusal) throw error;
        reason = `${error.message} ${error.cause ?? ''}`;
      });
      if (answer) return answer;
      await delay(RETRY_MS);
    }
  };
  return {
    publisher: (drafts: Draft[]): Promise<Answer> => publisher.publish(drafts),
    http: (drafts: Draft[]): Promise<Answer> =>
      untilAnswered(async (signal) => {
        const response = await fetch(`${url}/api/v1/events`, {
          method: 'POST',
          headers: { 'content-type': 'application/x-ndjson', authorization: `Bearer ${await token()}` },
          body: drafts.map((draft) => JSON.stringify(draft)).join('\n'),
          signal,
        });
        const text = await response.text();
        if (response.ok) return JSON.parse(text) as Answer;
        if (response.status !== 401 && response.status < 500) throw new Refusal(text);
        throw new Error(text);
      }),
    trpc: (drafts: Draft[]): Promise<Answer> =>
      untilAnswered((signal) =>
        client.event.publish.mutate({ events: drafts as never }, { signal }).catch((error) => {
          const { httpStatus = 503 } = (error.data ?? {}) as { httpStatus?: number };
          throw httpStatus !== 401 && httpStatus < 500 ? new Refusal(error.message) : error;
        }),
      ),
    [Symbol.asyncDispose]: async () => {
      await publisher.close(0);
      await connection.close();
    },
  };
}

class Refusal extends Error {}
