import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createRunServer, signToken } from 'runwire/server';
import { events } from './events.ts';
import { train } from './train.ts';

const authSecret = process.env.AUTH_SECRET ?? randomBytes(32).toString('hex');
const runs = await createRunServer({ databaseUrl: 'file:./data/runwire.db', authSecret, events });

/** Your own sign-in finds the user. */
const claims = { sub: 'ada', projects: ['models'], roles: ['viewer', 'approver'] as const, ttlSeconds: 600 };

const httpServer = createServer(async (request, response) => {
  switch (`${request.method} ${request.url}`) {
    case 'POST /api/token':
      response.end(await signToken({ secret: authSecret }, claims));
      break;
    case 'POST /api/trainings':
      response.end(await train(runs));
      break;
    default:
      response.writeHead(404).end();
  }
});
runs.attach(httpServer);
httpServer.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${(httpServer.address() as AddressInfo).port}`);
});
