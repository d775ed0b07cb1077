import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import * as server from '../../server/compat/index.ts';
import { compatEvents } from '../../shared/compat-events.ts';

const root = new URL('../..', import.meta.url).pathname;
const page = readFileSync(join(root, 'docs/migrating.md'), 'utf8');

/** The names of the original design. */
const hook = ['isConnected', 'connectionState', 'error', 'subscribe', 'unsubscribe', 'subscribe_category'];
const more = ['unsubscribe_category', 'reconnect', 'disconnect', 'UseRunEventsOptions', 'UseRunEventsReturn'];
const methods = ['initialize', 'broadcastToAll', 'broadcastToRun', 'broadcastToProject', 'broadcastToUser'];
const rest = ['getStats', 'shutdown', 'EventHandler', 'ConnectionState', 'useRunEvents', 'webSocketManager'];
const environment = ['REACT_APP_WEBSOCKET_URL', 'VITE_WEBSOCKET_URL', 'PORT', 'NODE_ENV', 'REDIS_URL'];

test('[K18] docs/migrating.md has a row for every name of the former system, and for every export of runwire/compat', () => {
  const rows = page.split('\n').filter((line) => line.startsWith('|'));
  const cells = rows.map((row) => row.split('|')[1] ?? '').join('\n');
  const broadcasts = Object.getOwnPropertyNames(server.RunEventBroadcaster.prototype).filter((name) =>
    name.startsWith('broadcast'),
  );
  expect(broadcasts).toHaveLength(Object.keys(compatEvents).length - 1);
  const exported = Object.keys(server).filter((name) => name !== 'compatEvents');
  const names = [...hook, ...more, ...methods, ...rest, ...environment, ...broadcasts, ...exported];
  const isNamed = (name: string) => new RegExp(`\`${name}(<T>|\\([\\w, ]*\\))?\``).test(cells);
  expect(names.filter((name) => !isNamed(name))).toEqual([]);
});
