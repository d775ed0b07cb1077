import { objectOf } from './errors.ts';
import { holdsAll, isAscii, parseText } from './search-text.ts';

/** Selects events of a run. An event matches if it matches every given field. */
export type EventFilter = {
  types?: readonly string[] | undefined;
  /** Events of this stage. */
  stageId?: string | undefined;
  /** With `stageId`: events of this attempt of the stage. An event without an attempt is of the first. */
  attempt?: number | undefined;
  /** Words and quoted phrases, as `event.search` finds them. A text without a word matches nothing; blanks match all. */
  text?: string | undefined;
};

type Fields = { type?: unknown; stageId?: unknown; attempt?: unknown };

/** Returns a function that states whether an event matches. The server and the web app select events by it. */
export function eventMatcher(filter: EventFilter): (event: object) => boolean {
  const { types, stageId, attempt, text = '' } = objectOf(filter, 'filter');
  const wanted = types && new Set<unknown>(types);
  const phrases = text.trim() === '' ? undefined : parseText(text);
  return (event) => {
    const fields = event as Fields;
    if (wanted && !wanted.has(fields.type)) return false;
    if (stageId !== undefined && fields.stageId !== stageId) return false;
    if (attempt !== undefined && (fields.stageId === undefined || (fields.attempt ?? 1) !== attempt)) return false;
    return phrases === undefined || (phrases.length > 0 && holdsAll(event, phrases));
  };
}

/**
 * Returns a function that returns an event from its JSON if it matches. It parses only JSON that may match. A word of ASCII text is a part of its JSON, in any
 * case, because JSON escapes no letter and no digit.
 */
export function jsonTest(filter: EventFilter): (json: string) => object | undefined {
  const words = parseText(filter.text ?? '').flatMap((phrase) => phrase.words);
  const matches = eventMatcher(filter);
  return (json) => {
    if (words.length > 0 && isAscii(json)) {
      const lower = json.toLowerCase();
      if (!words.every((word) => lower.includes(word))) return undefined;
    }
    const event = JSON.parse(json) as object;
    return matches(event) ? event : undefined;
  };
}
