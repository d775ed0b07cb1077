import { DRAFT_LIMIT_BYTES } from '../../shared/protocol.ts';

/** Maximum length of a UTF-16 code unit in JSON, as an escape such as `\u001f`; bytes. */
const CODE_UNIT_BYTES = 6;

/**
 * Returns the bytes of a draft as JSON, or a lower estimate for a draft that is certainly within the limit. Returns 0 for a
 * draft that JSON cannot represent: the schema refuses such a draft.
 */
export function sizeOf(draft: unknown): number {
  const bound = boundOf(draft);
  if (bound <= DRAFT_LIMIT_BYTES) return bound / CODE_UNIT_BYTES;
  try {
    // A draft that is much too large is not serialized: that takes up to 0.1 s.
    const atLeast = leastSizeOf(draft, 0);
    if (atLeast > DRAFT_LIMIT_BYTES) return atLeast;
    return Buffer.byteLength(JSON.stringify(draft) ?? '');
  } catch {
    return 0;
  }
}

/** Returns a lower bound for the bytes of a value as JSON, added to `size`. */
function leastSizeOf(value: unknown, size: number): number {
  if (typeof value === 'string') return size + value.length;
  // An object with a `toJSON` may be smaller than its members.
  if (typeof value !== 'object' || value === null || 'toJSON' in value) return size + 1;
  let least = size + 2;
  if (Array.isArray(value)) for (const member of value) least = leastSizeOf(member, least);
  else {
    for (const key in value) {
      const member: unknown = value[key as never];
      const isWritten = member !== undefined && typeof member !== 'function' && Object.hasOwn(value, key);
      if (isWritten) least = leastSizeOf(member, least + key.length);
    }
  }
  return least;
}

/** Returns an upper bound for a flat object's bytes as JSON, without serializing it; infinity for anything else. */
function boundOf(draft: unknown): number {
  if (typeof draft !== 'object' || draft === null) return Number.POSITIVE_INFINITY;
  let bound = 2;
  for (const key in draft) {
    const value: unknown = draft[key as never];
    if (typeof value === 'object' && value !== null) return Number.POSITIVE_INFINITY;
    // A number takes at most 25 bytes.
    bound += CODE_UNIT_BYTES * key.length + 4 + (typeof value === 'string' ? CODE_UNIT_BYTES * value.length + 2 : 25);
  }
  return bound;
}
