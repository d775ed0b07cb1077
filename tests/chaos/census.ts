import type { EventEmitter } from 'node:events';
import { Server } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { queryObjects } from 'node:v8';
import { WebSocket, WebSocketServer } from 'ws';
import { Delivery } from '../../server/delivery/delivery.ts';
import { Reader } from '../../server/delivery/reader.ts';
import { Connection } from '../../server/ws/connection.ts';
import type { ServerStats } from '../../shared/server-stats.ts';

/** What a server holds, counted in its own process: what should be back where it was once its clients have gone. */

export type Census = {
  connections: number;
  subscriptions: number;
  /** Readers that wait for the bell. */
  waiting: number;
  /** Objects of a class that the heap holds after garbage collection. */
  objects: Record<string, number>;
  /** Listeners on the process, the HTTP server and the WebSocket server. */
  listeners: number;
  /** `process.getActiveResourcesInfo()`, counted: what keeps the process alive, timers among it. */
  resources: Record<string, number>;
  heapBytes: number;
};

/** The long-lived objects of the server, which it keeps to itself: those on which a method was called. */
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

/** To count those of a class takes a walk over the heap: these few hold all others that a client has, or are held. */
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
  // Finalizers run in tasks of their own, and let go of more.
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
