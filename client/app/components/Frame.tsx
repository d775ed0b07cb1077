import { createContext, type MouseEvent, type ReactNode, use, useState } from 'react';
import { NARROW, useMedia } from '../hooks/useMedia.ts';
import { useSession } from '../hooks/useSession.ts';
import { lazily } from '../lib/lazily.tsx';
import { Link, runOfPath, useParams, usePath } from '../lib/navigation.tsx';
import { Popover } from './Popover.tsx';
import { ProjectName } from './ProjectName.tsx';
import { Toolbar } from './Toolbar.tsx';
import { countText, useWaitingForMe } from './WaitingForMe.tsx';

const ProjectMenu = lazily(() => import('./ProjectMenu.tsx').then((part) => part.ProjectMenu));
const UserMenu = lazily(() => import('./UserMenu.tsx').then((part) => part.UserMenu));

/** The element of the bar that holds the badge of the page. */
const BadgeSlot = createContext<HTMLElement | null>(null);
export const useBadgeSlot = (): HTMLElement | null => use(BadgeSlot);

/** The bar with the navigation, and the element `main` with the page. The frame stays when the page changes. */
export function Frame({ children }: { children: ReactNode }) {
  const [slot, setSlot] = useState<HTMLElement | null>(null);
  return (
    <BadgeSlot value={slot}>
      <SkipLink />
      <header className="bar">
        {/* The link to Runs in the navigation is the same, so this one is no tab stop. */}
        <Link href="/" className="brand" tabIndex={-1} aria-label="Runwire">
          <img src="/icon.svg" alt="" width="22" height="22" />
          <span>Runwire</span>
        </Link>
        <Project />
        <Navigation />
        <span className="grow" />
        <span ref={setSlot} className="badge-slot" />
        <User />
      </header>
      <main tabIndex={-1} id="main">
        {children}
      </main>
    </BadgeSlot>
  );
}

function SkipLink() {
  const path = usePath();
  const skip = (event: MouseEvent) => {
    event.preventDefault();
    const row = path === '/' ? document.querySelector('main [data-row][tabindex="0"]') : null;
    const target = row ?? document.querySelector('main');
    if (target instanceof HTMLElement) target.focus();
  };
  return (
    // biome-ignore lint/a11y/useValidAnchor: a link to a place in the page; the script moves the focus to the row there.
    <a href="#main" className="skip" onClick={skip}>
      {path === '/' ? 'To the runs' : runOfPath(path) ? 'To the run' : 'To the content'}
    </a>
  );
}

/** The project of the page. A user of one project has no menu. */
function Project() {
  const path = usePath();
  const { me } = useSession();
  const chosen = useParams().get('project') ?? runOfPath(path)?.projectId;
  if (!me || me.projects.length === 0) return null;
  const [only] = me.projects;
  if (me.projects.length === 1 && only !== undefined && only !== '*') {
    return (
      <span className="project-menu">
        <ProjectName projectId={only} />
      </span>
    );
  }
  return (
    <Popover
      label="Project"
      onPreload={() => void ProjectMenu.preload()}
      trigger={
        <button type="button" className="project-menu">
          <span className="unseen">Project: </span>
          <span className="text">{chosen === undefined ? 'All projects' : <ProjectName projectId={chosen} />}</span>
          <span aria-hidden="true">▾</span>
        </button>
      }
    >
      {(close) => <ProjectMenu chosen={chosen} onClose={close} />}
    </Popover>
  );
}

type ItemOptions = { isOfProject?: boolean; count?: number; onClick?: (() => void) | undefined };

function Navigation() {
  const path = usePath();
  const isNarrow = useMedia(NARROW);
  const { isAdmin } = useSession();
  const waiting = useWaitingForMe();
  const project = useParams().get('project') ?? undefined;
  const item = (href: string, name: string, { isOfProject = false, count = 0, onClick }: ItemOptions = {}) => {
    const isHere = href === '/' ? path === '/' : path.startsWith(href);
    const of = isOfProject && project !== undefined ? `?project=${encodeURIComponent(project)}` : '';
    const label = count > 0 ? `${name}, ${countText(count)} wait for you` : undefined;
    return (
      <Link href={href + of} aria-current={isHere ? 'page' : undefined} aria-label={label} onClick={onClick}>
        {name}
        {count > 0 && <span className="count">{countText(count)}</span>}
      </Link>
    );
  };
  const forAdmins = (onClick?: () => void) => (
    <>
      {item('/operations', 'Operations', { onClick })}
      {item('/settings/webhooks', 'Settings', { onClick })}
    </>
  );
  return (
    <Toolbar as="nav" label="Main">
      {item('/', 'Runs', { isOfProject: true })}
      {item('/approvals', 'Approvals', { isOfProject: true, count: waiting })}
      {item('/search', 'Search', { isOfProject: true })}
      {!isNarrow && isAdmin && forAdmins()}
      {isNarrow && isAdmin && (
        <Popover label="More pages" align="end" trigger={<button type="button">More</button>}>
          {(close) => <div className="more-pages">{forAdmins(close)}</div>}
        </Popover>
      )}
    </Toolbar>
  );
}

function User() {
  const { me } = useSession();
  const name = me?.sub ?? '';
  return (
    <Popover
      label="You"
      align="end"
      onPreload={() => void UserMenu.preload()}
      trigger={
        <button type="button" className="user" aria-label={name === '' ? 'Menu' : `Menu of ${name}`}>
          {initialsOf(name) || '☰'}
        </button>
      }
    >
      {(close) => <UserMenu onClose={close} />}
    </Popover>
  );
}

/** `AB` for `ann.berg`, `A` for `ada`. */
function initialsOf(name: string): string {
  const words = name.split(/[^\p{L}\p{N}]+/u).filter((word) => word !== '');
  return words
    .slice(0, 2)
    .map((word) => [...word][0]?.toUpperCase() ?? '')
    .join('');
}
