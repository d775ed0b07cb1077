import { useMemo, useState } from 'react';
import { cutMiddle, type NameList } from './names.ts';
import type { Row } from './rows.ts';

/** Left of the name: the glyph and the padding; right of it: the padding. */
const BESIDE_PX = 52;
const ATTEMPT_PX = 34;
const INNER_PX = 16;
const MIN_LETTERS = 6;
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

type Parts = { rows: readonly Row[]; names: NameList; prefix: string; namePx: number };

/** Returns a function that gives the text of a stage in the column: without the common prefix, and cut to its width. */
export function useNameText({ rows, names, prefix, namePx }: Parts): (index: number) => string {
  const [measure] = useState(() => new Measure());
  return useMemo(
    () => (index) => {
      const row = rows[index];
      if (row?.kind !== 'stage') return '';
      const { name, attempt } = row.stage;
      const from = prefix !== '' && name.startsWith(prefix) ? prefix.length : 0;
      const text = name.slice(from);
      const room = namePx - BESIDE_PX - (attempt > 1 ? ATTEMPT_PX : 0) - (row.isInGroup ? INNER_PX : 0);
      const width = measure.widthOf(text);
      if (width <= room) return text;
      const at = names.differsAt(name) - from;
      let limit = Math.floor((text.length * room) / width);
      let cut = text;
      do cut = cutMiddle(text, limit, at > 0 ? at : undefined);
      while (measure.widthOf(cut) > room && limit-- > MIN_LETTERS);
      return cut;
    },
    [rows, names, prefix, namePx, measure],
  );
}
