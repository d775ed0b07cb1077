import { RunwireProvider } from 'runwire/react';
import { Live } from './live';

/** A server component, prerendered by the build. It imports the provider itself, without a file of its own for it. */
export default function Page() {
  return (
    <RunwireProvider url="http://127.0.0.1:1" token="none">
      <Live runId="run-1" />
    </RunwireProvider>
  );
}
