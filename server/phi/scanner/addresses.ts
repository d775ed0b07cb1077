import { COLON, classes, DASH, DOT, hasAny, SEPARATOR, SLASH, UNDERSCORE, wideClass } from './char-classes.ts';
import { role, subject } from './keywords.ts';
import type { Tokens } from './tokens.ts';

/** Finds IP, MAC and e-mail addresses. */

const LOCAL_LIMIT = 64;
const DOMAIN_LIMIT = 128;

/** Finds a public IPv4 address. Private addresses and possible version numbers are ignored. */
export function ip(t: Tokens, i: number): boolean {
  if (t.separatorAfter(i) !== DOT) return false;
  for (let at = i; at < i + 4; at++) {
    if (at >= t.count || t.digits[at] !== t.length(at) || t.length(at) > 3 || t.value(at) > 255) return false;
    if (at < i + 3 && t.separatorAfter(at) !== DOT) return false;
  }
  if (t.continues(i, i + 3, DOT)) return false;
  const before = t.code((t.starts[i] as number) - 1);
  if (before === SLASH && t.code((t.starts[i] as number) - 2) !== SLASH) return false;
  if ((before < 128 && classes[before] !== SEPARATOR) || before === DASH || before === UNDERSCORE) return false;
  if (t.roles[i - 1] === role.technical) return false;
  const first = t.value(i);
  const second = t.value(i + 1);
  const isPrivate =
    first === 10 ||
    first === 127 ||
    first === 0 ||
    first >= 224 ||
    (first === 192 && second === 168) ||
    (first === 172 && second >= 16 && second < 32) ||
    (first === 169 && second === 254) ||
    (first === 100 && second >= 64 && second < 128);
  if (!isPrivate) t.add(i, i + 3, 'ip', 'shape', true);
  return true;
}

/** Finds a public IPv6 address, or a MAC address with a keyword before it. */
export function hex(t: Tokens, i: number): void {
  const start = t.starts[i] as number;
  // Public IPv6 addresses begin with 2 or 3.
  const first = t.code(start);
  if (t.length(i) !== 2 && (t.length(i) !== 4 || first < 50 || first > 51)) return;
  const next = t.code(t.ends[i] as number);
  if (next !== COLON && (next !== DASH || t.length(i) !== 2)) return;
  const before = t.code(start - 1);
  if (before === COLON || (before === DASH && t.length(i) === 2) || (i > 0 && t.ends[i - 1] === start)) return;
  const end = start + 40 < t.text.length ? start + 40 : t.text.length;
  let at = start;
  let groups = 0;
  let width = 0;
  let isDouble = false;
  let isPairs = true;
  let separator = 0;
  for (; at < end; at++) {
    const code = t.text.charCodeAt(at);
    if ((code >= 48 && code <= 57) || ((code | 32) >= 97 && (code | 32) <= 102)) {
      if (++width > 4) return;
    } else if (code === COLON || (code === DASH && (separator === 0 || separator === DASH))) {
      if (separator !== 0 && separator !== code) break;
      separator = code;
      if (width === 0) {
        if (isDouble || code === DASH) return;
        isDouble = true;
      } else {
        groups++;
        if (width !== 2) isPairs = false;
      }
      width = 0;
    } else break;
  }
  t.steps += at - start;
  if (separator === 0) return;
  const after = t.code(at);
  if (after < 128 && classes[after] !== SEPARATOR) return;
  if (width > 0) {
    groups++;
    if (width !== 2) isPairs = false;
  } else if (!isDouble) at--;
  // Bit 1 of the first byte marks a locally administered MAC address, which identifies no hardware.
  const isLocallyAdministered = (Number.parseInt(t.text.slice(start, start + 2), 16) & 2) !== 0;
  const isMac = groups === 6 && isPairs && !isDouble && width > 0 && !isLocallyAdministered;
  const isAddress = separator === COLON && (isDouble ? groups >= 2 && groups < 8 : groups === 8);
  if (isMac) {
    if (hasAny(t.subjectsNear(i, 6, 0), subject.hardware | subject.device))
      t.found.push({ start, end: at, kind: 'device', rule: 'keyword', isSoft: false });
  } else if (isAddress && t.length(i) === 4) {
    t.found.push({ start, end: at, kind: 'ip', rule: 'shape', isSoft: true });
  }
}

/** Finds an e-mail address around the `@` at position `at`. */
export function email(t: Tokens, at: number): void {
  const text = t.text;
  let start = at;
  while (start > 0 && at - start < LOCAL_LIMIT && isLocal(text.charCodeAt(start - 1))) start--;
  while (start < at && (text.charCodeAt(start) === DOT || text.charCodeAt(start) === 39)) start++;
  let end = at + 1;
  let dot = -1;
  const limit = Math.min(text.length, at + DOMAIN_LIMIT);
  while (end < limit) {
    const code = text.charCodeAt(end);
    if (code === DOT) dot = end;
    else if (code !== DASH && (code < 128 ? classes[code] === SEPARATOR : wideClass(code) === SEPARATOR)) break;
    end++;
  }
  t.steps += end - start;
  while (end > at && (text.charCodeAt(end - 1) === DOT || text.charCodeAt(end - 1) === DASH)) end--;
  if (dot >= end) dot = text.lastIndexOf('.', end - 1);
  if (start === at || dot <= at + 1) return;
  const top = text.slice(dot + 1, end).toLowerCase();
  if (top.length < 2 || (!top.startsWith('xn--') && /[\d-]/.test(top))) return;
  const local = text.slice(start, at);
  if (local === 'git' && text.charCodeAt(end) === COLON) return;
  const isUserinfo = /:\/\/[^\s/]{0,80}$/.test(text.slice(Math.max(0, start - 90), start));
  if (isUserinfo) return;
  let bits = t.context;
  // Reads the keywords before the address. An address has several tokens, so its first token is searched by position.
  const first = t.tokenAt(start);
  for (let i = Math.max(0, first - 4); i < first; i++) bits |= t.subjects[i] as number;
  const isNamed = hasAny(bits, subject.email | subject.contact | subject.patient | subject.member);
  if (!isNamed && FILES.has(top)) return;
  t.found.push({ start, end, kind: 'email', rule: isNamed ? 'keyword' : 'shape', isSoft: !isNamed });
}

/** Suffixes of file names and systemd units. These may contain an `@`, and are no e-mail addresses. */
const FILES = new Set(
  'js ts jsx tsx mjs cjs py rb rs sh java html json css map php vue so log service socket target timer scope slice mount'.split(
    ' ',
  ),
);

const isLocal = (code: number): boolean =>
  code < 128
    ? classes[code] !== SEPARATOR ||
      code === DOT ||
      code === DASH ||
      code === UNDERSCORE ||
      code === 43 ||
      code === 37 ||
      code === 39
    : wideClass(code) !== SEPARATOR;
