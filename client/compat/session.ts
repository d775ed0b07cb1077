import type { CompatEvents } from '../../shared/compat-events.ts';
import {
  COMPAT_PROJECT,
  COMPAT_TYPE,
  runForAll,
  runForProject,
  runForUser,
  tokenOfClaims,
} from '../../shared/compat-names.ts';
import { RunwireError } from '../../shared/errors.ts';
import { isSignal, type StreamSignal } from '../../shared/protocol.ts';
import type { EventOf } from '../../shared/registry.ts';
import type { ConnectionState as State } from '../connection/reconnect-policy.ts';
import { createRunwireClient } from '../connection/runwire.ts';
import type { TokenSource } from '../connection/token-cache.ts';
import { runwireErrorOf } from '../errors.ts';

/** An event in its former form. */
export type Message = { type: string };

export type SessionOptions = {
  runId?: string | undefined;
  projectId?: string | undefined;
  userId?: string | undefined;
  url?: string | undefined;
  token?: TokenSource | undefined;
  reconnectAttempts: number;
  reconnectDelay: number;
  onMessage(message: Message): void;
  onStatus(state: State, error: RunwireError | null): void;
  /** Called when events were lost: the server has not kept those since the connection was lost. Once for a connection. */
  onLoss(error: RunwireError): void;
};

export type Session = { readonly isOpen: boolean; reconnect(): void; close(): void };

type Item = { data: EventOf<CompatEvents> | StreamSignal };

/** The actor of the server's own messages. A publisher on the network cannot have it, and so cannot send to a page. */
const SERVER = 'server';

/**
 * Opens the connection of one hook, and the subscriptions for what the former server sent to such a client: to the run, or else
 * to the project, or else everything; and besides to its project, to its user and to all.
 */
export function openSession(options: SessionOptions): Session {
  const { runId, projectId, userId, url, token, reconnectAttempts, reconnectDelay } = options;
  const { onMessage, onStatus, onLoss } = options;
  const { client, connection } = createRunwireClient<CompatEvents>({
    url,
    token: token ?? tokenOfClaims({ userId }),
    ...(token === undefined ? { identity: userId ?? 'anonymous' } : {}),
    maxReconnectAttempts: reconnectAttempts,
    reconnectDelayMs: reconnectDelay,
    afterFailed: 'stop',
  });
  const isOwn = (run: { projectId: string }) =>
    !run.projectId.startsWith(`${COMPAT_PROJECT}:`) ||
    (userId !== undefined && runForUser(userId).projectId === run.projectId);
  const types: (typeof COMPAT_TYPE)[] = [COMPAT_TYPE];
  let isLossReported = false;
  const observer = {
    onData: ({ data }: Item) => {
      if (data.type === 'stream.gap' && data.reason !== 'access_changed' && !isLossReported) {
        isLossReported = true;
        onLoss(new RunwireError('UNAVAILABLE', 'events were lost: the server has not kept them'));
      }
      if (isSignal(data) || data.type !== COMPAT_TYPE) return;
      const { event, to, actor } = data as EventOf<CompatEvents, typeof COMPAT_TYPE>;
      const isForOthers = (to === 'run' && runId === undefined) || !isOwn(data as { projectId: string });
      // An erased event has no text, and so no type.
      if (actor === SERVER && !isForOthers && typeof event.type === 'string') onMessage(event as Message);
    },
    onError: (error: unknown) => {
      close();
      onStatus('failed', runwireErrorOf(error));
    },
  };
  const follow = (run: { projectId?: string | undefined; runId: string }) =>
    client.onRunEvent.subscribe({ ...run, types }, observer as never);
  const isOfAll = runId === undefined && projectId === undefined;
  const subscriptions = isOfAll
    ? [client.onEvent.subscribe({ types }, observer as never)]
    : [
        runId === undefined
          ? client.onProjectEvent.subscribe({ projectId: projectId as string, types }, observer as never)
          : follow({ runId, projectId }),
        ...(runId !== undefined && projectId !== undefined ? [follow(runForProject(projectId))] : []),
        ...(userId === undefined ? [] : [follow(runForUser(userId))]),
        follow(runForAll),
      ];
  const report = () => {
    const { state, error } = connection.getStatus();
    if (state !== 'connected') isLossReported = false;
    onStatus(state, error);
  };
  const stop = connection.subscribe(report);
  let isOpen = true;
  const close = () => {
    isOpen = false;
    stop();
    for (const subscription of subscriptions) subscription.unsubscribe();
    void connection.close();
  };
  report();
  return {
    get isOpen() {
      return isOpen;
    },
    reconnect: connection.reconnect,
    close,
  };
}
