import { createRunwireClient } from '../../client/index.ts';

/** A worker that follows run `r1` with the options it is sent. It posts the state of the connection and `runSeq` of events. */
addEventListener('message', ({ data }: MessageEvent<{ url: string; token: string }>) => {
  const { client, connection } = createRunwireClient({ ...data, reconnectDelayMs: 10 });
  connection.subscribe(() => postMessage({ state: connection.getStatus().state }));
  client.onRunEvent.subscribe(
    { runId: 'r1', from: 'start' },
    { onData: (item) => 'runSeq' in item.data && postMessage({ runSeq: item.data.runSeq }) },
  );
});
