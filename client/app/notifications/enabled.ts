import { useSyncExternalStore } from 'react';

/** The part of the settings that the first page needs: whether to load the rest. */

export const TOPICS_KEY = 'runwire:notify';
export const CHANGED = 'runwire:notify';

export function subscribe(listener: () => void): () => void {
  window.addEventListener('storage', listener);
  window.addEventListener(CHANGED, listener);
  return () => {
    window.removeEventListener('storage', listener);
    window.removeEventListener(CHANGED, listener);
  };
}

/** `unsupported`: the browser has no notifications, or the page is not from a secure origin. */
export type Permission = NotificationPermission | 'unsupported';

export const permission = (): Permission =>
  'Notification' in window && window.isSecureContext ? Notification.permission : 'unsupported';

function isOn(): boolean {
  try {
    return permission() === 'granted' && (localStorage.getItem(TOPICS_KEY) ?? '[]') !== '[]';
  } catch {
    return false; // The browser denies access to its storage.
  }
}

/** True if this browser is to notify: then the code for it is loaded. */
export const useNotifies = (): boolean => useSyncExternalStore(subscribe, isOn);
