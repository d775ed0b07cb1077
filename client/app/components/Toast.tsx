import { useEffect, useState } from 'react';
import { announce } from '../lib/announce.ts';

const SHOWN = 'runwire:toast';
const SHOWN_MS = 8_000;

/** Shows a short text for 8 s, such as `Link copied`. For outcomes that the page itself does not show. */
export function showToast(text: string): void {
  announce(text);
  window.dispatchEvent(new CustomEvent(SHOWN, { detail: text }));
}

/** The text stays while the pointer or the focus is on it. Esc closes it. */
export function Toasts() {
  const [toast, setToast] = useState<{ text: string } | null>(null);
  const [isHeld, setIsHeld] = useState(false);
  useEffect(() => {
    const onShown = (event: Event) => setToast({ text: (event as CustomEvent<string>).detail });
    window.addEventListener(SHOWN, onShown);
    return () => window.removeEventListener(SHOWN, onShown);
  }, []);
  useEffect(() => {
    if (!toast) return;
    const close = () => {
      setToast(null);
      setIsHeld(false);
    };
    const onKeyDown = (event: KeyboardEvent) => event.key === 'Escape' && !event.defaultPrevented && close();
    window.addEventListener('keydown', onKeyDown);
    const timer = isHeld ? undefined : setTimeout(close, SHOWN_MS);
    return () => {
      window.removeEventListener('keydown', onKeyDown);
      clearTimeout(timer);
    };
  }, [toast, isHeld]);
  if (!toast) return null;
  const hold = () => setIsHeld(true);
  const release = () => setIsHeld(false);
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the pointer and the focus only keep the text.
    <div className="toast" onPointerEnter={hold} onPointerLeave={release} onFocus={hold} onBlur={release}>
      <span>{toast.text}</span>
      <button type="button" className="icon" aria-label="Close the message" onClick={() => setToast(null)}>
        ×
      </button>
    </div>
  );
}
