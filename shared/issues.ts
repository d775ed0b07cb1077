import type { z } from 'zod';

/**
 * Converts a zod issue to a path with dots (`stages.3.name`) and a message. The path may contain keys that the client
 * sent, see {@link safeKey}. Neither contains a value that the client sent: it may be protected information.
 */
export function describeIssue(issue: z.core.$ZodIssue): { path: string; message: string } {
  const at = issue.path.map((step) => (typeof step === 'number' ? String(step) : safeKey(String(step))));
  switch (issue.code) {
    case 'unrecognized_keys':
      return { path: [...at, safeKey(issue.keys[0])].join('.'), message: 'unknown or server-set key' };
    case 'invalid_union':
      return { path: at.join('.') || 'type', message: 'not a known event type' };
    case 'invalid_type':
      return { path: at.join('.'), message: `expected ${issue.expected}` };
    case 'invalid_value':
      return { path: at.join('.'), message: 'not one of the allowed values' };
    case 'invalid_key':
      return { path: at.slice(0, -1).concat('(key)').join('.'), message: 'has a key that is not allowed' };
    case 'too_big':
      return { path: at.join('.'), message: `must be at most ${issue.maximum}` };
    case 'too_small':
      return { path: at.join('.'), message: `must be at least ${issue.minimum}` };
    case 'custom':
    case 'invalid_format':
      return { path: at.join('.'), message: issue.message };
    default:
      return { path: at.join('.'), message: 'invalid' };
  }
}

/**
 * Returns the first problem of a JSON value, at any depth:
 *
 * - an integer beyond ±(2^53 - 1): a parser has rounded it, so it is not the number that the producer wrote;
 * - a key `__proto__`: zod drops it from records and loose objects;
 * - a text with NUL or a lone surrogate, in fields that no builder of `fields.ts` made.
 *
 * Too deep a value is left to the guard.
 */
export function jsonProblemIn(value: unknown, depth = 0): { path: string; message: string } | undefined {
  if (typeof value !== 'object' || value === null || depth > MAX_DEPTH) return undefined;
  for (const key in value) {
    if (key === '__proto__') return { path: key, message: 'is a key that is not allowed' };
    if (!isStorable(key)) return { path: '(key)', message: UNSTORABLE };
    const part: unknown = value[key as never];
    if (typeof part === 'number') {
      if (Number.isInteger(part) && !Number.isSafeInteger(part)) {
        return { path: pathStep(key, value), message: 'must be an integer between -(2^53 - 1) and 2^53 - 1' };
      }
    } else if (typeof part === 'string') {
      if (!isStorable(part)) return { path: pathStep(key, value), message: UNSTORABLE };
    } else if (typeof part === 'object') {
      const problem = jsonProblemIn(part, depth + 1);
      if (problem) return { ...problem, path: `${pathStep(key, value)}.${problem.path}` };
    }
  }
  return undefined;
}

export const UNSTORABLE = 'must have no NUL and no lone surrogate';
export const isStorable = (text: string) => !text.includes('\0') && text.isWellFormed();
const MAX_DEPTH = 100;
const pathStep = (key: string, parent: object) => (Array.isArray(parent) ? key : safeKey(key));

/** Returns a key if it looks like an identifier. Any other key may contain protected information and becomes `(key)`. */
const safeKey = (key: string | undefined) => (key !== undefined && /^[A-Za-z_][\w.-]{0,63}$/.test(key) ? key : '(key)');
