import type { EventEmitter } from 'node:events';
import { Server } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { queryObjects } from 'node:v8';
import { WebSocket, WebSocketServer } from 'ws';
import { Delivery } from '../../server/delivery/delivery.ts';
import { Reader } from '../../server/delivery/reader.ts';
import { Connection } from '../../server/ws/connection.ts';
import type { ServerStats } from '../../shared/server-stats.ts';

/** Counts of everything that a server holds. They must return to their first values once all clients have gone. */

export type Census = {
  connections: number;
  subscriptions: number;
  /** Readers that wait for the notifier. */
  waiting: number;
  /** Live objects of a class after garbage collection. */
  objects: Record<string, number>;
  /** Listeners on the process, the HTTP server and the WebSocket server. */
  listeners: number;
  /** `process.getActiveResourcesInfo()` by name: sockets, timers and other handles. */
  resources: Record<string, number>;
  heapBytes: number;
};

/** Private long-lived objects of the server, captured by wrapping a method of their class. */
function remember<T extends object>(prototype: T, name: keyof T & string): Set<T> {
  const met = new Set<T>();
  const method = prototype[name] as (this: T, ...given: unknown[]) => unknown;
  prototype[name] = function (this: T, ...given: unknown[]) {
    met.add(this);
    return method.apply(this, given);
  } as never;
  return met;
}
const deliveries = remember(Delivery.prototype, 'events');
const emitters: Set<EventEmitter>[] = [
  remember(Server.prototype, 'listen'),
  remember(WebSocketServer.prototype, 'handleUpgrade'),
];

/** Counting a class walks the whole heap. These few classes hold every other object of a client, or are held by one. */
const timer = setTimeout(() => undefined, 0);
const classes: Record<string, new (...given: never[]) => object> = {
  WebSocket,
  Connection,
  Reader: Reader as never,
  Timeout: timer.constructor as never,
};
clearTimeout(timer);

export async function census(stats: ServerStats): Promise<Census> {
  const { gc } = globalThis;
  if (!gc) throw new Error('needs node --expose-gc');
  // Finalizers run in later tasks and release more objects.
  for (let round = 0; round < 4; round++) {
    gc();
    await delay(20);
  }
  gc();
  const all = [process as EventEmitter, ...emitters.flatMap((met) => [...met])];
  const resources: Record<string, number> = {};
  for (const name of process.getActiveResourcesInfo()) resources[name] = (resources[name] ?? 0) + 1;
  return {
    connections: stats.connections,
    subscriptions: stats.subscriptions,
    waiting: [...deliveries].reduce((sum, { waiting }) => sum + waiting, 0),
    objects: Object.fromEntries(
      Object.entries(classes).map(([name, of]) => [name, queryObjects(of, { format: 'count' }) as unknown as number]),
    ),
    listeners: all.reduce(
      (sum, emitter) => sum + emitter.eventNames().reduce((count, name) => count + emitter.listenerCount(name), 0),
      0,
    ),
    resources,
    heapBytes: process.memoryUsage().heapUsed,
  };
}
