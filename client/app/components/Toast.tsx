import { announce } from '../lib/announce.ts';
import { signal } from '../lib/signal.ts';

/** The texts of toasts on their way to the frame. */
export const toasts = signal<string>();

/** Shows a short text for 8 s, such as `Link copied`. For outcomes that the page itself does not show. */
export function showToast(text: string): void {
  announce(text);
  toasts.send(text);
}
