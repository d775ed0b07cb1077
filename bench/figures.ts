/** Figures: measured values, their format, and the bounds to compare them with. */

export type Figure = { median: number; min: number; max: number };

export type Row = { line: string; name: string; unit: string } & Figure;
/** A bound that the project promises for a ratio or another number. */
export type Check = { line: string; name: string; value: number; unit: string; bound: Bound; isReached: boolean };
export type Bound = { atLeast: number } | { atMost: number };

export function figureOf(samples: readonly number[]): Figure {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (index: number) => sorted[index] as number;
  return { median: at(Math.floor(sorted.length / 2)), min: at(0), max: at(sorted.length - 1) };
}

export const show = (value: number): string =>
  Math.abs(value) >= 100 ? Math.round(value).toLocaleString('en-US') : value.toPrecision(3);
export const showBound = (bound: Bound): string =>
  'atLeast' in bound ? `at least ${bound.atLeast.toLocaleString('en-US')}` : `at most ${bound.atMost}`;
export const showReached = ({ isReached }: Check): string => (isReached ? 'reached' : 'NOT reached');

/** Collects the results of the lines, and prints them as they arrive. */
export class Report {
  readonly rows: Row[] = [];
  readonly checks: Check[] = [];
  readonly notes: string[] = [];
  readonly #say: (text: string) => void;
  #line = '';

  constructor(say: (text: string) => void) {
    this.#say = say;
  }

  /** Starts a line. */
  line(title: string): void {
    this.#line = title;
    this.#say(`\n${title}`);
  }

  row(name: string, unit: string, samples: readonly number[]): Figure {
    const figure = figureOf(samples);
    this.rows.push({ line: this.#line, name, unit, ...figure });
    const { median, min, max } = figure;
    this.#say(`  ${name.padEnd(48)} ${show(median).padStart(9)} ${unit}  (${show(min)}–${show(max)})`);
    return figure;
  }

  check(name: string, value: number, bound: Bound, unit = '×'): void {
    const isReached = 'atLeast' in bound ? value >= bound.atLeast : value <= bound.atMost;
    const check: Check = { line: this.#line, name, value, unit, bound, isReached };
    this.checks.push(check);
    this.#say(`  → ${name}: ${show(value)} ${unit}, ${showBound(bound)}: ${showReached(check)}`);
  }

  /** Adds a note for the reader of the figures. */
  note(text: string): void {
    this.notes.push(`${this.#line}: ${text}`);
    this.#say(`  ${text}`);
  }
}
