/**
 * A clock of this process that can be stepped, as that of a machine is by its operator or by NTP: what is imported after
 * this sees it in `Date`. Timers and `performance.now()` go on as they do on a real machine.
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

/** How far it is from the true time. */
export function setClock(ms: number): void {
  offsetMs = ms;
}
