/**
 * A clock that can be stepped, as an operator or NTP does. Modules imported after this one see the stepped time in
 * `Date`. Timers and `performance.now()` keep running, as on a real machine.
 */
const RealDate = Date;
let offsetMs = 0;

class SteppedDate extends RealDate {
  constructor(...given: unknown[]) {
    if (given.length === 0) super(RealDate.now() + offsetMs);
    else super(...(given as [number]));
  }

  static override now(): number {
    return RealDate.now() + offsetMs;
  }
}
globalThis.Date = SteppedDate as DateConstructor;

/** Offset from the real time. */
export function setClock(ms: number): void {
  offsetMs = ms;
}
