import { createRunwireClient } from 'runwire/client';
import { isSignal } from 'runwire/events';
import { WebSocket } from 'ws'; // Node.js 20 has none of its own
import type { events } from './events.ts';

/** Exports a document, and prints the events of the export as they happen. */

const url = process.argv[2] ?? 'http://127.0.0.1:8080';
const post = (path: string) => fetch(url + path, { method: 'POST', headers: { 'x-user': 'ada' } });

const token = async () => (await post('/runwire-token')).text();
const { client, connection } = createRunwireClient<typeof events>({ url, token, WebSocket });

const { runId } = (await (await post('/documents/handbook/exports')).json()) as { runId: string };
client.onRunEvent.subscribe(
  { runId, from: 'start' },
  {
    onData: ({ data }) => {
      if (isSignal(data)) return; // Everything so far has arrived, or a part is missing.
      if (data.type === 'page.rendered') console.log(`page ${data.page}: ${data.words} words`);
      else console.log(data.type);
      if (data.type === 'run.completed') void connection.close();
    },
    onError: (error) => console.error(error.message),
  },
);
