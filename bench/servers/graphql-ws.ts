import EventEmitter, { on, once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { GraphQLNonNull, GraphQLObjectType, GraphQLScalarType, GraphQLSchema, GraphQLString } from 'graphql';
import { useServer as serveGraphql } from 'graphql-ws/use/ws';
import { WebSocketServer } from 'ws';
import { peer } from './committed.ts';
import type { BenchEvent } from './event.ts';
import { serve } from './face.ts';

/** graphql-ws over an async iterator per subscription. The event is one scalar, which is cheaper than a field for each key. */

const emitter = new EventEmitter();
emitter.setMaxListeners(0);
const string = { type: GraphQLString };
const schema = new GraphQLSchema({
  query: new GraphQLObjectType({ name: 'Query', fields: { version: string } }),
  subscription: new GraphQLObjectType({
    name: 'Subscription',
    fields: {
      event: {
        type: new GraphQLScalarType({ name: 'Event' }),
        args: { run: { type: new GraphQLNonNull(GraphQLString) } },
        // Not a generator: its return() would wait for one more event.
        subscribe: (_source, { run }: { run: string }) => on(emitter, run),
        resolve: ([event]: [BenchEvent]) => event,
      },
    },
  }),
});
const http = createServer();
const wss = new WebSocketServer({ server: http, path: '/graphql', perMessageDeflate: false });
serveGraphql({ schema }, wss, 600_000);
http.listen(0, '127.0.0.1');
await once(http, 'listening');

await serve({
  port: (http.address() as AddressInfo).port,
  path: '/graphql',
  protocol: 'graphql-transport-ws',
  greetings: [
    '{"type":"connection_init"}',
    1,
    JSON.stringify({
      id: '$ID',
      type: 'subscribe',
      payload: { query: 'subscription ($run: String!) { event(run: $run) }', variables: { run: '$RUN' } },
    }),
  ],
  // Each `on()` also listens to errors.
  subscribed: () => emitter.listenerCount('error'),
  ...peer((events) => () => {
    for (const event of events) emitter.emit(event.runId, event);
  }),
});
