import { useCallback, useEffect, useState } from 'react';
import type { RunCompletedEvent, RunFailedEvent, StageProgressEvent } from '../../../../client/compat/index.ts';
import {
  ConnectionState,
  type EventHandler,
  type UseRunEventsOptions,
  type UseRunEventsReturn,
  useRunEvents,
} from '../../../../client/compat/index.ts';

export interface RunMonitorProps {
  runId: string;
  projectId: string;
  userId: string;
}

/** Progress, log and connection of one run. */
export function RunMonitor({ runId, projectId, userId }: RunMonitorProps) {
  const [progress, setProgress] = useState(0);
  const [outcome, setOutcome] = useState('running');
  const [governance, setGovernance] = useState<string[]>([]);
  const [lastError, setLastError] = useState('');

  const options: UseRunEventsOptions = {
    runId,
    projectId,
    userId,
    autoConnect: true,
    maxReconnectAttempts: 5,
    reconnectDelay: 50,
    onError: (error) => setLastError(error.message),
  };
  const events: UseRunEventsReturn = useRunEvents(options);
  const { isConnected, connectionState, error, subscribe, unsubscribe } = events;
  const { subscribe_category, unsubscribe_category, reconnect, disconnect } = events;

  useEffect(() => {
    const onProgress: EventHandler<StageProgressEvent> = (event) => {
      setProgress(event.payload.progress);
    };
    return subscribe('stage.progress', onProgress);
  }, [subscribe]);

  const onCompleted = useCallback((event: RunCompletedEvent) => {
    setOutcome(`completed ${event.payload.runId}`);
  }, []);
  const onFailed = useCallback((event: RunFailedEvent) => {
    setOutcome(`failed: ${event.payload.error}`);
  }, []);
  useEffect(() => {
    subscribe('run.completed', onCompleted);
    subscribe('run.failed', onFailed);
    return () => {
      unsubscribe('run.completed', onCompleted);
      unsubscribe('run.failed', onFailed);
    };
  }, [subscribe, unsubscribe, onCompleted, onFailed]);

  useEffect(() => {
    const onGovernance: EventHandler = (event) => {
      setGovernance((seen) => [...seen, event.type]);
    };
    subscribe_category('governance', onGovernance);
    return () => unsubscribe_category('governance', onGovernance);
  }, [subscribe_category, unsubscribe_category]);

  return (
    <section>
      <p data-testid="connection">{isConnected ? 'live' : 'offline'}</p>
      <p data-testid="state">{connectionState === ConnectionState.CONNECTED ? 'connected' : connectionState}</p>
      <progress data-testid="progress" value={progress} max={100} />
      <p data-testid="outcome">{outcome}</p>
      <p data-testid="governance">{governance.join(', ')}</p>
      <p data-testid="error">{error?.message ?? lastError}</p>
      <button type="button" onClick={reconnect}>
        Reconnect
      </button>
      <button type="button" onClick={disconnect}>
        Disconnect
      </button>
    </section>
  );
}
