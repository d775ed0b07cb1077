import { useEffect, useState } from 'react';
import { ConnectionState, type EventHandler, type StageProgressEvent, useRunEvents } from 'runwire/compat/react';

/** A page of the former WebSocket event system, with its hook. */
export function App({ url, token }: { url: string; token: string }) {
  const [progress, setProgress] = useState(0);
  const { connectionState, error, subscribe, reconnect } = useRunEvents({ runId: 'run-1', url, token });
  useEffect(() => {
    const onProgress: EventHandler<StageProgressEvent> = ({ payload }) => setProgress(payload.progress);
    return subscribe('stage.progress', onProgress);
  }, [subscribe]);
  return (
    <button type="button" onClick={reconnect} disabled={connectionState === ConnectionState.CONNECTED}>
      {connectionState} {progress} {error?.message}
    </button>
  );
}
