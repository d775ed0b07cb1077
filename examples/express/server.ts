import { randomBytes, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import express, { type Request } from 'express';
import { createRunServer, signToken } from 'runwire/server';
import { serveCollaboration } from './collaboration.ts';
import { events } from './events.ts';
import { exportDocument } from './export-document.ts';

/** Your own sign-in takes the place of this function. */
const userOf = (request: Request) => request.get('x-user');

const app = express();
const httpServer = createServer(app); // Not app.listen(): Runwire needs the HTTP server.
serveCollaboration(httpServer);

const authSecret = process.env.AUTH_SECRET ?? randomBytes(32).toString('hex');
const runs = await createRunServer({ databaseUrl: 'file:./data/runwire.db', authSecret, events });
runs.attach(httpServer); // Serves /ws, /trpc and /api/v1.

app.get('/', (_request, response) => {
  response.send('the app');
});

app.post('/runwire-token', async (request, response) => {
  const user = userOf(request);
  if (user === undefined) return response.sendStatus(401);
  const claims = { sub: user, projects: ['documents'], roles: ['viewer'] as const, ttlSeconds: 600 };
  return response.type('text').send(await signToken({ secret: authSecret }, claims));
});

app.post('/documents/:name/exports', (request, response) => {
  if (userOf(request) === undefined) return response.sendStatus(401);
  const runId = `export-${randomUUID()}`;
  exportDocument(runs, runId, request.params.name).catch(console.error);
  return response.status(202).json({ runId });
});

httpServer.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${(httpServer.address() as AddressInfo).port}`);
});

process.once('SIGTERM', async () => {
  await runs.close();
  process.exit();
});
