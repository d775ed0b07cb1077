import type { ReactNode } from 'react';
import { codeOf, isSignedOut } from '../lib/errors.ts';

/** Shown in place of content: states what is missing, why, and what to do. */
export const Notice = ({ title, children }: { title: string; children: ReactNode }) => (
  <section className="notice">
    <h1>{title}</h1>
    {children}
  </section>
);

/** Shown when a page failed to load. */
export function Problem({ error, onRetry }: { error: Error; onRetry: () => void }) {
  const code = codeOf(error);
  if (isSignedOut(error)) {
    return (
      <Notice title="You are signed out">
        <p>
          Open the link that the server printed when it started (<code>…/login?token=…</code>). It signs you in for a
          day. A restarted server prints a new link.
        </p>
      </Notice>
    );
  }
  if (code === 'FORBIDDEN') {
    return (
      <Notice title="You do not have access">
        <p>Your token does not cover this project, or lacks a role. Ask an administrator of Runwire for access.</p>
      </Notice>
    );
  }
  return (
    <Notice
      title={code === undefined || code === 'UNAVAILABLE' ? 'The server cannot be reached' : 'Something went wrong'}
    >
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

/** Placeholder rows while data is loading. They appear after 150 ms, so that a fast answer causes no flicker. */
export const Skeleton = ({ children }: { children: ReactNode }) => (
  <div className="skeleton" role="status">
    <span className="unseen">{children}</span>
    {[...'abcdef'].map((row) => (
      <span className="row" key={row} aria-hidden="true" />
    ))}
  </div>
);
