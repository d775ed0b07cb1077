import { useSyncExternalStore } from 'react';
import { readStored, stored } from '../lib/storage.ts';

/** The part of the settings that the first page needs: whether to load the rest. */

export const TOPICS_KEY = 'runwire:notify';

/** `unsupported`: the browser has no notifications, or the page is not from a secure origin. */
export type Permission = NotificationPermission | 'unsupported';

export const permission = (): Permission =>
  'Notification' in window && window.isSecureContext ? Notification.permission : 'unsupported';

const isOn = (): boolean => permission() === 'granted' && (readStored(TOPICS_KEY) ?? '[]') !== '[]';

/** True if this browser is to notify: then the code for it is loaded. */
export const useNotifies = (): boolean => useSyncExternalStore(stored.listen, isOn);
