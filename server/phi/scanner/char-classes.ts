/** Classes of characters, and the codes of separators. */
export const SEPARATOR = 0;
export const DIGIT = 1;
export const LOWER = 2;
export const UPPER = 3;
export const classes = new Uint8Array(128);
for (let code = 48; code < 58; code++) classes[code] = DIGIT;
for (let code = 65; code < 91; code++) classes[code] = UPPER;
for (let code = 97; code < 123; code++) classes[code] = LOWER;
/** The class of a non-ASCII character: typographic dashes and blanks separate, everything else is a letter. */
export const wideClass = (code: number): number =>
  code === 0xa0 || (code >= 0x2000 && code <= 0x206f) || code === 0x2212 || code === 0x3000 || code === 0xfeff
    ? SEPARATOR
    : LOWER;
/** Maps typographic dashes and blanks to `-` and a space. */
export const plainSeparator = (code: number): number => {
  if (code < 0x80) return code;
  if ((code >= 0x2010 && code <= 0x2015) || code === 0x2212) return DASH;
  return code === 0xa0 || (code >= 0x2000 && code <= 0x200a) || code === 0x202f || code === 0x3000 ? BLANK : code;
};

export const BLANK = 32;
export const HASH = 35;
export const DASH = 45;
export const DOT = 46;
export const SLASH = 47;
export const COLON = 58;
export const EQUALS = 61;
export const UNDERSCORE = 95;
export const hasAny = (bits: number, mask: number): boolean => (bits & mask) !== 0;
