import { BLANK, COLON, classes, DASH, DIGIT, DOT, hasAny, SLASH, UPPER } from './char-classes.ts';
import { role, subject } from './keywords.ts';
import type { Tokens } from './tokens.ts';

/** Finds dates, and decides which of them concern a person. */

const GAP_LIMIT = 6;

function isYear(t: Tokens, i: number): boolean {
  if (!t.isNumber(i, 4)) return false;
  const yearFirst = t.value(i);
  return yearFirst >= 1_880 && yearFirst < 2_100;
}

function isDay(t: Tokens, i: number, limit = 31): boolean {
  if (!t.isNumber(i, 1) && !t.isNumber(i, 2)) return false;
  const day = t.value(i);
  return day >= 1 && day <= limit;
}

/** Whether a token is a day such as `15th`. */
function isOrdinalDay(t: Tokens, i: number): boolean {
  const digits = t.digits[i] as number;
  if (i >= t.count || t.length(i) - digits !== 2 || digits < 1 || digits > 2) return false;
  const end = t.ends[i] as number;
  const last = t.code(end - 1) | 32;
  const first = t.code(end - 2) | 32;
  const isEnding =
    (last === 104 && first === 116) || // th
    (last === 116 && first === 115) || // st
    (last === 100 && (first === 110 || first === 114)); // nd, rd
  return isEnding && classes[t.code(end - 3)] === DIGIT;
}

export function isMonth(t: Tokens, i: number): boolean {
  const kind = t.roles[i];
  return i >= 0 && i < t.count && t.digits[i] === 0 && (kind === role.month || kind === role.shortMonth);
}

/** Whether a time of day comes after the date. Then the date is the timestamp of a log line. */
function isTimed(t: Tokens, last: number): boolean {
  const next = last + 1;
  if (next + 2 >= t.count || (t.starts[next] as number) - (t.ends[last] as number) > 3) return false;
  return t.isNumber(next, 2) && t.separatorAfter(next) === COLON && t.isNumber(next + 1, 2);
}

/** Whether a version is before the date, which is then that of a release: `openssl 3.0.13 30 Jan 2024`. */
function isAfterVersion(t: Tokens, first: number): boolean {
  let parts = 1;
  if (t.separatorAfter(first - 1) !== BLANK || t.digits[first - 1] === 0) return false;
  for (let at = first - 2; parts < 4 && t.separatorAfter(at) === DOT && (t.digits[at] as number) > 0; at--) parts++;
  return parts === 2 || parts === 3;
}

function addDate(t: Tokens, first: number, last: number, isOrdinary: boolean): void {
  const near = t.subjectsNear(first, 6, last - first + 2);
  if (hasAny(near, subject.birth) || (hasAny(near, subject.stay) && !isTimed(t, last)))
    t.add(first, last, 'date', 'keyword');
  else if (isOrdinary && !isTimed(t, last) && !isAfterVersion(t, first)) t.add(first, last, 'date', 'shape', true);
}

/** Finds an ISO date near a keyword of birth, admission or death. Other ISO dates are ignored. */
export function year(t: Tokens, i: number): void {
  if (!isYear(t, i)) return;
  const separator = t.separatorAfter(i);
  if (separator !== DASH && separator !== SLASH && separator !== DOT) return;
  if (t.separatorAfter(i + 1) === separator && isDay(t, i + 1, 12) && t.length(i + 2) >= 2) {
    if (t.continues(i, i, separator) && t.separatorAfter(i - 1) === separator) return;
    // A timestamp, as in `discharge queue drained at 2024-05-02T06:14:27Z`.
    const isTimestamp = t.length(i + 2) > 2 && !hasAny(t.subjectsNear(i, 8, 0), PERSONS);
    if (isTimestamp) return;
    addDate(t, i, i + 2, false);
  }
}

/** Finds a date of eight digits after a word of a stay: `admitted 20230911`. */
export function compactDate(t: Tokens, i: number): void {
  const number = t.value(i);
  const [month, day] = [Math.floor(number / 100) % 100, number % 100];
  const isDate = number >= 18_800_101 && number < 21_000_000 && month >= 1 && month <= 12 && day >= 1 && day <= 31;
  if (!isDate || t.separatorAfter(i) === BLANK) {
    // A word after the number may be its unit.
    if (!isDate || (t.subjects[i + 1] === 0 && t.roles[i + 1] === role.none)) return;
  }
  if (hasAny(t.subjectsNear(i, 3, 0), subject.stay)) t.add(i, i, 'date', 'keyword');
}

