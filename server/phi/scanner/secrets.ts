import { BLANK, COLON, classes, DASH, DOT, EQUALS, SEPARATOR } from './char-classes.ts';
import { hook, KEY_OWNERS, NO_SECRETS, PLACE_LIMIT, PLACES, TOKEN_SHAPES, type TokenShape } from './secret-words.ts';
import type { Finding, Tokens } from './tokens.ts';

/**
 * Finds secrets: access tokens by their shapes, and passwords, tokens and keys by the word before them. A secret is
 * masked and never refused, because an error text with a password in it is no fault of its producer.
 *
 * The tokenizer lists the tokens that may begin a secret (`secret-words.ts`), so a text without any costs nothing here.
 * Each of them inspects a bounded number of characters, or characters that no later one inspects.
 */

const QUOTED_LIMIT = 256;
const GAP_LIMIT = 6;
const AUTHORITY_LIMIT = 512;

export function secrets(t: Tokens): void {
  const { hooks } = t;
  let done = 0;
  for (let n = 0; n < hooks.length; n += 2) {
    const i = hooks[n] as number;
    if ((t.starts[i] as number) < done) continue;
    done = Math.max(done, secretAt(t, i, hooks[n + 1] as number));
  }
  if (t.atSigns.length > 0) userinfo(t);
}

/** Reports the secret that token `i` begins or names. Returns the end of the secret; 0 if there is none. */
function secretAt(t: Tokens, i: number, kind: number): number {
  switch (kind) {
    case hook.prefix:
      return tokenShape(t, i);
    case hook.long:
      return awsKey(t, i);
    case hook.place:
      return placed(t, i);
    case hook.begin:
      return pem(t, i);
    case hook.scheme:
      return credentials(t, t.ends[i] as number, 8);
    case hook.authorization: {
      const value = valueAfter(t, i);
      if (value === undefined) return 0;
      if (isRandom(t.text.slice(value.start, value.end)) && value.end - value.start >= 8) return add(t, value);
      return credentials(t, value.end, 6);
    }
    default:
      return assigned(t, i, kind);
  }
}

function add(t: Tokens, { start, end }: { start: number; end: number }, rule: Finding['rule'] = 'keyword'): number {
  t.steps += end - start;
  t.found.push({ start, end, kind: 'secret', rule, isSoft: true });
  return end;
}

const isBody = (code: number, extra: string): boolean =>
  code < 128 && (classes[code] !== SEPARATOR || extra.includes(String.fromCharCode(code)));

/** Finds tokens with a published prefix, such as `ghp_…` and `eyJ….eyJ….…`. */
function tokenShape(t: Tokens, i: number): number {
  const start = t.starts[i] as number;
  const before = t.code(start - 1);
  if (before >= 128 || classes[before] !== SEPARATOR) return 0;
  for (const shape of TOKEN_SHAPES.get(t.text.slice(start, t.ends[i]).replace(/\d+$/, '').toLowerCase()) ?? []) {
    if (!t.text.startsWith(shape.prefix, start)) continue;
    const end = endOfBody(t, start + shape.prefix.length, shape);
    if (end > 0) return add(t, { start, end }, 'shape');
  }
  return 0;
}

/** The end of the characters after a prefix; 0 if these do not have the shape. */
function endOfBody(t: Tokens, from: number, { prefix, extra, least, run }: TokenShape): number {
  let end = from;
  let digits = 0;
  let dots = 0;
  let current = 0;
  let longest = 0;
  for (; end < t.text.length; end++) {
    const code = t.text.charCodeAt(end);
    if (!isBody(code, extra)) break;
    if (code >= 48 && code <= 57) digits++;
    else if (code === DOT) dots++;
    current = classes[code] === SEPARATOR ? 0 : current + 1;
    if (current > longest) longest = current;
  }
  t.steps += end - from;
  while (end > from && t.code(end - 1) === DOT) end--;
  if (prefix === 'eyJ' && dots === 0) return 0;
  return end - from >= least && digits > 0 && longest >= run ? end : 0;
}

