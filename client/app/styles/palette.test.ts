import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const css = readFileSync(new URL('base.css', import.meta.url), 'utf8');
const colors = new Map(
  [...css.matchAll(/--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)/g)].map(([, name, light, dark]) => [
    name as string,
    { light: light as string, dark: dark as string },
  ]),
);

/** https://www.w3.org/TR/WCAG22/#dfn-relative-luminance */
function luminance(color: string): number {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const share = Number.parseInt(color.slice(at, at + 2), 16) / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(a: string, b: string): number {
  const [high, low] = [luminance(a), luminance(b)].sort((one, other) => other - one) as [number, number];
  return (high + 0.05) / (low + 0.05);
}

const grounds = ['page', 'surface', 'raised'];
const statuses = ['running', 'completed', 'waiting', 'failed'];
const texts: [string, string][] = [
  ...['text', 'soft', 'accent', ...statuses].flatMap((text) => grounds.map((on): [string, string] => [text, on])),
  ...['waiting-soft', 'failed-soft', 'accent-soft', 'pending-soft'].map((on): [string, string] => ['text', on]),
  ...statuses.map((status): [string, string] => [status, 'accent-soft']),
  ['waiting', 'waiting-soft'],
  ['accent', 'waiting-soft'],
  ['failed', 'failed-soft'],
  ['soft', 'accent-soft'],
  ['page', 'accent'],
];

/** Shapes, which need less contrast than text. */
const shapes: [string, string][] = [
  ...['edge', 'focus'].flatMap((shape) => grounds.map((on): [string, string] => [shape, on])),
  ...statuses.map((status): [string, string] => [status, `${status}-soft`]),
  ...statuses.map((status): [string, string] => [status, 'pending-soft']),
];

for (const theme of ['light', 'dark'] as const) {
  const between = ([on, ground]: [string, string]) => {
    const [a, b] = [colors.get(on), colors.get(ground)];
    if (!a || !b) throw new Error(`base.css has no colour ${on} or ${ground}`);
    return contrast(a[theme], b[theme]);
  };
  test(`[U11] in the ${theme} theme, text has a contrast of 4.5 : 1 and shapes of 3 : 1`, () => {
    expect(contrast('#000000', '#ffffff')).toBeCloseTo(21);
    expect(texts.filter((pair) => between(pair) < 4.5)).toEqual([]);
    expect(shapes.filter((pair) => between(pair) < 3)).toEqual([]);
  });
}
