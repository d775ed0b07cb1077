import { useCallback, useSyncExternalStore } from 'react';
import { readStored, stored, writeStored } from '../lib/storage.ts';

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

const keyOf = (name: SettingName) => `runwire:${name}`;
const names = Object.keys(settings) as SettingName[];

function apply(name: SettingName, value: string | null): void {
  const [usual, ...others] = settings[name] as readonly string[];
  const known = others.find((other) => other === value) ?? usual;
  if (known === usual) delete document.documentElement.dataset[name];
  else document.documentElement.dataset[name] = known;
}

/** Applies the stored choices. Called before the first paint, so that the page does not flash in another theme. */
export function applyStoredSettings(): void {
  for (const name of names) apply(name, readStored(keyOf(name)));
}

stored.listen((where) => {
  if (where === 'elsewhere') applyStoredSettings();
});

export const readSetting = <Name extends SettingName>(name: Name): Setting<Name> =>
  (document.documentElement.dataset[name] ?? settings[name][0]) as Setting<Name>;

/** Returns a choice of the reader, and a function that changes it here and in the other tabs. */
export function useSetting<Name extends SettingName>(name: Name): [Setting<Name>, (value: Setting<Name>) => void] {
  const value = useSyncExternalStore(stored.listen, () => readSetting(name));
  const change = useCallback(
    (next: Setting<Name>) => {
      apply(name, next);
      writeStored(keyOf(name), next);
    },
    [name],
  );
  return [value, change];
}

/** Height of a row of a list, in px. Lists need it in code, since they compute the places of their rows. */
export const useRowPx = (): 32 | 44 => (useSetting('density')[0] === 'compact' ? 32 : 44);
