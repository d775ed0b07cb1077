import type { ReactNode } from 'react';
import { codeOf, isSignedOut } from '../lib/errors.ts';

/** Stands where content would: says what there is not, why, and what to do. */
export const Notice = ({ title, children }: { title: string; children: ReactNode }) => (
  <section className="notice">
    <h1>{title}</h1>
    {children}
  </section>
);

/** What there is to say when a page could not be loaded. */
export function Problem({ error, onRetry }: { error: Error; onRetry: () => void }) {
  const code = codeOf(error);
  if (isSignedOut(error)) {
    return (
      <Notice title="You are signed out">
        <p>
          Open the link that the server printed when it started (<code>…/login?token=…</code>). It signs you in for a
          day; a restarted server prints a new one.
        </p>
      </Notice>
    );
  }
  if (code === 'FORBIDDEN') {
    return (
      <Notice title="This is not yours to see">
        <p>
          Your token does not cover it. Ask for one with the project and the role that it needs, and sign in with it.
        </p>
      </Notice>
    );
  }
  return (
    <Notice title={code === undefined || code === 'UNAVAILABLE' ? 'The server cannot be reached' : 'This did not work'}>
      <p>
        {error.message} {code !== undefined && <code>{code}</code>}
      </p>
      <p>
        <button type="button" onClick={onRetry}>
          Try again
        </button>
      </p>
    </Notice>
  );
}

/** Where rows are about to be. It is not seen at once: what is there in a moment should not flash first. */
export const Skeleton = ({ children }: { children: ReactNode }) => (
  <div className="skeleton" role="status">
    <span className="unseen">{children}</span>
    {[...'abcdef'].map((row) => (
      <span className="row" key={row} aria-hidden="true" />
    ))}
  </div>
);
