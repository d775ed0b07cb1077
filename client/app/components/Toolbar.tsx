import { type KeyboardEvent, type ReactNode, useEffect, useRef } from 'react';

const STOPS = 'a[href], button:not(:disabled), input, select';

/**
 * Links, buttons and fields that are one tab stop together: arrows to the left and right, Home and End move between them. So
 * the keyboard reaches what follows sooner.
 */
export function Toolbar(props: { label: string; as?: 'nav' | 'toolbar'; className?: string; children: ReactNode }) {
  const { label, as = 'toolbar', className, children } = props;
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const { current } = box;
    if (!current) return;
    const settle = () => setStop(current);
    settle();
    const observer = new MutationObserver(settle);
    observer.observe(current, { childList: true, subtree: true, attributeFilter: ['disabled', 'aria-current'] });
    current.addEventListener('focusin', settle);
    return () => {
      observer.disconnect();
      current.removeEventListener('focusin', settle);
    };
  }, []);
  const shared = { ref: box, className, 'aria-label': label, onKeyDown };
  if (as === 'nav') return <nav {...shared}>{children}</nav>;
  return (
    <div role="toolbar" {...shared}>
      {children}
    </div>
  );
}

const stopsOf = (box: HTMLElement) =>
  [...box.querySelectorAll<HTMLElement>(STOPS)].filter((one) => one.getClientRects().length > 0);

/** The stop is the element with the focus, else the link to this page, else the last one that had the focus, else the first. */
function setStop(box: HTMLElement): void {
  const stops = stopsOf(box);
  const stop =
    stops.find((one) => one === document.activeElement) ??
    stops.find((one) => one.getAttribute('aria-current') === 'page') ??
    stops.find((one) => one.dataset.stop !== undefined) ??
    stops[0];
  for (const one of stops) {
    one.tabIndex = one === stop ? 0 : -1;
    if (one !== stop) delete one.dataset.stop;
    else if (one === document.activeElement) one.dataset.stop = '';
  }
}

function onKeyDown(event: KeyboardEvent<HTMLElement>): void {
  const { target, currentTarget, key } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
  const stops = stopsOf(currentTarget);
  const at = stops.indexOf(target as HTMLElement);
  if (at === -1 || isInsideText(target, key)) return;
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: stops.length - 1 }[key];
  const next = to === undefined ? undefined : stops[(to + stops.length) % stops.length];
  if (!next) return;
  event.preventDefault();
  next.focus();
}

/** In a field, an arrow leaves the field only at the end of the text. */
function isInsideText(target: EventTarget, key: string): boolean {
  if (target instanceof HTMLSelectElement) return true;
  if (!(target instanceof HTMLInputElement) || !/^(search|text)$/.test(target.type)) return false;
  if (key === 'Home' || key === 'End') return true;
  const { selectionStart, selectionEnd, value } = target;
  return selectionStart !== selectionEnd || selectionStart !== (key === 'ArrowRight' ? value.length : 0);
}
