import { type QueryClient, type QueryKey, useQuery } from '@tanstack/react-query';
import { RunwireError, runwireErrorOf, useRunwire } from '../../../hooks/index.ts';
import type { Continuity } from '../../components/Badge.tsx';
import { isRetryable } from '../../lib/errors.ts';

type Client = ReturnType<typeof useRunwire>['client']['server'];
type Answer<Name extends 'stats' | 'history' | 'record'> = Awaited<ReturnType<Client[Name]['query']>>;
export type Sample = Answer<'history'>['samples'][number];
export type ServerRecord = Answer<'record'>;
type Stats = Answer<'stats'>;
/** A client of the server. `sentPerSecond`: bytes, since the answer before; null at the first answer. */
export type ConnectedClient = Stats['clients'][number] & { sentPerSecond: number | null };
export type Clients = { atMs: number; connections: number; clients: ConnectedClient[] };

/** `reason`: why the last request failed; null while the data is up to date. */
export type Poll<Data> = { data: Data | undefined; reason: Error | null; retry: () => void; continuity: Continuity };

/** A server that has not answered in this time is reported as lost. */
const ANSWER_MS = 5_000;
const HISTORY_MS = 1_000;
const CLIENTS_MS = 2_000;
const RECORD_MS = 5_000;
const HOUR_MS = 3_600_000;

/** Returns the samples of the last hour, oldest first. Each request fetches those after the last one. */
export const useHistory = (isOn: boolean): Poll<Sample[]> =>
  usePoll('history', HISTORY_MS, isOn, async (client, signal, before: Sample[] = []) => {
    const { samples } = await client.history.query({ since: before.at(-1)?.at ?? 0 }, { signal });
    const oldestMs = (samples.at(-1)?.at ?? 0) - HOUR_MS;
    return samples.length === 0 ? before : [...before.filter(({ at }) => at > oldestMs), ...samples];
  });

export const useClients = (isOn: boolean): Poll<Clients> =>
  usePoll('clients', CLIENTS_MS, isOn, async (client, signal, before: Clients | undefined) => {
    const { connections, clients } = await client.stats.query(undefined, { signal });
    const atMs = performance.now();
    const seconds = (atMs - (before?.atMs ?? 0)) / 1_000;
    const sentBefore = new Map(before?.clients.map(({ id, sentBytes }) => [id, sentBytes]));
    const rateOf = (id: number, sentBytes: number) => {
      const known = sentBefore.get(id);
      return known === undefined || seconds <= 0 ? null : Math.max(0, (sentBytes - known) / seconds);
    };
    return {
      atMs,
      connections,
      clients: clients.map((one) => ({ ...one, sentPerSecond: rateOf(one.id, one.sentBytes) })),
    };
  });

export const useRecord = (isOn: boolean): Poll<ServerRecord> =>
  usePoll('record', RECORD_MS, isOn, (client, signal) => client.record.query(undefined, { signal }));

/** Fetches in an interval, while `isOn` and while the page is visible. A failed request keeps the data and is repeated. */
function usePoll<Data>(
  name: string,
  everyMs: number,
  isOn: boolean,
  fetch: (client: Client, signal: AbortSignal, before: Data | undefined) => Promise<Data>,
): Poll<Data> {
  const { client, queries, queryKey } = useRunwire();
  const key = queryKey('operations', name);
  const { data, error, refetch, isFetching } = useQuery<Data>({
    queryKey: key,
    queryFn: ({ signal }) => inTime(signal, (both) => fetch(client.server, both, dataOf<Data>(queries, key))),
    enabled: isOn,
    refetchInterval: everyMs,
    refetchIntervalInBackground: false,
    networkMode: 'always',
    structuralSharing: false,
    retry: false,
  });
  const retry = () => void refetch();
  // A request that repeats a failed one is no answer yet.
  const reason = error ?? null;
  const status = data !== undefined ? 'success' : reason ? 'error' : 'pending';
  const isLost = reason !== null && (isFetching || isRetryable(reason));
  const connectionState = reason === null ? (data ? 'connected' : 'connecting') : isLost ? 'reconnecting' : 'failed';
  const continuity: Continuity = {
    status,
    connectionState: status === 'error' ? 'idle' : connectionState,
    error: reason && runwireErrorOf(reason),
    retryAtMs: null,
    phase: 'live',
    seq: null,
    gap: null,
    reconnect: retry,
  };
  return { data, reason, retry, continuity };
}

const dataOf = <Data>(queries: QueryClient, key: QueryKey) => queries.getQueryData<Data>(key);

async function inTime<Data>(signal: AbortSignal, fetch: (signal: AbortSignal) => Promise<Data>): Promise<Data> {
  const late = AbortSignal.timeout(ANSWER_MS);
  try {
    return await fetch(AbortSignal.any([signal, late]));
  } catch (error) {
    if (!late.aborted || signal.aborted) throw error;
    throw new RunwireError('UNAVAILABLE', `the server has not answered within ${ANSWER_MS / 1_000} s`);
  }
}
