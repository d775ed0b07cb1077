import { useState } from 'react';
import { Inbox } from './Inbox.tsx';
import { Run } from './Run.tsx';
import { RunList } from './RunList.tsx';
import { RunwireProvider, useConnection } from './runwire.ts';

const post = (path: string) => fetch(path, { method: 'POST' }).then((response) => response.text());
const fetchToken = () => post('/api/token');

export function App() {
  const [runId, setRunId] = useState<string>();
  return (
    <RunwireProvider token={fetchToken}>
      <h1>Trainings</h1>
      <Connection />
      <button type="button" onClick={() => post('/api/trainings').then(setRunId)}>
        Start a training
      </button>
      <Inbox />
      <RunList onSelect={setRunId} />
      {runId !== undefined && <Run key={runId} runId={runId} />}
    </RunwireProvider>
  );
}

function Connection() {
  const { state, error, reconnect } = useConnection();
  if (state !== 'failed') return <p role="status">{state}</p>;
  return (
    <button type="button" onClick={reconnect}>
      {error?.message}: try again
    </button>
  );
}
