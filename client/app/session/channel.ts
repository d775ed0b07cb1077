/** Messages between the tabs of one browser. They share a cookie, so they have the same user. */

export type SessionMessage =
  /** This user is signed in. Sent by each page after its load, so also after a sign-in. */
  | { type: 'here'; sub: string }
  /** The user has signed out. */
  | { type: 'out' }
  /** The session was renewed. */
  | { type: 'renewed' };

const NAME = 'runwire:session';

export function tell(message: SessionMessage): void {
  const channel = open();
  channel?.postMessage(message);
  channel?.close();
}

/** Calls `listener` with the messages of other tabs. Returns a function that ends this. */
export function listen(listener: (message: SessionMessage) => void): () => void {
  const channel = open();
  if (channel) channel.onmessage = ({ data }: MessageEvent<SessionMessage>) => listener(data);
  return () => channel?.close();
}

/** Returns undefined if the browser denies the channel: then each tab is by itself. */
function open(): BroadcastChannel | undefined {
  try {
    return new BroadcastChannel(NAME);
  } catch {
    return undefined;
  }
}

/** Forgets the texts that the user has typed and not sent. Pages keep them under keys with this prefix. */
export function forgetTyped(): void {
  try {
    for (const key of Object.keys(sessionStorage)) if (key.startsWith('runwire:')) sessionStorage.removeItem(key);
  } catch {
    // The browser denies access to its storage, so nothing is kept.
  }
}
