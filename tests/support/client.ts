import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { onTestFinished, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import {
  type ConnectionOptions,
  type ConnectionStatus,
  createRunwireClient,
  type RunwireClient,
} from '../../client/index.ts';

/** Shared by the tests of the client's connection. */

/** A client in Node, closed at the end of the test. `statuses` records every status of its connection. */
export function open(options: ConnectionOptions) {
  const { client, connection } = createRunwireClient({
    WebSocket,
    reconnectDelayMs: 1,
    ...options,
  });
  onTestFinished(() => connection.close());
  const statuses: ConnectionStatus[] = [];
  connection.subscribe(() => statuses.push(connection.getStatus()));
  const until = (holds: (status: ConnectionStatus) => boolean) =>
    new Promise<ConnectionStatus>((resolve) => {
      const check = () => {
        const status = connection.getStatus();
        if (!holds(status)) return;
        stop();
        resolve(status);
      };
      const stop = connection.subscribe(check);
      check();
    });
  const reaches = (state: ConnectionStatus['state']) => until((status) => status.state === state);
  return { client, connection, statuses, until, reaches };
}

/** Subscribes to a run. `until` resolves once a condition on the received items holds. */
export function follow(client: RunwireClient, runId: string, from: 'now' | 'start' = 'start') {
  const items: { type: string; seq?: number }[] = [];
  const listeners = new Set<() => void>();
  const onError = vi.fn();
  const subscription = client.onRunEvent.subscribe(
    { runId, from },
    {
      onData: ({ data }) => {
        items.push(data as { type: string; seq?: number });
        for (const listener of [...listeners]) listener();
      },
      onError,
    },
  );
  const until = (holds: () => boolean) =>
    new Promise<void>((resolve) => {
      const check = () => {
        if (!holds()) return;
        listeners.delete(check);
        resolve();
      };
      listeners.add(check);
      check();
    });
  const seqs = () => items.filter(({ type }) => !type.startsWith('stream.')).map(({ seq }) => seq);
  return { items, seqs, onError, until, unsubscribe: () => subscription.unsubscribe() };
}

/**
 * A server that accepts every socket and closes it with `code`. It reads the client's close frame after a delay, so the
 * client's sockets stay in state CLOSING for a while.
 */
export async function startRefusingServer(code: number) {
  const wss = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await once(wss, 'listening');
  let accepted = 0;
  wss.on('connection', (ws, { socket }) => {
    accepted++;
    ws.close(code);
    socket.pause();
    setTimeout(() => socket.resume(), 20);
  });
  onTestFinished(() => new Promise<void>((resolve) => wss.close(() => resolve())));
  const url = `http://127.0.0.1:${(wss.address() as AddressInfo).port}`;
  return { url, accepted: () => accepted };
}
