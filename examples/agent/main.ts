import { randomBytes } from 'node:crypto';
import { createRunServer, signToken } from 'runwire/server';
import { work } from './agent.ts';
import { events } from './events.ts';

const authSecret = process.env.AUTH_SECRET ?? randomBytes(32).toString('hex');
const server = await createRunServer({
  databaseUrl: 'file:./data/runwire.db',
  port: Number(process.env.PORT ?? 3001),
  authSecret,
  events,
});
const { url } = await server.listen();

const run = { projectId: 'support', runId: process.argv[2] ?? 'refund-1' };
const claims = { sub: 'ada', projects: ['support'], roles: ['viewer', 'approver'] as const, ttlSeconds: 3_600 };
const token = await signToken({ secret: authSecret }, claims);
console.log(`${url}/login?token=${token}&return=${encodeURIComponent(`/runs/${run.projectId}/${run.runId}`)}`);

await work(server, run, 'Refund the late order A-17');
console.log('the task is done; the server goes on');
