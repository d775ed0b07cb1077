import { type ReactNode, Suspense, useCallback, useState } from 'react';
import { Problem, Skeleton } from '../../components/Notice.tsx';
import { Shell } from '../../components/Shell.tsx';
import { Tabs } from '../../components/Tabs.tsx';
import { lazily } from '../../lib/lazily.tsx';
import { useParams } from '../../lib/navigation.tsx';
import '../../styles/pages/operations.css';
import { ClientsTable } from './ClientsTable.tsx';
import { Record } from './Record.tsx';
import { type Poll, useClients, useHistory, useRecord } from './usePolls.ts';

// The plots, and with them uPlot, are loaded only for the tab that shows them.
const Overview = lazily(() => import('./Overview.tsx').then((part) => part.Overview));

/** For administrators: the state of the server, its clients, and its record. */
export function OperationsPage() {
  const wanted = useParams().get('tab');
  const tab = wanted === 'clients' || wanted === 'record' ? wanted : 'overview';
  const [pausedAt, setPausedAt] = useState<number | null>(null);
  const isPaused = pausedAt !== null && tab === 'overview';
  const history = useHistory(tab === 'overview' && !isPaused);
  const clients = useClients(tab === 'clients');
  const record = useRecord(tab === 'record');
  const { continuity } = { overview: history, clients, record }[tab];
  const onPause = useCallback((pause: boolean) => setPausedAt(pause ? Date.now() : null), []);
  return (
    <Shell title="Operations" continuity={isPaused ? undefined : continuity}>
      <h1>Operations</h1>
      <Tabs
        label="Operations"
        tabs={[
          {
            id: 'overview',
            name: 'Overview',
            content: (
              <Loaded poll={history}>
                {(samples) => (
                  <Suspense fallback={<Skeleton>Loading the plots</Skeleton>}>
                    <Overview samples={samples} pausedAt={pausedAt} onPause={onPause} />
                  </Suspense>
                )}
              </Loaded>
            ),
          },
          {
            id: 'clients',
            name: 'Clients',
            content: (
              <Loaded poll={clients}>
                {(data) => <ClientsTable data={data} isOffline={clients.reason !== null} onChanged={clients.retry} />}
              </Loaded>
            ),
          },
          {
            id: 'record',
            name: 'Record',
            content: (
              <Loaded poll={record}>
                {(data) => <Record data={data} isOffline={record.reason !== null} onChanged={record.retry} />}
              </Loaded>
            ),
          },
        ]}
      />
    </Shell>
  );
}

/** The data stays while requests fail: the badge states since when. */
function Loaded<Data>({ poll, children }: { poll: Poll<Data>; children: (data: Data) => ReactNode }) {
  const { data, reason, retry } = poll;
  if (data !== undefined) return <div className="operations">{children(data)}</div>;
  if (reason) return <Problem error={reason} onRetry={retry} />;
  return <Skeleton onRetry={retry}>Loading</Skeleton>;
}
