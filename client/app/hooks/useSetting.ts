import { useCallback, useSyncExternalStore } from 'react';

/**
 * Choices of the reader, kept in this browser. The attributes of the document's root element hold the values in use, so that
 * style sheets can read them, also where the browser denies access to its storage.
 */

export const settings = {
  /** `auto` follows the system. */
  theme: ['auto', 'light', 'dark'],
  density: ['comfortable', 'compact'],
  times: ['local', 'utc'],
  /** Keys without Ctrl or Alt, such as `j` (WCAG 2.1.4). */
  shortcuts: ['on', 'off'],
} as const;

export type SettingName = keyof typeof settings;
export type Setting<Name extends SettingName> = (typeof settings)[Name][number];

const CHANGED = 'runwire:setting';
const keyOf = (name: SettingName) => `runwire:${name}`;
const names = Object.keys(settings) as SettingName[];

function stored(name: SettingName): string | null {
  try {
    return localStorage.getItem(keyOf(name));
  } catch {
    return null; // The browser denies access to its storage.
  }
}

function apply(name: SettingName, value: string | null): void {
  const [usual, ...others] = settings[name] as readonly string[];
  const known = others.find((other) => other === value) ?? usual;
  if (known === usual) delete document.documentElement.dataset[name];
  else document.documentElement.dataset[name] = known;
}

/** Applies the stored choices. Called before the first paint, so that the page does not flash in another theme. */
export function applyStoredSettings(): void {
  for (const name of names) apply(name, stored(name));
}

function subscribe(listener: () => void): () => void {
  const onStorage = ({ key }: StorageEvent) => {
    const name = names.find((one) => key === null || keyOf(one) === key);
    if (!name) return;
    applyStoredSettings();
    listener();
  };
  window.addEventListener('storage', onStorage); // Another tab has changed a choice.
  window.addEventListener(CHANGED, listener);
  return () => {
    window.removeEventListener('storage', onStorage);
    window.removeEventListener(CHANGED, listener);
  };
}

export const readSetting = <Name extends SettingName>(name: Name): Setting<Name> =>
  (document.documentElement.dataset[name] ?? settings[name][0]) as Setting<Name>;

/** Returns a choice of the reader, and a function that changes it here and in the other tabs. */
export function useSetting<Name extends SettingName>(name: Name): [Setting<Name>, (value: Setting<Name>) => void] {
  const value = useSyncExternalStore(subscribe, () => readSetting(name));
  const change = useCallback(
    (next: Setting<Name>) => {
      apply(name, next);
      try {
        localStorage.setItem(keyOf(name), next);
      } catch {
        // The choice lasts until the page closes.
      }
      window.dispatchEvent(new Event(CHANGED));
    },
    [name],
  );
  return [value, change];
}

/** Height of a row of a list, in px. Lists need it in code, since they compute the places of their rows. */
export const useRowPx = (): 32 | 44 => (useSetting('density')[0] === 'compact' ? 32 : 44);
