import { createServer } from 'node:http';
import { webSocketManager } from '../../../../server/compat/index.ts';
import { handleRequest } from './routes.ts';

const httpServer = createServer(handleRequest);
webSocketManager.initialize(httpServer);

const PORT = Number(process.env.PORT ?? 3001);
httpServer.listen(PORT, () => {
  console.log(`Server on http://localhost:${PORT}, events on ws://localhost:${PORT}/ws`);
});

export function gracefulShutdown() {
  webSocketManager.shutdown();
  httpServer.close();
}

export { httpServer };
