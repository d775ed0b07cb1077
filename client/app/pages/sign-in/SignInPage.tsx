import { type ReactNode, useEffect, useState } from 'react';
import { useConnection } from '../../../hooks/index.ts';
import { Copy } from '../../components/Copy.tsx';
import { Name } from '../../components/Name.tsx';
import { useSession } from '../../hooks/useSession.ts';
import { navigate, useParams, usePath } from '../../lib/navigation.tsx';
import { here } from '../../session/renew.ts';
import { useAccount } from '../../session/SessionProvider.tsx';
import { signOut } from '../../session/sign-out.ts';
import { useSignInModes } from '../../session/useSignInModes.ts';
import { TokenForm } from './TokenForm.tsx';
import { clockTextOf, failureOf, organisationOf } from './words.ts';
import '../../styles/pages/sign-in.css';

/**
 * The sign-in, in place of the frame: at `/sign-in`, and at any address while there is no user, or a user without any right.
 * `return` is the page to open after it; `window=1` is a small window, which closes after it.
 */
export function SignInPage() {
  const path = usePath();
  const params = useParams();
  const { me } = useSession();
  const { isOut } = useAccount();
  const isOwnPage = path === '/sign-in';
  const isWindow = isOwnPage && params.get('window') === '1';
  const target = isOwnPage ? (params.get('return') ?? '/') : here();
  const isIn = me !== undefined && me.roles.length > 0 && me.projects.length > 0;
  useEffect(() => {
    document.title = `${isOut ? 'Signed out' : 'Sign in'} · Runwire`;
  }, [isOut]);
  useEffect(() => {
    if (!isIn) return;
    if (isWindow) window.close();
    else if (isOwnPage) goTo(target);
  }, [isIn, isWindow, isOwnPage, target]);
  return (
    <main className="sign-in" tabIndex={-1}>
      <Failures />
      <section className="card">
        <p className="brand">
          <img src="/icon.svg" alt="" width="22" height="22" />
          <span>Runwire</span>
        </p>
        {isIn ? (
          <p role="status">{isWindow ? 'You are signed in. You can close this window.' : 'You are signed in.'}</p>
        ) : me ? (
          <NoAccess sub={me.sub} />
        ) : (
          <Ways target={target} />
        )}
      </section>
      <p className="soft small">
        {window.location.host} · Runwire {import.meta.env.APP_VERSION}
      </p>
    </main>
  );
}

/** Opens a page of this origin: anybody can write the parameter, and the history refuses the address of another site. */
function goTo(path: string): void {
  try {
    navigate(path.startsWith('/') ? path : '/', { replace: true });
  } catch {
    navigate('/', { replace: true });
  }
}

function Failures() {
  const params = useParams();
  const { me } = useSession();
  const { data } = useSignInModes();
  const clock = clockTextOf(useConnection().serverTimeOffsetMs);
  const failure = me ? undefined : failureOf(params, data?.provider);
  return (
    <div role="alert" className="failures">
      {failure && (
        <div className="failure">
          <p>{failure.text}</p>
          {failure.code !== undefined && (
            <details>
              <summary>Details</summary>
              <code>{failure.code}</code>
            </details>
          )}
        </div>
      )}
      {clock !== undefined && <p className="failure">{clock}</p>}
    </div>
  );
}

function NoAccess({ sub }: { sub: string }) {
  const account = useAccount();
  const [hasFailed, setHasFailed] = useState(false);
  return (
    <>
      <h1>No access</h1>
      <p>
        You are signed in as <Name>{sub}</Name>, but have no access to any project. Ask an administrator of Runwire for
        access.
      </p>
      <p className="actions">
        <button type="button" onClick={async () => setHasFailed(!(await signOut(account)))}>
          Sign out
        </button>
      </p>
      {hasFailed && <p role="alert">The server did not answer. You are still signed in.</p>}
    </>
  );
}

/** What to do, for each way to sign in. */
function Ways({ target }: { target: string }) {
  const { isOut } = useAccount();
  const { data, error, refetch } = useSignInModes();
  if (!data) {
    return (
      <>
        <h1>{isOut ? 'You are signed out' : 'Sign in'}</h1>
        {error && (
          <>
            <p role="alert">The server cannot be reached.</p>
            <Actions>
              <button type="button" onClick={() => void refetch()}>
                Try again
              </button>
            </Actions>
          </>
        )}
      </>
    );
  }
  const [mode = 'secret', ...others] = data.modes;
  const title = isOut ? 'You are signed out' : mode === 'oidc' ? 'Sign in to Runwire' : 'Sign in';
  return (
    <>
      <h1>{title}</h1>
      {mode === 'oidc' && <AtProvider target={target} provider={data.provider ?? ''} signOutUrl={data.signOutUrl} />}
      {mode === 'link' && <WithLink />}
      {mode === 'host' && (
        <>
          <p>This page is part of another application. Sign in there, then reload.</p>
          <Actions>
            <button type="button" className="primary" onClick={() => window.location.reload()}>
              Reload
            </button>
          </Actions>
        </>
      )}
      {(mode === 'secret' || mode === 'issuer') && (
        <>
          <p>Ask your administrator for a sign-in link, or paste a token.</p>
          <TokenForm />
        </>
      )}
      {others.length > 0 && (
        <details>
          <summary>Use a token instead</summary>
          <TokenForm />
        </details>
      )}
    </>
  );
}

function AtProvider(props: { target: string; provider: string; signOutUrl: string | undefined }) {
  const { target, provider, signOutUrl } = props;
  const { isOut } = useAccount();
  const params = useParams();
  const organisation = organisationOf(provider);
  // A window stays a window: it closes at its own page.
  const to = params.get('window') === '1' ? '/sign-in?window=1' : target;
  return (
    <>
      <p>{isOut ? `You are still signed in at ${organisation}.` : `You will be sent to ${provider}.`}</p>
      <Actions>
        {/* Not a link of the app: the server answers this address. */}
        <a className="button primary" href={`/auth/login?return=${encodeURIComponent(to)}`}>
          {isOut ? 'Sign in' : `Sign in with ${organisation}`}
        </a>
        {isOut && signOutUrl !== undefined && (
          <a className="button" href={signOutUrl}>
            Sign out there too
          </a>
        )}
      </Actions>
    </>
  );
}

const COMMAND = 'runwire login';

const WithLink = () => (
  <>
    <p>Open the link that the server printed when it started. It is valid for a day.</p>
    <p>
      Lost it? Run <code>{COMMAND}</code> in the server's folder. <Copy text={COMMAND} what="the command" />
    </p>
    <p>Not your server? Paste a token, or ask the person who runs Runwire for a link.</p>
    <TokenForm />
  </>
);

const Actions = ({ children }: { children: ReactNode }) => <p className="actions">{children}</p>;
