import { createHash } from 'node:crypto';

/**
 * What producers send, made fit for the log: ids of the characters and lengths that the schemas take, and text without
 * credentials, SQL and stack traces. Every function takes any string, and time in proportion to its length.
 */

const ID_LIMIT = 200;
/** Patterns are looked for in so much of a text; no more of it is shown. */
const LOOK_LIMIT = 8_192;

export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** Printable ASCII without blanks: everything else, and `%`, as its UTF-8 percent-encoded. No two texts give the same. */
const encode = (text: string): string =>
  text.replace(/[^\x21-\x24\x26-\x7e]/gu, (char) =>
    char.isWellFormed()
      ? Array.from(Buffer.from(char), (byte) => `%${byte.toString(16).padStart(2, '0').toUpperCase()}`).join('')
      : `%u${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );

/** What has no room is cut and hashed. As `%~` begins no encoding, a cut id is not the whole one of another text. */
function idOf(parts: readonly string[]): string {
  const headLimit = ID_LIMIT - 66;
  if (parts.every((part) => part.length <= ID_LIMIT)) {
    const whole = parts.map(encode).join(' ');
    if (whole.length <= ID_LIMIT) return whole;
  }
  const head = parts.map((part) => encode(part.slice(0, headLimit))).join(' ');
  return `${head.slice(0, headLimit)}%~${sha256(JSON.stringify(parts))}`;
}

/** A `projectId` or `runId` for any text that is not empty; different texts give different ids. */
export const scopeIdOf = (text: string): string => idOf([text]);

/** An id for a pair of texts; different pairs give different ids, since no encoded part has a blank. */
export const pairIdOf = (first: string, second: string): string => idOf([first, second]);

/** Text of at most `limit` code units in one line, without control characters and lone surrogates. */
export function cleanText(text: string, limit: number): string {
  const line = text
    .slice(0, LOOK_LIMIT)
    .toWellFormed()
    .replace(/[\p{Cc}\s]+/gu, ' ')
    .trim();
  return line.length <= limit ? line : `${line.slice(0, limit - 1).replace(/[\ud800-\udbff]$/, '')}…`;
}

// Repetitions are bounded wherever a match may begin anywhere: unbounded, they would cost the square of the length.
const URI = /^(?:[a-z][\w+.-]{0,30}:){1,4}\/\//i;
const URI_INSIDE = /(?:\b[a-z][\w+.-]{0,30}:){1,4}\/\/[^\s'"<>()[\]]+/gi;
const JDBC_USER = /^(jdbc:\w+:(?:thin:|oci8?:)?)[^@]*@/i;
const SECRET_PAIR =
  /((?:passw(?:or)?d|pwd|secret|token|api[_-]?key|access[_-]?key|credential)[\w.-]{0,40}["']?\s{0,5}[=:]\s{0,5})("[^"]*"|'[^']*'|[^\s,;&)}\]]+)/gi;
const AUTHORIZATION = /\b(bearer|basic)\s{1,5}[\w.~+/=-]{8,}/gi;

export const isUri = (text: string): boolean => URI.test(text);

/** What looks like a URI, without user, password, parameters, query and fragment. */
function bareUri(uri: string): string {
  const scheme = URI.exec(uri)?.[0];
  if (scheme === undefined) return uri.replace(JDBC_USER, '$1@');
  let rest = uri.slice(scheme.length);
  const authority = rest.split(/[/?#;]/, 1)[0] as string;
  const at = authority.lastIndexOf('@');
  if (at >= 0) {
    // Azure has the container there: abfss://container@account.dfs.core.windows.net/path.
    const isContainer = /^(?:abfss?|wasbs?):/i.test(scheme) && !authority.slice(0, at).includes(':');
    if (!isContainer) rest = rest.slice(at + 1);
  } else if (/:(?!\d*(?:,|$))/.test(authority) && !authority.startsWith('[') && rest.includes('@')) {
    rest = rest.slice(rest.lastIndexOf('@') + 1); // A password with a slash in it.
  }
  return scheme + (rest.split(/[?#;]/, 1)[0] as string);
}

/** Text without the credentials that URIs, `key=value` pairs and authorization headers in it hold. */
export function withoutCredentials(text: string): string {
  const look = text.slice(0, LOOK_LIMIT);
  const safe = isUri(look) || look.startsWith('jdbc:') ? bareUri(look) : look.replace(URI_INSIDE, bareUri);
  return safe.replace(SECRET_PAIR, '$1***').replace(AUTHORIZATION, '$1 ***') + text.slice(LOOK_LIMIT);
}

const SQL_BEGINS =
  /(?:\[?\bSQL:\s{0,9})?\b(?:insert\s{1,9}(?:into|overwrite)\b|delete\s{1,9}from\b|merge\s{1,9}into\b|(?:create|drop|alter)\s{1,9}(?:or\s{1,9}replace\s{1,9})?(?:temp(?:orary)?\s{1,9})?(?:table|view|schema|database)\b|with\s{1,9}\w{1,100}\s{1,9}as\s{0,9}\()/i;
const SQL_PAIRS = [
  [/(?:\[?\bSQL:\s{0,9})?\bselect\b/i, /\bfrom\b/i],
  [/(?:\[?\bSQL:\s{0,9})?\bupdate\b/i, /\bset\b/i],
] as const;
const SQL_LINE =
  /^\s*(?:\[?SQL\b|LINE \d+:|(?:select|insert|update|delete|merge|with|create|alter|drop|values|from|where)\b)/i;
const STACK_LINE = /^\s*(?:at\s|Traceback\b|File "|Caused by|\.{3} \d+ more|--- )/;

/** Where SQL begins in a text; -1 where there is none. */
function sqlAt(text: string): number {
  const starts = SQL_PAIRS.map(([verb, clause]) => {
    const at = text.search(verb);
    return at >= 0 && clause.test(text.slice(at)) ? at : -1;
  });
  return [text.search(SQL_BEGINS), ...starts].reduce((a, b) => (a < 0 ? b : b < 0 ? a : Math.min(a, b)));
}

/** The name of a dataset or a job. One that is a query gets its hash for a name. */
export function nameOf(text: string): string {
  return sqlAt(text.slice(0, LOOK_LIMIT)) < 0 ? withoutCredentials(text) : `query ${sha256(text).slice(0, 16)}`;
}

/** The first line or two of an error message, up to where SQL or a stack trace begins. It may be empty. */
export function errorTextOf(message: string, limit: number): string {
  const look = message.slice(0, LOOK_LIMIT);
  const at = sqlAt(look);
  const lines = (at < 0 ? look : look.slice(0, at)).split(/[\r\n]+/).filter((line) => line.trim() !== '');
  const end = lines.findIndex((line) => STACK_LINE.test(line) || SQL_LINE.test(line));
  const kept = lines.slice(0, end < 0 ? 2 : Math.min(end, 2));
  return cleanText(withoutCredentials(kept.join(' ')), limit);
}
