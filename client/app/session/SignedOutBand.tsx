import { Time } from '../components/Time.tsx';
import { openSignIn } from './renew.ts';
import { useSignInModes } from './useSignInModes.ts';
import '../styles/components/signed-out.css';

/** Shown above a page after the end of its session. The page stays, with what it shows. */
export function SignedOutBand({ at }: { at: number }) {
  const { data } = useSignInModes();
  const isOidc = data?.modes[0] === 'oidc';
  return (
    <div className="signed-out">
      <p>
        You were signed out at <Time at={at} form="short" />. What you see is of then.
      </p>
      <button type="button" onClick={() => openSignIn(isOidc)}>
        Sign in again
      </button>
    </div>
  );
}
