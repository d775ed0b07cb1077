import { type ReactNode, useEffect } from 'react';
import { HeldNow } from '../hooks/useNow.ts';
import { useStaleSince } from '../hooks/useStaleSince.ts';
import { type Theme, useTheme } from '../hooks/useTheme.ts';
import { Link } from '../lib/navigation.tsx';
import { Badge, type Continuity } from './Badge.tsx';
import { openHelp } from './Help.tsx';

const themeNames: Record<Theme, string> = { auto: 'System', light: 'Light', dark: 'Dark' };

/** The frame of each page: a bar (links, badge, theme button), and the element `main` with the content. */
export function Shell(props: { title: string; isTop?: boolean; continuity?: Continuity; children: ReactNode }) {
  const { title, isTop = false, continuity, children } = props;
  const { theme, next } = useTheme();
  const staleSince = useStaleSince(continuity);
  useEffect(() => {
    document.title = `${title} · Runwire`;
  }, [title]);
  return (
    <>
      <header className="bar">
        <Link href="/" className="brand">
          <img src="/icon.svg" alt="" width="22" height="22" />
          <span>Runwire</span>
        </Link>
        {!isTop && (
          <nav aria-label="Breadcrumb">
            <Link href="/">All runs</Link>
          </nav>
        )}
        <span className="grow" />
        {continuity && <Badge {...continuity} staleSince={staleSince} />}
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
      <main tabIndex={-1}>
        <HeldNow value={staleSince}>{children}</HeldNow>
      </main>
    </>
  );
}
