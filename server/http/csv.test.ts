import { expect, test } from 'vitest';
import { csvHeader, csvLine } from './csv.ts';

/** A strict RFC 4180 parser. */
function parse(text: string): string[][] {
  const rows: string[][] = [[]];
  const cells = /("(?:[^"]|"")*"|[^",\r\n]*)(,|\r\n)/gy;
  for (const [, cell = '', end] of text.matchAll(cells)) {
    rows.at(-1)?.push(cell.startsWith('"') ? cell.slice(1, -1).replaceAll('""', '"') : cell);
    if (end === '\r\n') rows.push([]);
  }
  expect(rows.pop()).toEqual([]);
  return rows;
}

const row = (event: object) => {
  const [names = [], cells = [], ...none] = parse(csvHeader + csvLine(JSON.stringify(event)));
  expect(none).toEqual([]);
  expect(cells).toHaveLength(names.length);
  return Object.fromEntries(names.map((name, index) => [name, cells[index]]));
};

test('[R10] a CSV line holds the envelope, the common fields, and the event as JSON', () => {
  const event = {
    type: 'stage.failed',
    seq: 7,
    progress: 12.5,
    stageId: 'a,b',
    error: { message: 'no "space"\r\nleft' },
  };
  expect(row(event)).toMatchObject({
    type: 'stage.failed',
    seq: '7',
    progress: '12.5',
    stageId: 'a,b',
    error: 'no "space"\r\nleft',
    runId: '',
    message: '',
    event: JSON.stringify(event),
  });
  expect(row({ title: 'Release', reason: 'why' })).toMatchObject({ name: 'Release', message: 'why' });
});

test('[R10] text that a spreadsheet would run as a formula is prefixed, and numbers stay numbers', () => {
  for (const text of ['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1', ' =1', '＝1+1', '"=1"', "=cmd|' /C calc'!A0"]) {
    expect(row({ message: text }).message).toBe(text.startsWith('"') ? text : `'${text}`);
  }
  expect(row({ durationMs: -1, message: 'a=1' })).toMatchObject({ durationMs: '-1', message: 'a=1' });
});
