import { useCallback, useMemo, useSyncExternalStore } from 'react';
import { isText, listOf, readStored, stored, useStored, writeStored } from '../lib/storage.ts';
import { type Permission, permission, TOPICS_KEY } from './enabled.ts';

/** What this browser notifies about. Nothing is on until the user has allowed notifications once. */
export type Topic = 'approvals' | 'decided' | 'ended' | 'front' | 'details';

const FOLLOWED_KEY = 'runwire:followed';
const MAX_FOLLOWED = 20;

/** Texts of producers may be on a lock screen, so they are off by default, except on the developer's own machine. */
const isLocal = () => /^(localhost|127\.0\.0\.1|\[::1\])$/.test(window.location.hostname);
export const usualTopics = (): Topic[] => ['approvals', 'decided', 'ended', ...(isLocal() ? ['details' as const] : [])];

function useTexts(key: string): [readonly string[], (values: readonly string[]) => void] {
  const text = useStored(key);
  const values = useMemo(() => listOf(text, isText), [text]);
  const change = useCallback((next: readonly string[]) => writeStored(key, JSON.stringify(next)), [key]);
  return [values, change];
}

export const useTopics = () => useTexts(TOPICS_KEY) as [readonly Topic[], (topics: readonly Topic[]) => void];

export type Followed = { projectId: string; runId: string };
const textOf = ({ projectId, runId }: Followed) => JSON.stringify([projectId, runId]);

/** The runs that this browser reports the end of, newest first. */
export function useFollowed() {
  const [texts, change] = useTexts(FOLLOWED_KEY);
  const followed = useMemo(() => texts.flatMap(followedOf), [texts]);
  const has = (run: Followed) => texts.includes(textOf(run));
  const set = (run: Followed, isFollowed: boolean) => {
    const others = texts.filter((text) => text !== textOf(run));
    change(isFollowed ? [textOf(run), ...others].slice(0, MAX_FOLLOWED) : others);
  };
  return { followed, has, set };
}

function followedOf(text: string): Followed[] {
  try {
    const [projectId, runId] = JSON.parse(text) as unknown[];
    return typeof projectId === 'string' && typeof runId === 'string' ? [{ projectId, runId }] : [];
  } catch {
    return [];
  }
}

/** The permission of the browser. It changes in `ask`, and in the browser's settings. */
export function usePermission(): { permission: Permission; ask: () => Promise<Permission> } {
  const current = useSyncExternalStore(stored.listen, permission);
  const ask = useCallback(async () => {
    if (permission() === 'default') await Notification.requestPermission();
    const answer = permission();
    const topics = readStored(TOPICS_KEY) ?? '[]';
    // Also reports the answer, which has no event of its own.
    writeStored(TOPICS_KEY, answer === 'granted' && topics === '[]' ? JSON.stringify(usualTopics()) : topics);
    return answer;
  }, []);
  return { permission: current, ask };
}

export const refusedText = (): string =>
  `Blocked by your browser. Allow notifications for ${window.location.host} in its settings.`;