const PERSONS = subject.patient | subject.member | subject.medical | subject.encounter | subject.birth;

/** Finds dates that begin with a number: `5/20/2021`, `21.5.2021`, `5-MAY-2021`, `15th of May, 2021`. */
export function dayFirst(t: Tokens, i: number): void {
  const isOrdinal = t.length(i) > 2 && isOrdinalDay(t, i);
  const separator = t.separatorAfter(i);
  if (!isOrdinal) {
    // Fast path: for most numbers, the next token shows that no date begins here.
    const isNumeric = i + 1 < t.count && (t.digits[i + 1] as number) > 0;
    const isSeparated = separator === SLASH || separator === DASH || separator === DOT;
    if (isNumeric ? !isSeparated : !isMonth(t, i + 1)) return;
    if (!isDay(t, i)) return;
  }
  if (!isOrdinal && (separator === SLASH || separator === DASH || separator === DOT)) {
    if (t.separatorAfter(i + 1) === separator && numericDate(t, i, separator)) return;
    // A range: `04/12-04/15/2023`.
    if (separator === SLASH && t.separatorAfter(i + 1) === DASH && isDay(t, i + 1)) {
      if (t.separatorAfter(i + 2) === SLASH && t.separatorAfter(i + 3) === SLASH && isYear(t, i + 4))
        addDate(t, i, i + 4, true);
    }
    if (separator === SLASH && !t.continues(i, i + 1, SLASH) && (isYear(t, i + 1) || isDay(t, i + 1))) {
      if (hasAny(t.subjectsNear(i, 4, 0), subject.birth | subject.stay)) t.add(i, i + 1, 'date', 'keyword');
    }
  }
  let month = i + 1;
  if (isOrdinal && month < t.count && t.length(month) === 2 && t.roles[month] === role.filler) month++;
  if (!isMonth(t, month) || (t.starts[month] as number) - (t.ends[i] as number) > 4) return;
  if (isMonth(t, i - 1)) return;
  if (isYear(t, month + 1) && (t.starts[month + 1] as number) - (t.ends[month] as number) <= 2) {
    addDate(t, i, month + 1, true);
  } else if (separator === DASH && t.separatorAfter(month) === DASH && t.isNumber(month + 1, 2)) {
    addDate(t, i, month + 1, true);
  } else if (isOrdinal) addDate(t, i, month, true);
}

function numericDate(t: Tokens, i: number, separator: number): boolean {
  const isPair = (isDay(t, i, 12) && isDay(t, i + 1)) || (isDay(t, i) && isDay(t, i + 1, 12));
  if (!isPair) return false;
  const hasYear = isYear(t, i + 2);
  const isShort = t.isNumber(i + 2, 2);
  if (!hasYear && !isShort) return false;
  if (t.separatorAfter(i - 1) === separator && (separator !== DASH || (t.digits[i - 1] as number) > 0)) return false;
  if (t.separatorAfter(i + 2) === separator && separator !== DOT) return false;
  if (separator === DOT && t.continues(i, i + 2, DOT)) return false;
  if (separator === SLASH && t.code((t.starts[i] as number) - 1) === SLASH) return false;
  addDate(t, i, i + 2, hasYear || separator === SLASH);
  return true;
}

/** Finds dates that begin with a month: `April 12, 2023`, `Sept 10th`. */
export function monthFirst(t: Tokens, i: number): void {
  const code = t.code(t.starts[i] as number);
  const isCapital = classes[code] === UPPER;
  const day = i + 1;
  if (day >= t.count || (t.starts[day] as number) - (t.ends[i] as number) > 2) return;
  if (isYear(t, day)) {
    if (hasAny(t.subjectsNear(i, 5, 0), subject.birth | subject.stay)) t.add(i, day, 'date', 'keyword');
    return;
  }
  const isOrdinal = isOrdinalDay(t, day);
  if (!isOrdinal && !isDay(t, day)) return;
  const year = day + 1;
  const width = year < t.count ? (t.starts[year] as number) - (t.ends[day] as number) : GAP_LIMIT;
  const isShort = t.isNumber(year, 2) && t.code((t.starts[year] as number) - 1) === 39; // '23
  if ((width <= 2 && isYear(t, year)) || (width <= 3 && isShort)) {
    addDate(t, i, year, true);
  } else if (isOrdinal || (isCapital && t.roles[i] === role.month)) addDate(t, i, day, true);
  else addDate(t, i, day, false);
}
