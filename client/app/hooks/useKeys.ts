import { useEffect, useRef } from 'react';

/** What keys do, where no text is being typed and nothing but Shift is held. A key of two letters is one after the other. */
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

/** Marks what `j` and `k` go through. */
export const steppable = { 'data-step': '' } as const;

/** Moves the focus among the rows that are there; the browser scrolls to it, and further rows come. */
export function step(by: 1 | -1): void {
  const rows = [...document.querySelectorAll<HTMLElement>('[data-step]')];
  const at = rows.indexOf(document.activeElement as HTMLElement);
  const firstVisible = rows.findIndex((row) => row.getBoundingClientRect().top > 0);
  rows[at === -1 ? firstVisible : at + by]?.focus();
}
