import { createContext, type ReactNode, use, useState } from 'react';
import { useSession } from '../hooks/useSession.ts';
import { type Theme, useTheme } from '../hooks/useTheme.ts';
import { Link, usePath } from '../lib/navigation.tsx';
import { openHelp } from './Help.tsx';

const themeNames: Record<Theme, string> = { auto: 'System', light: 'Light', dark: 'Dark' };

/** The element of the bar that holds the badge of the page. */
const BadgeSlot = createContext<HTMLElement | null>(null);
export const useBadgeSlot = (): HTMLElement | null => use(BadgeSlot);

/** The bar with the navigation, and the element `main` with the page. The frame stays when the page changes. */
export function Frame({ children }: { children: ReactNode }) {
  const [slot, setSlot] = useState<HTMLElement | null>(null);
  const { theme, next } = useTheme();
  return (
    <BadgeSlot value={slot}>
      <header className="bar">
        <Link href="/" className="brand">
          <img src="/icon.svg" alt="" width="22" height="22" />
          <span>Runwire</span>
        </Link>
        <Navigation />
        <span className="grow" />
        <span ref={setSlot} className="badge-slot" />
        <button type="button" className="keys-hint" onClick={openHelp} title="Keyboard shortcuts (press ?)">
          <span className="unseen">Keyboard shortcuts </span>
          <kbd>?</kbd>
        </button>
        <button type="button" className="theme" onClick={next} title="Theme: system, light or dark">
          <svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">
            <circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" strokeWidth="1.5" />
            <path d="M8 2 A6 6 0 0 1 8 14 Z" fill="currentColor" />
          </svg>
          <span className="unseen">Theme: </span>
          {themeNames[theme]}
        </button>
      </header>
      <main tabIndex={-1}>{children}</main>
    </BadgeSlot>
  );
}

function Navigation() {
  const path = usePath();
  const { isAdmin } = useSession();
  const item = (href: string, name: string) => (
    <Link href={href} aria-current={path === href ? 'page' : undefined}>
      {name}
    </Link>
  );
  return (
    <nav aria-label="Main">
      {item('/', 'Runs')}
      {item('/approvals', 'Approvals')}
      {item('/search', 'Search')}
      {isAdmin && item('/operations', 'Operations')}
      {isAdmin && item('/settings/webhooks', 'Settings')}
    </nav>
  );
}
