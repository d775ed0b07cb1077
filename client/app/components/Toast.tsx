import { announce } from '../lib/announce.ts';

/** The event of the window that carries the text of a toast to the frame. */
export const TOASTED = 'runwire:toast';

/** Shows a short text for 8 s, such as `Link copied`. For outcomes that the page itself does not show. */
export function showToast(text: string): void {
  announce(text);
  window.dispatchEvent(new CustomEvent(TOASTED, { detail: text }));
}
