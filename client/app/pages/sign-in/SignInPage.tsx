import { useEffect } from 'react';

/** The page has no frame: no navigation, no badge. */
export function SignInPage() {
  useEffect(() => {
    document.title = 'Sign in · Runwire';
  }, []);
  return (
    <main tabIndex={-1}>
      <h1>Sign in</h1>
    </main>
  );
}
