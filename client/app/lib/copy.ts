import { showToast } from '../components/Toast.tsx';

/** Copies a text, and states `done` or why not: browsers allow it over HTTPS and on localhost, and only if the user does. */
export function copyText(text: string, done: string): void {
  const copied = navigator.clipboard?.writeText(text) ?? Promise.reject(new Error('no clipboard'));
  copied.then(
    () => showToast(done),
    () => showToast('Could not copy: the browser denies access to the clipboard'),
  );
}
