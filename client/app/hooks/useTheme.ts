import { useEffect, useState } from 'react';

/** Light or dark: as the system has it, unless the reader says otherwise; what they said is kept in this browser. */

export type Theme = 'auto' | 'light' | 'dark';
const KEY = 'runwire:theme';
const themes: readonly Theme[] = ['auto', 'light', 'dark'];

function readTheme(): Theme {
  try {
    const kept = localStorage.getItem(KEY);
    return themes.find((theme) => theme === kept) ?? 'auto';
  } catch {
    return 'auto'; // A browser that keeps nothing.
  }
}

function show(theme: Theme): void {
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

/** Before the first paint, so that it is of the right colour. */
export const showKeptTheme = (): void => show(readTheme());

export function useTheme(): { theme: Theme; next(): void } {
  const [theme, setTheme] = useState(readTheme);
  useEffect(() => show(theme), [theme]);
  const next = () => {
    const following = themes[(themes.indexOf(theme) + 1) % themes.length] as Theme;
    setTheme(following);
    try {
      localStorage.setItem(KEY, following);
    } catch {
      // Then it is for this page alone.
    }
  };
  return { theme, next };
}
