import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import next from 'next';
import { createRunServer } from 'runwire/server';

/** Next.js and Runwire on one HTTP server: the page's own host has /ws and /trpc. */

const port = Number(process.env.PORT ?? 3000);
// Pages read both. The URL is the one in the address bar: a proxy in front of the server changes it.
process.env.APP_URL ??= `http://localhost:${port}`;
process.env.AUTH_SECRET ??= randomBytes(32).toString('hex');

const httpServer = createServer();
const app = next({ dev: process.argv.includes('--dev'), httpServer, port });
await app.prepare();
httpServer.on('request', app.getRequestHandler());

const runs = await createRunServer({
  databaseUrl: 'file:./data/runwire.db',
  authSecret: process.env.AUTH_SECRET,
});
runs.attach(httpServer);
httpServer.listen(port, 'localhost', () => console.log(process.env.APP_URL));
