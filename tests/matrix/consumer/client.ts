import { type ConnectionOptions, createRunwireClient } from 'runwire/client';

export type Seen = { seqs: number[]; done: (number | undefined)[]; gaps: string[]; errors: string[] };

/** Follows a run from its first event. */
export function follow(options: ConnectionOptions) {
  const { client, connection } = createRunwireClient(options);
  const seen: Seen = { seqs: [], done: [], gaps: [], errors: [] };
  const subscription = client.onRunEvent.subscribe(
    { runId: 'run-1', from: 'start' },
    {
      onData: ({ data }) => {
        if (data.type === 'stream.gap') seen.gaps.push(data.reason);
        if (data.type === 'stream.gap' || data.type === 'stream.live') return;
        seen.seqs.push(data.seq);
        if (data.type === 'stage.progress') seen.done.push(data.done);
      },
      onError: (error) => seen.errors.push(error.message),
    },
  );
  return { client, connection, seen, unsubscribe: () => subscription.unsubscribe() };
}
