import { useEffect, useState } from 'react';

const SHOWN_MS = 1_500;

/** Copies a text. Browsers let pages do so over HTTPS and on localhost alone: elsewhere there is no button. */
export function Copy({ text, what }: { text: string; what: string }) {
  const [outcome, setOutcome] = useState<'Copied' | 'Not copied' | undefined>();
  useEffect(() => {
    if (!outcome) return;
    const timer = setTimeout(() => setOutcome(undefined), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [outcome]);
  if (!window.isSecureContext) return null;
  // The reader, or who embeds the page, may have forbidden it.
  const copy = () =>
    navigator.clipboard.writeText(text).then(
      () => setOutcome('Copied'),
      () => setOutcome('Not copied'),
    );
  return (
    <button type="button" className="copy" aria-label={outcome ?? `Copy ${what}`} onClick={() => void copy()}>
      {outcome ?? 'Copy'}
    </button>
  );
}
