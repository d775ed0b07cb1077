import { createHash } from 'node:crypto';

/**
 * Sanitizes strings from other systems: makes ids that the schemas accept, and removes credentials, SQL and stack
 * traces from text. Every function accepts any string, and takes time linear in its length.
 */

const ID_LIMIT = 200;
/** Patterns are searched only in the first characters of a text, up to this number. */
const SEARCH_LIMIT = 8_192;

export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** Percent-encodes `%`, and every character that is not printable ASCII. Different texts give different results. */
const encode = (text: string): string =>
  text.replace(/[^\x21-\x24\x26-\x7e]/gu, (char) =>
    char.isWellFormed()
      ? Array.from(Buffer.from(char), (byte) => `%${byte.toString(16).padStart(2, '0').toUpperCase()}`).join('')
      : `%u${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );

/**
 * Joins encoded parts to an id. A long id is cut, and `%~` and a hash are added. No encoded text contains `%~`, so a
 * cut id never equals an uncut one.
 */
function idOf(parts: readonly string[]): string {
  const headLimit = ID_LIMIT - 66;
  if (parts.every((part) => part.length <= ID_LIMIT)) {
    const whole = parts.map(encode).join(' ');
    if (whole.length <= ID_LIMIT) return whole;
  }
  const head = parts.map((part) => encode(part.slice(0, headLimit))).join(' ');
  return `${head.slice(0, headLimit)}%~${sha256(JSON.stringify(parts))}`;
}

/** A `projectId` or `runId` for a non-empty text. Different texts give different ids. `.`, `..` and `*` are reserved. */
export const scopeIdOf = (text: string): string =>
  /^(?:\.{1,2}|\*)$/.test(text) ? text.replaceAll('.', '%2E').replace('*', '%2A') : idOf([text]);

/** An id for a pair of texts. Different pairs give different ids: encoded parts contain no blank, which joins them. */
export const pairIdOf = (first: string, second: string): string => idOf([first, second]);

/** Returns text in one line, with at most `limit` code units, without control characters and lone surrogates. */
export function cleanText(text: string, limit: number): string {
  const line = text
    .slice(0, SEARCH_LIMIT)
    .toWellFormed()
    .replace(/[\p{Cc}\s]+/gu, ' ')
    .trim();
  return line.length <= limit ? line : `${line.slice(0, limit - 1).replace(/[\ud800-\udbff]$/, '')}…`;
}

// Patterns that can match anywhere have bounded repetitions: otherwise the time would be quadratic in the length.
const URI = /^(?:[a-z][\w+.-]{0,30}:){1,4}\/\//i;
const URI_INSIDE = /(?:\b[a-z][\w+.-]{0,30}:){1,4}\/\/[^\s'"<>()[\]]+/gi;
const JDBC_USER = /^(jdbc:\w+:(?:thin:|oci8?:)?)[^@]*@/i;
const SECRET_PAIR =
  /((?:passw(?:or)?d|pwd|secret|token|api[_-]?key|access[_-]?key|credential)[\w.-]{0,40}["']?\s{0,5}[=:]\s{0,5})("[^"]*"|'[^']*'|[^\s,;&)}\]]+)/gi;
const AUTHORIZATION = /\b(bearer|basic)\s{1,5}[\w.~+/=-]{8,}/gi;

export const isUri = (text: string): boolean => URI.test(text);

/** A URI without user, password, parameters, query and fragment. */
function bareUri(uri: string): string {
  const scheme = URI.exec(uri)?.[0];
  if (scheme === undefined) return uri.replace(JDBC_USER, '$1@');
  let rest = uri.slice(scheme.length);
  const authority = rest.split(/[/?#;]/, 1)[0] as string;
  const at = authority.lastIndexOf('@');
  if (at >= 0) {
    // Azure puts the container before the `@`: abfss://container@account.dfs.core.windows.net/path.
    const isContainer = /^(?:abfss?|wasbs?):/i.test(scheme) && !authority.slice(0, at).includes(':');
    if (!isContainer) rest = rest.slice(at + 1);
  } else if (/:(?!\d*(?:,|$))/.test(authority) && !authority.startsWith('[') && rest.includes('@')) {
    rest = rest.slice(rest.lastIndexOf('@') + 1); // The password contains a slash.
  }
  return scheme + (rest.split(/[?#;]/, 1)[0] as string);
}

/** Removes credentials from URIs, `key=value` pairs and authorization headers in a text. */
function withoutCredentials(text: string): string {
  const head = text.slice(0, SEARCH_LIMIT);
  const safe = isUri(head) || head.startsWith('jdbc:') ? bareUri(head) : head.replace(URI_INSIDE, bareUri);
  return safe.replace(SECRET_PAIR, '$1***').replace(AUTHORIZATION, '$1 ***') + text.slice(SEARCH_LIMIT);
}

/** Statements that the words below do not begin. `call` begins one only in capitals, or at the start of a line. */
const SQL_STATEMENTS = [
  /\b(?:truncate\s{1,9}table|(?:replace|copy)\s{1,9}into|unload\s{0,9}\(|select\s{1,9}[^\r\n]{1,200}?\sinto|copy\s{1,9}[\w."]{1,100}\s{0,3}(?:\([^)\r\n]{0,200}\)\s{0,3})?(?:from|to)\s{0,3}['"(@]|(?:grant|revoke)\s{1,9}[\w, ]{1,60}\son\s)/i,
  /\b(?:CALL|EXEC|EXECUTE)\s{1,9}[\w.$"`[\]]{1,100}\s{0,3}[(@']|(?:^|[\r\n])\s{0,9}[Cc]all\s{1,9}[\w.$"`]{1,100}\s{0,3}\(/,
] as const;
const SQL_BEGINS =
  /(?:\[?\bSQL:\s{0,9})?\b(?:insert\s{1,9}(?:into|overwrite)\b|delete\s{1,9}from\b|merge\s{1,9}into\b|(?:create|drop|alter)\s{1,9}(?:or\s{1,9}replace\s{1,9})?(?:temp(?:orary)?\s{1,9})?(?:table|view|schema|database)\b|with\s{1,9}\w{1,100}\s{1,9}as\s{0,9}\()/i;
const SQL_PAIRS = [
  [/(?:\[?\bSQL:\s{0,9})?\bselect\b/i, /\bfrom\b/i],
  [/(?:\[?\bSQL:\s{0,9})?\bupdate\b/i, /\bset\b/i],
] as const;
const SQL_LINE =
  /^\s*(?:\[?SQL\b|LINE \d+:|(?:select|insert|update|delete|merge|with|create|alter|drop|values|from|where)\b)/i;
const STACK_LINE = /^\s*(?:at\s|Traceback\b|File "|Caused by|\.{3} \d+ more|--- )/;

/** The position of SQL in a text; -1 if there is none. */
function sqlAt(text: string): number {
  const starts = SQL_PAIRS.map(([verb, clause]) => {
    const at = text.search(verb);
    return at >= 0 && clause.test(text.slice(at)) ? at : -1;
  });
  return [text.search(SQL_BEGINS), ...SQL_STATEMENTS.map((statement) => text.search(statement)), ...starts].reduce(
    (a, b) => (a < 0 ? b : b < 0 ? a : Math.min(a, b)),
  );
}

/** Returns a name for a dataset or a job: the text without credentials, or a hash if the text is an SQL query. */
export function nameOf(text: string): string {
  return sqlAt(text.slice(0, SEARCH_LIMIT)) < 0 ? withoutCredentials(text) : `query ${sha256(text).slice(0, 16)}`;
}

/** Returns the first one or two lines of an error message, before any SQL or stack trace. May be empty. */
export function errorTextOf(message: string, limit: number): string {
  const head = message.slice(0, SEARCH_LIMIT);
  const at = sqlAt(head);
  const lines = (at < 0 ? head : head.slice(0, at)).split(/[\r\n]+/).filter((line) => line.trim() !== '');
  const end = lines.findIndex((line) => STACK_LINE.test(line) || SQL_LINE.test(line));
  const kept = lines.slice(0, end < 0 ? 2 : Math.min(end, 2));
  return cleanText(withoutCredentials(kept.join(' ')), limit);
}
