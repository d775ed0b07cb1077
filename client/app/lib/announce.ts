import { signal } from './signal.ts';

export type Urgency = 'polite' | 'assertive';

/** The texts on their way to the live regions of the frame (`components/LiveRegions.tsx`). */
export const announced = signal<{ text: string; urgency: Urgency }>();

/**
 * Has a screen reader read a text. Polite texts wait for the reader, at most one in 5 s, and the newest replaces one that
 * waits. Assertive texts interrupt: for a refused decision, a locked screen and the end of the session.
 */
export const announce = (text: string, urgency: Urgency = 'polite'): void => announced.send({ text, urgency });
