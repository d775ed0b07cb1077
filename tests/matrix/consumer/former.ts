import { createServer } from 'node:http';
import { type AnyWebSocketEvent, AnyWebSocketEventSchema, runEventBroadcaster, webSocketManager } from 'runwire/compat';

/** A server of the former WebSocket event system: its two objects over the packed package. Returns the statuses of its paths. */
export async function tryFormer(): Promise<number[]> {
  const httpServer = createServer((_request, response) => response.writeHead(404).end());
  await new Promise<void>((resolve) => httpServer.listen(0, '127.0.0.1', resolve));
  const { port } = httpServer.address() as { port: number };
  const { log } = console;
  console.log = () => undefined; // The manager reports its start there, and run.ts its result.
  webSocketManager.initialize(httpServer);
  await runEventBroadcaster.broadcastRunCreated({ projectId: 'trials', runId: 'run-1', name: 'Nightly cohort' });
  const event: AnyWebSocketEvent = AnyWebSocketEventSchema.parse({
    type: 'run.started',
    timestamp: new Date().toISOString(),
    payload: { runId: 'run-1' },
  });
  await webSocketManager.broadcastToRun('run-1', event);
  const statusOf = async (path: string) => (await fetch(`http://127.0.0.1:${port}${path}`)).status;
  const statuses = [await statusOf('/trpc/auth.modes'), await statusOf('/')];
  await webSocketManager.shutdown();
  httpServer.close();
  console.log = log;
  return statuses;
}