/** Finds the id of an access key of AWS, and a token of Databricks: one token of a fixed length. */
function awsKey(t: Tokens, i: number): number {
  const start = t.starts[i] as number;
  const end = t.ends[i] as number;
  if (t.code(start - 1) < 128 && classes[t.code(start - 1)] !== SEPARATOR) return 0;
  return /^(?:A[KS]IA[A-Z0-9]{16}|dapi[0-9a-f]{32})$/.test(t.text.slice(start, end))
    ? add(t, { start, end }, 'shape')
    : 0;
}

const PEM_BEGIN = /^BEGIN (?:[A-Z0-9]{1,10} ){0,3}PRIVATE KEY(?: BLOCK)?-----/;
const PEM_END = /-----END [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----/g;

/** Finds a private key in PEM, also one that is cut. */
function pem(t: Tokens, i: number): number {
  const start = (t.starts[i] as number) - 5;
  if (start < 0 || t.text.charCodeAt(start) !== DASH || t.code(start + 4) !== DASH) return 0;
  const head = PEM_BEGIN.exec(t.text.slice(start + 5, start + 80));
  if (head === null) return 0;
  let end = start + 5 + head[0].length;
  while (end < t.text.length && isBody(t.text.charCodeAt(end), '+/=\\ \r\n\t:,')) end++;
  PEM_END.lastIndex = end;
  const tail = t.code(end) === DASH ? PEM_END.exec(t.text.slice(0, end + 60)) : null;
  return add(t, { start, end: tail?.index === end ? PEM_END.lastIndex : end }, 'shape');
}

/** Finds credentials after a scheme: `Bearer …`, `Basic …`. */
function credentials(t: Tokens, from: number, least: number): number {
  let start = from;
  while (start - from < GAP_LIMIT && (t.code(start) === BLANK || t.code(start) === COLON) && start < t.text.length)
    start++;
  if (start === from) return 0;
  let end = start;
  while (end < t.text.length && isBody(t.text.charCodeAt(end), '-._~+/')) end++;
  while (t.text.charCodeAt(end) === EQUALS) end++;
  t.steps += end - from;
  if (classes[t.code(end)] !== SEPARATOR) return 0; // `key=value`
  while (end > start && t.code(end - 1) === DOT) end--;
  return end - start >= least && isRandom(t.text.slice(start, end)) ? add(t, { start, end }) : 0;
}

/** Whether a text has a digit, a sign of base64, or a capital letter after a small one. */
const isRandom = (text: string): boolean => /[\d+=]|[a-z][A-Z]/.test(text.length > 128 ? text.slice(0, 128) : text);

/** Finds a value after its word: `password=…`, `"apiKey": "…"`, `--token …`, `<secret>…`. */
function assigned(t: Tokens, i: number, kind: number): number {
  if (!namesSecret(t, i, kind) || (kind === hook.query && t.code(t.ends[i] as number) !== EQUALS)) return 0;
  const value = valueAfter(t, i) ?? (kind === hook.password ? valueAfterVerb(t, i) : undefined);
  if (value === undefined) return 0;
  const text = t.text.slice(value.start, value.end);
  if (kind === hook.auth) return value.isEvident && text.length >= 16 && isBase64(text) ? add(t, value) : 0;
  t.steps += text.length;
  return isSecret(text, kind, value.isEvident) ? add(t, value) : 0;
}

/** Finds the secret of {@link PLACES} at token `i`. */
function placed(t: Tokens, i: number): number {
  const start = t.starts[i] as number;
  const word = t.text.slice(start, t.ends[i]).replace(/\d+$/, '').toLowerCase();
  const text = t.text.slice(start, start + PLACE_LIMIT);
  t.steps += text.length / 4;
  const [from, to] = PLACES.get(word)?.exec(text)?.indices?.[1] ?? [0, 0];
  if (to === 0 || PLACEHOLDER.test(text.slice(from, to))) return 0;
  return add(t, { start: start + from, end: start + to });
}

/** The value in `the new password is Xy12-z`: a word with digits and with capital letters or signs. */
function valueAfterVerb(t: Tokens, i: number): Value | undefined {
  const verb = i + 1;
  if (verb + 1 >= t.count || t.separatorAfter(i) !== BLANK || t.separatorAfter(verb) !== BLANK) return undefined;
  if (!/^(?:is|was|to)$/.test(t.text.slice(t.starts[verb], t.ends[verb]))) return undefined;
  const start = t.starts[verb + 1] as number;
  let end = start;
  while (
    end < t.text.length &&
    end - start < QUOTED_LIMIT &&
    !isEnd(t.text.charCodeAt(end), t.text.charCodeAt(end + 1))
  )
    end++;
  const text = t.text.slice(start, end);
  t.steps += text.length;
  const isMixed = text.length >= 6 && /\d/.test(text) && /[a-z]/i.test(text) && /[A-Z!#$%&*+?@^_~-]/.test(text);
  return isMixed && !ALGORITHM.test(text) ? { start, end, isEvident: true } : undefined;
}

const ALGORITHM = /^(?:sha|md\d|bcrypt|argon|pbkdf|scrypt|base\d|utf|hash|aes|hmac|\d+-|v?\d+\.)/i;
/** Whether a text is base64 of random bytes or of a name, a colon and a password. */
const isBase64 = (text: string): boolean =>
  /^[A-Za-z\d+/_-]+=*$/.test(text) && /[a-z]/.test(text) && /[A-Z]/.test(text) && /[\d=]/.test(text);

/** Whether the words at and before token `i` name a secret: `api key`, not `partition key` or `page token`. */
function namesSecret(t: Tokens, i: number, kind: number): boolean {
  const isNear = i > 0 && (t.starts[i] as number) - (t.ends[i - 1] as number) <= 1;
  const before = isNear ? t.text.slice(t.starts[i - 1], t.ends[i - 1]).toLowerCase() : '';
  return kind === hook.key ? KEY_OWNERS.has(before) : !NO_SECRETS.has(before);
}

/** How well the key of a text names a secret: a kind of {@link hook}; 0 if it does not. */
export function secretOfKey(t: Tokens): number {
  const last = t.count - 1;
  const [i, kind = 0] = t.hooks.slice(-2);
  const isLast = i === last || (i === last - 1 && t.digits[last] === t.length(last) && t.length(last) < 3);
  if (!isLast || kind < hook.password || kind > hook.authorization) return 0;
  if (kind === hook.authorization) return hook.password;
  return namesSecret(t, i as number, kind) ? kind : 0;
}

type Value = { start: number; end: number; isEvident: boolean };

/** The value after token `i`. It is evident with quotes, or without a blank after an equals sign. */
function valueAfter(t: Tokens, i: number): Value | undefined {
  const { text } = t;
  let at = t.ends[i] as number;
  const isElement = text.charCodeAt(at) === 62 && t.code((t.starts[i] as number) - 1) !== DASH; // <password>
  const first = at;
  let isSeparated = false;
  let hasBlank = false; // Since the separator, or, as long as there is none, since the word.
  for (; at < text.length && at - first < 2 * GAP_LIMIT; at++) {
    const code = text.charCodeAt(at);
    const isSpace = code === BLANK || code === 9 || code === 10 || code === 13;
    if (code === COLON || code === EQUALS || (isElement && at === first)) {
      isSeparated = true;
      hasBlank = false;
    } else if (isSpace) hasBlank = true;
    else if (code === 34 || code === 39 || code === 96 || code === 92) {
      // A quote ends the word before the separator, or begins the value.
      if (isSeparated || hasBlank) break;
    } else if (isSeparated ? code !== 62 : code !== 93) break; // `=>`, `["password"]=`
  }
  let slashes = at;
  while (text.charCodeAt(slashes) === 92 && slashes - at < GAP_LIMIT) slashes++;
  const quote = text.charCodeAt(slashes);
  const isQuoted = quote === 34 || quote === 39 || quote === 96;
  if (!isSeparated && !(at > first && (isQuoted || isOption(t, i)))) return undefined;
  if (isQuoted) {
    const start = slashes + 1;
    const inside = text.slice(start, start + QUOTED_LIMIT);
    t.steps += inside.length;
    const end = inside.indexOf(text.slice(at, slashes + 1));
    if (end > 0) return { start, end: start + end, isEvident: true };
    at = start;
  }
  let end = at;
  while (end < text.length && !isEnd(text.charCodeAt(end), text.charCodeAt(end + 1))) end++;
  t.steps += end - first;
  const isProse = hasBlank && text.charCodeAt(end) === BLANK && classes[text.charCodeAt(end + 1)] !== SEPARATOR;
  const isCall = text.charCodeAt(end) === 40;
  return isCall ? undefined : { start: at, end, isEvident: !isProse };
}

/** Whether token `i` ends a long option: `--token`, `--db-password`. */
function isOption(t: Tokens, i: number): boolean {
  let at = i;
  while (i - at < 4 && at > 0 && t.separatorAfter(at - 1) === DASH) at--;
  const start = t.starts[at] as number;
  return t.code(start - 1) === DASH && t.code(start - 2) === DASH;
}

const ENDS = new Uint8Array(128);
for (const sign of '\t\n\r ,;&)}]"\'<>|`(') ENDS[sign.charCodeAt(0)] = 1;
/** Whether a character ends a value without quotes. A dot does at the end of a sentence. */
const isEnd = (code: number, next: number): boolean =>
  code < 128 && (ENDS[code] === 1 || (code === DOT && (Number.isNaN(next) || next === BLANK)));

const PLACEHOLDER =
  /^(?:[*•xX.#?-]+|.*\.\.\.|[[<{(%$].*|@[\w.]*|(?:os|process|env|vars?|self|this|config|secrets?|vault|ssm|arn|file|kms|https?)[.:[].*|\/.*|(?:n\/?a|none|null|nil|undefined|true|false|yes|no|not|is|was|are|has|must|should|cannot|can|required|missing|invalid|incorrect|wrong|expired|empty|unset|set|reset|changed|updated|rejected|failed|failure|accepted|ok|valid|unknown|redacted|masked|hidden|removed|string|text|authentication|authenticated|for|and|or|too|at|in|on|to|from|with|of|the|a|an)\W*)$/i;
/** Words and short numbers in a row: the name of a secret, or of a page. */
const NAME = /^(?:[A-Za-z]{1,19}|v?\d{1,4})(?:[-_./:](?:[A-Za-z]{1,19}|[A-Za-z]{0,8}\d{1,4}))*$/;

/** Whether a value is the secret that a word of this kind names. */
export function isSecret(value: string, kind: number, isEvident: boolean): boolean {
  const text = value.length > QUOTED_LIMIT ? value.slice(0, QUOTED_LIMIT) : value;
  if (text.length < 3 || PLACEHOLDER.test(text)) return false;
  if (kind === hook.password) return isEvident || !/^[A-Za-z]+$/.test(text);
  if (text.length < 6 || text.includes(' ')) return false;
  if (text.length < 64 && NAME.test(text)) return false;
  return text.length >= 32 || (/\d/.test(text) && /[A-Za-z]/.test(text));
}

/** Finds the password in `scheme://user:password@host` and `jdbc:oracle:thin:user/password@host`. */
function userinfo(t: Tokens): void {
  const { text } = t;
  for (let from = 0; ; ) {
    const scheme = text.indexOf('://', from);
    const end = scheme < 0 ? -1 : endOfAuthority(text, scheme + 3);
    t.steps += (end < 0 ? text.length : end) - from;
    if (end < 0) break;
    from = end;
    const rest = text.slice(scheme + 3, end);
    const path = rest.search(/[/?#]/);
    const authority = path < 0 ? rest : rest.slice(0, path);
    const colon = authority.indexOf(':');
    if (colon < 0) continue;
    let sign = authority.lastIndexOf('@');
    // A password may contain a slash. The port of `host:8080/path@2` is no password.
    if (sign < 0 && !/^\d{0,5}(?:,|$)/.test(authority.slice(colon + 1))) sign = rest.lastIndexOf('@');
    const start = scheme + 4 + colon;
    if (sign > colon + 1 && !PLACEHOLDER.test(rest.slice(colon + 1, sign))) add(t, { start, end: scheme + 3 + sign });
  }
  const thin = /\bjdbc:oracle:\w{1,8}:[^\s/@]{1,64}\/([^\s@]{1,64})@/.exec(text);
  if (thin && !PLACEHOLDER.test(thin[1] as string)) {
    const end = thin.index + thin[0].length - 1;
    add(t, { start: end - (thin[1] as string).length, end });
  }
}

function endOfAuthority(text: string, start: number): number {
  let end = start;
  const limit = Math.min(text.length, start + AUTHORITY_LIMIT);
  while (end < limit && !' \t\r\n"\'<>`'.includes(text[end] as string) && !text.startsWith('://', end)) end++;
  return end;
}
