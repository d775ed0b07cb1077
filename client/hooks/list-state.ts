import type { SubscriptionState } from '../feeds/subscription.ts';

const idle = { connectionState: 'idle', phase: 'replaying', error: null, retryAtMs: null } as const;

/** Returns the state of a feed as a hook shows it: at once `connecting` or `idle`, before its effects have run. */
export function listStateOf<State extends SubscriptionState>(
  state: State,
  enabled: boolean,
): State & { isConnected: boolean } {
  const current = enabled ? state : { ...state, ...idle };
  const isStarting = enabled && current.connectionState === 'idle';
  return {
    ...current,
    connectionState: isStarting ? 'connecting' : current.connectionState,
    isConnected: current.connectionState === 'connected',
  };
}
