/** Listens for the end of the page. `onHide` runs when the page is hidden or left, `onLeave` when it is left. */
type PageEvents = { onHide: () => void; onLeave: () => void; onReturn: () => void };

/**
 * Calls back when the page is hidden or left. Returns the function that ends this; it does nothing without a page.
 * Browsers on phones often end a hidden page without a further event.
 */
export function watchPage({ onHide, onLeave, onReturn }: PageEvents): () => void {
  if (typeof document === 'undefined' || typeof addEventListener !== 'function') return () => undefined;
  const onVisibility = () => {
    if (document.visibilityState === 'hidden') onHide();
  };
  const leave = () => {
    onLeave();
    onHide();
  };
  document.addEventListener('visibilitychange', onVisibility);
  addEventListener('pagehide', leave);
  addEventListener('pageshow', onReturn);
  return () => {
    document.removeEventListener('visibilitychange', onVisibility);
    removeEventListener('pagehide', leave);
    removeEventListener('pageshow', onReturn);
  };
}
