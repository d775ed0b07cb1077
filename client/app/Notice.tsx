import type { ReactNode } from 'react';
import { codeOf, isSignedOut } from './errors.ts';

/** Stands where content would: says what there is not, why, and what to do. */
export function Notice({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section className="notice">
      <h1>{title}</h1>
      {children}
    </section>
  );
}

export const SignedOut = () => (
  <Notice title="You are signed out">
    <p>
      Open the link that the server printed when it started (<code>…/login?token=…</code>). It signs you in for a day; a
      restarted server prints a new one.
    </p>
  </Notice>
);

/** What there is to say when a page could not be loaded. */
export function Problem({ error, onRetry }: { error: unknown; onRetry: () => void }) {
  if (isSignedOut(error)) return <SignedOut />;
  const code = codeOf(error);
  if (code === 'FORBIDDEN') {
    return (
      <Notice title="This is not yours to see">
        <p>
          Your token does not cover it. Ask for one with the project and the role that it needs, and sign in with it.
        </p>
      </Notice>
    );
  }
  const message = error instanceof Error ? error.message : String(error);
  return (
    <Notice title={code === undefined || code === 'UNAVAILABLE' ? 'The server cannot be reached' : 'This did not work'}>
      <p>
        {message} {code !== undefined && <code>{code}</code>}
      </p>
      <p>
        <button type="button" onClick={onRetry}>
          Try again
        </button>
      </p>
    </Notice>
  );
}

export const Loading = ({ children }: { children: ReactNode }) => (
  <p className="loading" role="status">
    {children}
  </p>
);
