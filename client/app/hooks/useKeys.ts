import { useEffect, useRef } from 'react';

/**
 * Calls the function of a key when the user presses the key. Ignores presses in text fields and dialogs, and presses with
 * Ctrl, Alt or Meta. The key name `g r` means `g`, then `r`.
 */
export function useKeys(keys: { [key: string]: (event: KeyboardEvent) => void }): void {
  const latest = useRef(keys);
  useEffect(() => {
    latest.current = keys;
  });
  useEffect(() => {
    let first = '';
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || isTyping(event.target)) return;
      const both = `${first} ${event.key}`;
      first = event.key;
      const act = latest.current[both] ?? latest.current[event.key];
      if (!act) return;
      event.preventDefault();
      act(event);
    };
    window.addEventListener('keydown', onKeyDown);
    return () => window.removeEventListener('keydown', onKeyDown);
  }, []);
}

const isTyping = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement &&
  (target.isContentEditable || target.closest('input, textarea, select, dialog') !== null);

/** The attribute of elements that the keys `j` and `k` move the focus to. */
export const steppable = { 'data-step': '' } as const;

/** Moves the focus to the next or previous steppable element. The browser scrolls there, which renders further rows. */
export function step(by: 1 | -1): void {
  const rows = [...document.querySelectorAll<HTMLElement>('[data-step]')];
  const at = rows.indexOf(document.activeElement as HTMLElement);
  const firstVisible = rows.findIndex((row) => row.getBoundingClientRect().top > 0);
  rows[at === -1 ? firstVisible : at + by]?.focus();
}
