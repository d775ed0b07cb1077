import { type ReactNode, useEffect, useState } from 'react';
import { codeOf } from '../lib/errors.ts';
import { Copy } from './Copy.tsx';

/** Shown in place of content: states what is missing, why, and what to do. */
export const Notice = ({ title, children }: { title: ReactNode; children: ReactNode }) => (
  <section className="notice">
    <h1>{title}</h1>
    {children}
  </section>
);

/** Shown when a page failed to load. */
export function Problem({ error, onRetry }: { error: Error; onRetry: () => void }) {
  const code = codeOf(error);
  // The sign-in page takes the place of the frame, or the band above it offers the sign-in.
  if (code === 'UNAUTHENTICATED') return null;
  if (code === 'FORBIDDEN') {
    return (
      <Notice title="You do not have access">
        <p>Your project or role does not allow this. Ask an administrator of Runwire for access.</p>
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
      <p className="tools">
        <button type="button" onClick={onRetry}>
          Try again
        </button>
        <Copy text={[window.location.pathname, code, error.message].filter(Boolean).join('\n')} what="details" />
      </p>
    </Notice>
  );
}

/** After this time the placeholder says that it still waits, and offers to try again. */
const LATE_MS = 10_000;

/**
 * Placeholder rows while data is loading. They appear after 150 ms, so that a fast answer causes no flicker. After 10 s a button
 * tries again: `onRetry`, or a reload of the page.
 */
export function Skeleton({ children, onRetry }: { children: ReactNode; onRetry?: (() => void) | undefined }) {
  const [isLate, setIsLate] = useState(false);
  useEffect(() => {
    if (isLate) return;
    const timer = setTimeout(() => setIsLate(true), LATE_MS);
    return () => clearTimeout(timer);
  }, [isLate]);
  const retry = () => {
    setIsLate(false);
    if (onRetry) onRetry();
    else window.location.reload();
  };
  return (
    <div className="skeleton">
      <span className="unseen" role="status">
        {children}
      </span>
      {isLate && (
        <p className="late">
          Still loading…{' '}
          <button type="button" onClick={retry}>
            Try again
          </button>
        </p>
      )}
      {[...'abcdef'].map((row) => (
        <span className="row" key={row} aria-hidden="true" />
      ))}
    </div>
  );
}
