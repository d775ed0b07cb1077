/** The event of the window that carries a text to the live regions of the frame (`components/LiveRegions.tsx`). */
export const ANNOUNCED = 'runwire:announced';
export type Urgency = 'polite' | 'assertive';
export type Announced = CustomEvent<{ text: string; urgency: Urgency }>;

/**
 * Has a screen reader read a text. Polite texts wait for the reader, at most one in 5 s, and the newest replaces one that
 * waits. Assertive texts interrupt: for a refused decision, a locked screen and the end of the session.
 */
export function announce(text: string, urgency: Urgency = 'polite'): void {
  window.dispatchEvent(new CustomEvent(ANNOUNCED, { detail: { text, urgency } }) satisfies Announced);
}
