import { useEffect, useState } from 'react';

const SHOWN_MS = 1_500;

/** Copies a text. Browsers let pages do so over HTTPS and on localhost alone: elsewhere there is no button. */
export function Copy({ text, what }: { text: string; what: string }) {
  const [isDone, setIsDone] = useState(false);
  useEffect(() => {
    if (!isDone) return;
    const timer = setTimeout(() => setIsDone(false), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [isDone]);
  if (!window.isSecureContext) return null;
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setIsDone(true);
  };
  return (
    <button type="button" className="copy" aria-label={`Copy ${what}`} onClick={() => void copy()}>
      {isDone ? 'Copied' : 'Copy'}
    </button>
  );
}
