import { CountingClient } from './frames.ts';

/**
 * The readers of the delivery bench, in a process of their own: opens clients, and reports to the parent each time
 * that all of them have had `target` frames.
 */

/** In a greeting, `{client}` stands for the number of the client. */
type Command =
  | { kind: 'open'; port: number; path: string; clients: number; greetings: string[] }
  | { kind: 'expect'; frames: number }
  | { kind: 'close' };

let clients: CountingClient[] = [];
let received = 0;
let target = Number.POSITIVE_INFINITY;

const report = () => {
  if (received < target) return;
  received -= target;
  target = Number.POSITIVE_INFINITY;
  process.send?.('done');
};

process.on('message', async (command: Command) => {
  if (command.kind === 'open') {
    clients = [];
    for (let index = 0; index < command.clients; index++) {
      const client = await CountingClient.open(command.port, command.path, () => {
        received++;
        report();
      });
      for (const greeting of command.greetings) client.send(greeting.replaceAll('{client}', String(index)));
      clients.push(client);
    }
    process.send?.('opened');
  } else if (command.kind === 'expect') {
    target = command.frames;
    report();
  } else {
    for (const client of clients) client.socket.destroy();
    received = 0;
    target = Number.POSITIVE_INFINITY;
    process.send?.('closed');
  }
});
