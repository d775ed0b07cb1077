import { Time } from '../components/Time.tsx';
import { useSession } from '../hooks/useSession.ts';
import { openSignIn } from './renew.ts';
import '../styles/components/signed-out.css';

/** Shown above a page after the end of its session. The page stays, with what it shows. */
export function SignedOutBand({ at }: { at: number }) {
  const { me } = useSession();
  return (
    <div className="signed-out">
      <p>
        You were signed out at <Time at={at} form="short" />. What you see is of then.
      </p>
      <button type="button" onClick={() => openSignIn(me?.mode === 'oidc')}>
        Sign in again
      </button>
    </div>
  );
}
