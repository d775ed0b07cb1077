import { useMemo, useState } from 'react';
import { cutMiddle, sharedStart } from './names.ts';
import type { Row } from './rows.ts';

/** Left of the name: the glyph and the padding; right of it: the padding. */
const BESIDE_PX = 52;
const ATTEMPT_PX = 34;
const INNER_PX = 16;
const MAX_MEASURED = 5_000;

/** Measures texts in the font of the page. */
class Measure {
  readonly #context = document.createElement('canvas').getContext('2d');
  readonly #widths = new Map<string, number>();
  readonly #font: string;

  constructor() {
    const { fontSize, fontFamily } = getComputedStyle(document.body);
    this.#font = `${fontSize} ${fontFamily}`;
  }

  widthOf(text: string): number {
    let width = this.#widths.get(text);
    if (width !== undefined) return width;
    if (this.#context) this.#context.font = this.#font;
    width = this.#context?.measureText(text).width ?? text.length * 8;
    if (this.#widths.size >= MAX_MEASURED) this.#widths.clear();
    this.#widths.set(text, width);
    return width;
  }
}

/** Returns a function that gives the text of a stage in the column: without the common prefix, and cut to its width. */
export function useNameText(rows: readonly Row[], prefix: string, namePx: number): (index: number) => string {
  const [measure] = useState(() => new Measure());
  return useMemo(() => {
    const bare = (row: Row | undefined) => {
      if (row?.kind !== 'stage') return undefined;
      const { name } = row.stage;
      return prefix !== '' && name.startsWith(prefix) ? name.slice(prefix.length) : name;
    };
    return (index) => {
      const row = rows[index];
      const text = bare(row) ?? '';
      if (row?.kind !== 'stage') return text;
      const room = namePx - BESIDE_PX - (row.stage.attempt > 1 ? ATTEMPT_PX : 0) - (row.isInGroup ? INNER_PX : 0);
      const width = measure.widthOf(text);
      if (width <= room) return text;
      const limit = Math.max(6, Math.floor((text.length * room) / width) - 1);
      const at = Math.max(sharedStart(text, bare(rows[index - 1])), sharedStart(text, bare(rows[index + 1])));
      return cutMiddle(text, limit, at > 0 ? at : undefined);
    };
  }, [rows, prefix, namePx, measure]);
}
