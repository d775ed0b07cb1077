import { useEffect, useState } from 'react';

/** `auto` follows the system. The choice is stored in this browser. */
export type Theme = 'auto' | 'light' | 'dark';
const KEY = 'runwire:theme';
const themes: readonly Theme[] = ['auto', 'light', 'dark'];

function readTheme(): Theme {
  try {
    const stored = localStorage.getItem(KEY);
    return themes.find((theme) => theme === stored) ?? 'auto';
  } catch {
    return 'auto'; // The browser denies access to its storage.
  }
}

function show(theme: Theme): void {
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

/** Applies the stored theme. Called before the first paint, so that the page does not flash in another theme. */
export const showStoredTheme = (): void => show(readTheme());

export function useTheme(): { theme: Theme; next(): void } {
  const [theme, setTheme] = useState(readTheme);
  useEffect(() => show(theme), [theme]);
  const next = () => {
    const following = themes[(themes.indexOf(theme) + 1) % themes.length] as Theme;
    setTheme(following);
    try {
      localStorage.setItem(KEY, following);
    } catch {
      // The browser denies access to its storage: the choice lasts until the page closes.
    }
  };
  return { theme, next };
}
