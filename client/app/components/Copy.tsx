import { useEffect, useState } from 'react';

const SHOWN_MS = 1_500;

/** A button that copies a text. Browsers allow copying over HTTPS and on localhost only; elsewhere there is no button. */
export function Copy({ text, what }: { text: string; what: string }) {
  const [outcome, setOutcome] = useState<'Copied' | 'Copy failed' | undefined>();
  useEffect(() => {
    if (!outcome) return;
    const timer = setTimeout(() => setOutcome(undefined), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [outcome]);
  if (!window.isSecureContext) return null;
  // Copying fails if the user or an embedding page denies access to the clipboard.
  const copy = () =>
    navigator.clipboard.writeText(text).then(
      () => setOutcome('Copied'),
      () => setOutcome('Copy failed'),
    );
  return (
    <button type="button" className="copy" aria-label={outcome ?? `Copy ${what}`} onClick={() => void copy()}>
      {outcome ?? 'Copy'}
    </button>
  );
}
