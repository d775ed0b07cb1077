import { useState } from 'react';
import { useSession } from '../hooks/useSession.ts';
import { type Setting, type SettingName, useSetting } from '../hooks/useSetting.ts';
import { commands } from '../lib/commands.ts';
import { useAccount } from '../session/SessionProvider.tsx';
import { signOut } from '../session/sign-out.ts';
import { Name } from './Name.tsx';
import { Time } from './Time.tsx';
import '../styles/components/user-menu.css';

const SHOWN_PROJECTS = 5;

/** The menu of the user: name, rights, choices, and the way out. */
export function UserMenu({ onClose }: { onClose: () => void }) {
  const run = (name: 'help' | 'notifications') => () => {
    onClose();
    commands.send(name);
  };
  return (
    <div className="user-menu">
      <Identity />
      <Choice name="theme" label="Theme" options={{ auto: 'System', light: 'Light', dark: 'Dark' }} />
      <Choice name="density" label="Density" options={{ comfortable: 'Comfortable', compact: 'Compact' }} />
      <Choice name="times" label="Times" options={{ local: 'Local', utc: 'UTC' }} />
      <Choice name="shortcuts" label="Single-key shortcuts" options={{ on: 'On', off: 'Off' }} />
      <div className="actions">
        <button type="button" onClick={run('notifications')}>
          Notifications…
        </button>
        <button type="button" onClick={run('help')}>
          Keyboard shortcuts <kbd>?</kbd>
        </button>
        <SignOut />
      </div>
      <p className="soft version">Runwire {import.meta.env.APP_VERSION}</p>
    </div>
  );
}

function Identity() {
  const { me } = useSession();
  if (!me) return null;
  const isEverywhere = me.projects.includes('*');
  const more = me.projects.length - SHOWN_PROJECTS;
  return (
    <div className="identity">
      <strong>
        <Name>{me.name ?? me.sub}</Name>
      </strong>
      {me.name !== undefined && (
        <p className="soft">
          <Name>{me.sub}</Name>
        </p>
      )}
      <p>
        {me.roles.map((role) => (
          <span className="role" key={role}>
            {role}
          </span>
        ))}
        {me.roles.length === 0 && 'no role'}
      </p>
      <p className="soft">
        {isEverywhere ? (
          'All projects'
        ) : (
          <>
            {me.projects.slice(0, SHOWN_PROJECTS).map((project) => (
              <span className="project" key={project}>
                <Name>{project}</Name>
              </span>
            ))}
            {more > 0 && `+${more}`}
            {me.projects.length === 0 && 'No project'}
          </>
        )}
      </p>
      {me.expiresAt !== undefined && (
        <p className="soft">
          {me.mode === 'link' ? 'Link valid' : 'Signed in'} until <Time at={me.expiresAt} form="short" />
          {me.mode === 'oidc' && ' · renews by itself'}
        </p>
      )}
    </div>
  );
}

function Choice<Of extends SettingName>(props: {
  name: Of;
  label: string;
  options: { readonly [Value in Setting<Of>]: string };
}) {
  const { name, label, options } = props;
  const [value, change] = useSetting(name);
  return (
    <fieldset className="choice">
      <legend>{label}</legend>
      {(Object.entries(options) as [Setting<Of>, string][]).map(([option, text]) => (
        <label key={option}>
          <input type="radio" name={name} checked={option === value} onChange={() => change(option)} />
          <span>{text}</span>
        </label>
      ))}
    </fieldset>
  );
}

function SignOut() {
  const [hasFailed, setHasFailed] = useState(false);
  const account = useAccount();
  const leave = async () => setHasFailed(!(await signOut(account)));
  return (
    <>
      <button type="button" onClick={() => void leave()}>
        Sign out
      </button>
      {hasFailed && <span role="alert">The server did not answer. You are still signed in.</span>}
    </>
  );
}
