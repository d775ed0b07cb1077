import { useEffect, useState } from 'react';

const SHOWN_MS = 8_000;

/** A text that stays for 8 s, or while the pointer or the focus is on it. Esc closes it. */
export function ToastBox({ text, onClose }: { text: string; onClose: () => void }) {
  const [isHeld, setIsHeld] = useState(false);
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => event.key === 'Escape' && !event.defaultPrevented && onClose();
    window.addEventListener('keydown', onKeyDown);
    return () => window.removeEventListener('keydown', onKeyDown);
  }, [onClose]);
  useEffect(() => {
    if (isHeld) return;
    const timer = setTimeout(onClose, SHOWN_MS);
    return () => clearTimeout(timer);
  }, [isHeld, onClose]);
  const hold = () => setIsHeld(true);
  const release = () => setIsHeld(false);
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the pointer and the focus only keep the text.
    <div className="toast" onPointerEnter={hold} onPointerLeave={release} onFocus={hold} onBlur={release}>
      <span>{text}</span>
      <button type="button" className="icon" aria-label="Close the message" onClick={onClose}>
        ×
      </button>
    </div>
  );
}
