import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { Walker } from '../../server/phi/guard.ts';
import { runwireEvents } from '../../shared/events.ts';

/** Measures the guard on a labelled set: recall on the marked spans, and false alarms on clean text. */

export type Sample = {
  id: string;
  text: string;
  spans: { start: number; end: number; type: string; hard?: boolean }[];
  /** `text` is a JSON object. */
  json?: boolean;
  /** Spans of negatives that a policy may mask. */
  soft?: { start: number; end: number; type: string }[];
};
export type Rate = { hits: number; of: number };
export type Misses = { name: string; text: string }[];
export type Figures = { recall: Map<string, Rate>; alarms: Map<string, Rate>; missed: Misses; alarmed: Misses };

/** Samples of third parties, not part of this repository. */
export const folder = new URL('../../../shared/devset/phi/', import.meta.url);
export const hasSamples = existsSync(folder);

/** Samples by file, with offsets in UTF-16 code units. */
export function readSamples(): Map<string, Sample[]> {
  const files = readdirSync(folder).filter((file) => file.endsWith('.jsonl'));
  return new Map(files.map((file) => [file.replace('.jsonl', ''), readLines(new URL(file, folder))]));
}

/**
 * The set of this repository, `phi-blind.txt`: `KIND | text with ⟦marked spans⟧`, `KIND, hard` for a bare value
 * without shape or context, `event` and `log` for lines without a span. Returns positives and negatives by kind.
 */
export function readBlind(): Map<string, Sample[]> {
  const lines = readFileSync(new URL('phi-blind.txt', import.meta.url), 'utf8').split('\n');
  const sets = new Map<string, Sample[]>();
  for (const [index, line] of lines.entries()) {
    if (line === '' || line.startsWith('#')) continue;
    const [kind = ''] = line.split(' | ', 1);
    const [type = '', hard] = kind.split(', ');
    const spans: Sample['spans'] = [];
    let text = '';
    for (const [part, isMarked] of line
      .slice(kind.length + 3)
      .split(/[⟦⟧]/)
      .map((part, at) => [part, at % 2 === 1] as const)) {
      if (isMarked) spans.push({ start: text.length, end: text.length + part.length, type, hard: hard === 'hard' });
      text += part;
    }
    const name = spans.length > 0 ? 'positives' : type;
    const all = sets.get(name) ?? [];
    sets.set(name, all);
    all.push({ id: `blind-${index}`, text, spans, json: text.startsWith('{"') });
  }
  return sets;
}

function readLines(file: URL): Sample[] {
  const lines = readFileSync(file, 'utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => inCodeUnits(JSON.parse(line) as Sample));
}

function inCodeUnits(sample: Sample): Sample {
  const points = Array.from(sample.text);
  if (points.length === sample.text.length) return sample;
  const offsets = [0];
  for (const point of points) offsets.push((offsets.at(-1) as number) + point.length);
  const moved = <T extends { start: number; end: number }>(span: T): T => ({
    ...span,
    start: offsets[span.start] as number,
    end: offsets[span.end] as number,
  });
  return { ...sample, spans: sample.spans.map(moved), soft: (sample.soft ?? []).map(moved) };
}

/**
 * A span is found when all its digits are covered, or the whole span if it has no digits. A text without spans is a
 * false alarm when more than its soft spans is touched. Masked secrets do not count.
 */
export function measure(sets: Map<string, readonly Sample[]>): Figures {
  const figures: Figures = { recall: new Map(), alarms: new Map(), missed: [], alarmed: [] };
  const walker = new Walker(runwireEvents);
  for (const [name, samples] of sets) {
    for (const sample of samples) {
      const findings = sample.json ? [] : walker.find(sample.text);
      for (const { start, end, type, hard } of sample.spans) {
        const kind = hard ? `${type}, hard` : type;
        const isFound = sample.json
          ? !(JSON.stringify(outcomeOf(walker, sample.text)) ?? '').includes(sample.text.slice(start, end))
          : covers(findings, sample.text, start, end);
        count(figures.recall, kind, isFound);
        if (!isFound) figures.missed.push({ name: `${name} ${kind}`, text: marked(sample.text, start, end) });
      }
      if (sample.spans.length > 0) continue;
      const soft = sample.soft ?? [];
      const isTouched = sample.json
        ? isRefused(walker, sample.text) || (soft.length === 0 && isAltered(walker, sample.text))
        : findings.some(
            ({ start, end, kind }) => kind !== 'secret' && !soft.some((span) => span.start < end && span.end > start),
          );
      count(figures.alarms, name, isTouched);
      if (isTouched) figures.alarmed.push({ name, text: sample.text });
    }
  }
  return figures;
}

const secretsWalker = new Walker(runwireEvents, {}, true);
const outcomeOf = (walker: Walker, text: string): unknown => {
  try {
    return walker.guard({ data: JSON.parse(text) }, 'redact');
  } catch {
    return undefined;
  }
};
const isRefused = (walker: Walker, text: string): boolean => {
  try {
    walker.guard({ data: JSON.parse(text) }, 'reject');
    return false;
  } catch {
    return true;
  }
};
const isAltered = (walker: Walker, text: string): boolean =>
  JSON.stringify(outcomeOf(walker, text)) !== JSON.stringify(outcomeOf(secretsWalker, text));

function covers(
  findings: readonly { start: number; end: number }[],
  text: string,
  start: number,
  end: number,
): boolean {
  const needed = /\d/.test(text.slice(start, end)) ? /\d/ : /[^\s\p{P}]/u;
  for (let at = start; at < end; at++) {
    if (needed.test(text.charAt(at)) && !findings.some((found) => found.start <= at && at < found.end)) return false;
  }
  return true;
}

function count(rates: Map<string, Rate>, name: string, isHit: boolean): void {
  const rate = rates.get(name) ?? { hits: 0, of: 0 };
  rate.of++;
  if (isHit) rate.hits++;
  rates.set(name, rate);
}

const marked = (text: string, start: number, end: number): string =>
  `${text.slice(Math.max(0, start - 50), start)}⟦${text.slice(start, end)}⟧${text.slice(end, end + 15)}`;
