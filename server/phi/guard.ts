import { RunwireError } from '../../shared/errors.ts';
import { DRAFT_LIMIT_BYTES } from '../../shared/protocol.ts';
import type { Registry } from '../../shared/registry.ts';
import type { Guard, PhiPolicy } from './policy.ts';
import { type Key, type Keys, type Role, type Roles, rolesOf } from './roles.ts';
import { classify, PERSON } from './scanner/classify.ts';
import { subject } from './scanner/keywords.ts';
import { merge, Scanner } from './scanner/scanner.ts';
import type { Finding, PhiKind } from './scanner/tokens.ts';

/**
 * The PHI guard keeps protected health information (PHI) out of the event log: identifiers of people that have a
 * structure, such as phone numbers. For each draft (an event before it is logged), the guard:
 *
 * 1. walks the fields, and looks up the role of each field (`roles.ts`), which decides how the field is checked;
 * 2. checks the value against the words of its key, such as `mrn` or `patientName`;
 * 3. scans the text for identifiers (`scanner/`);
 * 4. refuses the draft or redacts the findings, according to the policy and the role.
 *
 * The guard alone does not make data Safe Harbor compliant: it does not find names, places and bare numbers in free
 * text.
 */

export type PhiOptions = {
  /**
   * Paths of fields that the guard does not check, such as `labels.site` or `stages.*.name`. A prefix limits an entry
   * to one event type: `artifact.created:uri`. Default: none.
   */
  allow?: readonly string[] | undefined;
  /**
   * Further identifiers. A shape has at most 64 characters: `#` matches a digit, `@` a letter, and any other character
   * itself, in upper or lower case. No letter or digit may come directly before or after a match.
   */
  patterns?: readonly PhiPattern[] | undefined;
};

export type PhiPattern = { kind: string; shape: string };

const SHAPE_LIMIT = 64;
const KEYS_LIMIT = 4_096;
const KEY_LIMIT = 100;
const longKey: Key = { role: undefined, words: 0, name: '(key)', isDeclared: false, nested: undefined };
const DEPTH_LIMIT = 64;
const ROUNDS_LIMIT = 8;
/** A draft with a longer text is refused. The schema of a user-defined event type may have no limit. */
const TEXT_LIMIT = DRAFT_LIMIT_BYTES;

/** Creates a guard for a registry of event types. Throws `INVALID_INPUT` for an invalid `allow` entry or pattern. */
export function createPhiGuard(registry: Registry, options: PhiOptions = {}): Guard {
  const walker = new Walker(registry, options);
  return (draft, policy) => walker.guard(draft, policy) as typeof draft;
}

/** Walks the fields of a draft. Exported for the PHI report and the tests. */
export class Walker {
  readonly #scanner = new Scanner();
  readonly #allowed: ReadonlySet<string>;
  readonly #patterns: readonly PhiPattern[];
  readonly #roles: Roles;
  /** Cache for keys that no schema declares, such as labels. Cleared when full: clients may send any keys. */
  readonly #undeclared = new Map<string, Key>();
  #type = '';
  #policy: PhiPolicy = 'reject';

  constructor(registry: Registry, { allow = [], patterns = [] }: PhiOptions = {}) {
    this.#roles = rolesOf(registry, (key) => this.#wordsOf(key));
    for (const entry of allow) {
      if (!/^(?:[\w.-]+:)?(?:[^\s.:]+\.)*[^\s.:]+$/.test(entry)) {
        throw new RunwireError(
          'INVALID_INPUT',
          'phi.allow must hold field paths, such as labels.site or artifact.created:uri',
          {
            path: 'phi.allow',
          },
        );
      }
    }
    for (const { kind, shape } of patterns) {
      const isShape = /[#@]/.test(shape) && shape.length <= SHAPE_LIMIT && /^[a-z][a-z0-9-]{0,31}$/.test(kind);
      if (!isShape) {
        throw new RunwireError(
          'INVALID_INPUT',
          'a pattern must have a kind in lower case, and a shape with # or @ of at most 64 characters',
          {
            path: 'phi.patterns',
          },
        );
      }
    }
    this.#allowed = new Set(allow);
    this.#patterns = patterns;
  }

  /** Returns the draft, or a copy with the findings redacted. Throws `PHI_REJECTED`. */
  guard(draft: object, policy: PhiPolicy): object {
    this.#policy = policy;
    this.#type = String((draft as { type?: unknown }).type);
    return this.#object(draft as Record<string, unknown>, this.#roles.keysOf(this.#type), '', 0);
  }

  #object(object: Record<string, unknown>, keys: Keys | undefined, path: string, depth: number, outer = 0): object {
    if (depth > DEPTH_LIMIT) throw refusal(path, 'container', 'depth');
    if (isPerson(object.resourceType)) throw refusal(at(path, 'resourceType'), 'container', 'shape');
    let copy: Record<string, unknown> | undefined;
    const paired = depth > 0 && 'value' in object ? this.#sibling(object) : 0;
    for (const key in object) {
      const value = object[key];
      if (value === undefined || value === null || typeof value === 'boolean') continue;
      const known = keys?.get(key) ?? this.#key(key);
      const { role, words: own, name } = known;
      if (role === 'skip') continue;
      const where = path === '' ? name : `${path}.${name}`;
      if (this.#allowed.size > 0 && this.#isAllowed(where)) continue;
      if (role === undefined && depth > 0 && !known.isDeclared) this.#checkKey(key, path);
      // In `{patient: {name: …}}`, the subject `patient` of the outer key also applies to the name, or to an address.
      const inherited =
        (own & (subject.name | subject.address | subject.zip)) === 0 ? 0 : outer & (subject.patient | subject.member);
      const words = (key === 'value' ? paired | own : own) | inherited;
      const kept = this.#value(value, where, known, words, depth);
      if (kept === value) continue;
      copy ??= { ...object };
      copy[key] = kept;
    }
    return copy ?? object;
  }

  #value(value: unknown, path: string, key: Key, words: number, depth: number): unknown {
    if (typeof value === 'string') return this.#string(value, path, key.role, words);
    if (typeof value === 'number') return this.#number(value, path, words);
    if (Array.isArray(value)) return this.#array(value, path, key, words, depth);
    if (typeof value === 'object' && value !== null)
      return this.#object(value as Record<string, unknown>, key.nested, path, depth + 1, words);
    return value;
  }

  #array(values: unknown[], path: string, key: Key, words: number, depth: number): unknown[] {
    if (depth > DEPTH_LIMIT) throw refusal(path, 'container', 'depth');
    let copy: unknown[] | undefined;
    for (let i = 0; i < values.length; i++) {
      const kept = this.#value(values[i], `${path}.${i}`, key, words, depth + 1);
      if (kept === values[i]) continue;
      copy ??= [...values];
      copy[i] = kept;
    }
    return copy ?? values;
  }

  /** Refuses a number with a key that names an identifier. A number cannot be redacted, because a mark is text. */
  #number(value: number, path: string, words: number): number {
    const kind = words === 0 ? undefined : kindOfKey(words, String(value));
    if (kind) throw refusal(path, kind, 'key');
    return value;
  }

  #string(text: string, path: string, role: Role, words: number): string {
    if (text.length > TEXT_LIMIT) throw refusal(path, 'container', 'length');
    if (role === 'id' && isUuid(text)) return text;
    const findings = this.find(text, words);
    if (findings.length === 0) return text;
    const counted = findings.filter((finding) => isCounted(finding, role));
    const [first] = counted;
    if (!first) return text;
    const isReferred = role === 'id' || role === 'userId';
    const grave = isReferred ? first : counted.find(({ isSoft }) => !isSoft);
    if (grave && grave.kind === 'container') throw refusal(path, grave.kind, grave.rule);
    if (grave && isReferred) throw refusal(path, grave.kind, `${grave.rule}; an id is not redacted`);
    if (grave && this.#policy === 'reject') throw refusal(path, grave.kind, grave.rule);
    return this.#redacted(text, counted, path, role, words);
  }

  /**
   * Redacts until the scan finds nothing more: a redaction may move a keyword next to a number, or cut off the end of
   * the text. After {@link ROUNDS_LIMIT} rounds, the draft is refused.
   */
  #redacted(text: string, findings: readonly Finding[], path: string, role: Role, words: number): string {
    const limit = TEXT_LIMITS.find((max) => text.length <= max) ?? text.length;
    let kept = text;
    let left = findings;
    for (let round = 0; left.length > 0; round++) {
      if (round === ROUNDS_LIMIT) throw refusal(path, 'container', 'shape');
      kept = redact(kept, left, limit);
      left = this.find(kept, words).filter((finding) => isCounted(finding, role));
    }
    return kept;
  }

  /** Finds identifiers in a text. `words` has the subject bits of the text's key (`scanner/keywords.ts`). */
  find(text: string, words = 0): Finding[] {
    const kind = words === 0 ? undefined : kindOfKey(words, this.#scanner.read(text));
    if (kind) return [{ start: 0, end: text.length, kind, rule: 'key', isSoft: false }];
    const findings = this.#scanner.scan(text, words & ~(PERSON | subject.name | subject.address | subject.zip));
    if (this.#patterns.length === 0) return findings;
    const own = this.#patterns.flatMap((pattern) => findShape(text, pattern));
    return own.length === 0 ? findings : merge([...findings, ...own]);
  }

  #key(key: string): Key {
    const known = this.#undeclared.get(key);
    if (known !== undefined) return known;
    if (key.length > KEY_LIMIT) return longKey;
    if (this.#undeclared.size >= KEYS_LIMIT) this.#undeclared.clear();
    const role = this.#roles.roleOfName(key);
    const words = role === undefined ? this.#wordsOf(key) : 0;
    const name = SAFE_KEY.test(key) ? key : '(key)';
    const made = { role, words, name, isDeclared: false, nested: undefined };
    this.#undeclared.set(key, made);
    return made;
  }

  #wordsOf(key: string): number {
    return this.#scanner.wordsOf(this.#scanner.read(key));
  }

  /** Refuses a draft with an identifier in a key. Keys are never redacted, because other code refers to them. */
  #checkKey(key: string, path: string): void {
    if (this.find(key).some((finding) => isCounted(finding, 'id'))) throw refusal(at(path, '(key)'), 'key', 'shape');
  }

  /** The subjects of a field `value`, named by a sibling field as in FHIR: `{system: 'phone', value: '…'}`. */
  #sibling(object: Record<string, unknown>): number {
    let words = 0;
    for (const name of ['system', 'type', 'key', 'name', 'label', 'code', 'field']) {
      const sibling = object[name];
      if (typeof sibling === 'string') words |= this.#key(sibling).words;
      else if (typeof sibling === 'object' && sibling !== null) {
        const { text, coding } = sibling as { text?: unknown; coding?: { code?: unknown }[] };
        if (typeof text === 'string') words |= this.#key(text).words;
        const code = Array.isArray(coding) ? coding[0]?.code : undefined;
        if (typeof code === 'string') words |= this.#key(IDENTIFIER_TYPES[code] ?? code).words;
      }
    }
    return words;
  }

  #isAllowed(path: string): boolean {
    const general = path.replace(/\.\d+(?=\.|$)/g, '.*');
    return [path, general, `${this.#type}:${path}`, `${this.#type}:${general}`].some((name) => this.#allowed.has(name));
  }
}

/** From identifier types of HL7 v2 to keys: https://terminology.hl7.org/CodeSystem-v2-0203.html */
const IDENTIFIER_TYPES: Readonly<Record<string, string>> = {
  MR: 'mrn',
  PI: 'patientId',
  PT: 'patientId',
  SS: 'ssn',
  DL: 'driversLicense',
  PPN: 'passport',
  MB: 'memberId',
  SN: 'subscriberNumber',
  MC: 'medicareId',
  MA: 'medicaidId',
  AN: 'accountNumber',
};

/** Whether a finding counts. User ids of OpenID are e-mail addresses. Ids and URIs contain dates and IP addresses. */
function isCounted({ kind, isSoft }: Finding, role: Role): boolean {
  if (role === 'userId') return kind !== 'email' && !isSoft;
  if (role === 'id' || role === 'uri') return !isSoft || kind === 'email';
  return true;
}

/**
 * Length limits of text fields in Runwire's event types. A mark such as `[PHONE]` may be longer than its finding. The
 * redacted text is cut to the smallest of these limits that the original text met.
 */
const TEXT_LIMITS = [200, 2_000];

function redact(text: string, findings: readonly Finding[], limit: number): string {
  let out = '';
  let from = 0;
  for (const { start, end, kind } of findings) {
    // A finding that begins or ends inside a surrogate pair is extended to the whole pair.
    out += `${text.slice(from, isInPair(text, start) ? start - 1 : start)}[${kind.toUpperCase()}]`;
    from = isInPair(text, end) ? end + 1 : end;
  }
  out += text.slice(from);
  return out.length <= limit ? out : out.slice(0, limit).toWellFormed();
}

const isInPair = (text: string, at: number): boolean =>
  (text.charCodeAt(at - 1) & 0xfc00) === 0xd800 && (text.charCodeAt(at) & 0xfc00) === 0xdc00;

function refusal(path: string, kind: string, rule: string): RunwireError {
  return new RunwireError('PHI_REJECTED', `looks like protected information: ${kind} (${rule})`, { path });
}

/** Keys that error messages may show. Any other key may contain protected information, and is shown as `(key)`. */
const SAFE_KEY = /^[A-Za-z_][\w-]{0,63}$/;
const at = (path: string, name: string): string => (path === '' ? name : `${path}.${name}`);

function isUuid(text: string): boolean {
  if (text.length !== 36) return false;
  for (let i = 0; i < 36; i++) {
    const code = text.charCodeAt(i);
    const isDash = i === 8 || i === 13 || i === 18 || i === 23;
    const isHex = (code >= 48 && code <= 57) || ((code | 32) >= 97 && (code | 32) <= 102);
    if (isDash ? code !== 45 : !isHex) return false;
  }
  return true;
}

const isPerson = (type: unknown): boolean => type === 'Patient' || type === 'RelatedPerson' || type === 'Person';

const EMPTY =
  /^(?:n\/?a|none|null|undefined|unknown|redacted|masked|hidden|true|false|string|test|\[.*\]|<.*>|\{.*\}|[*xX#.\-?_ ]+)$/i;

/**
 * The kind of identifier in a value, according to the subjects of its key. Undefined if the value is empty, or has a
 * form that does not fit the key.
 */
function kindOfKey(words: number, text: string): PhiKind | undefined {
  const value = text.length > 256 ? text.slice(0, 256) : text.trim();
  if (value.length < 2 || EMPTY.test(value)) return undefined;
  let digits = 0;
  for (let i = 0; i < value.length; i++) if (value.charCodeAt(i) >= 48 && value.charCodeAt(i) <= 57) digits++;
  const is = (mask: number) => (words & mask) !== 0;
  if (is(subject.name) && is(PERSON | subject.patient | subject.member)) {
    return /\p{L}/u.test(value) && !/[/\\:=<>{}@_]/.test(value) && !isUuid(value) ? 'name' : undefined;
  }
  if (is(subject.name) && !is(subject.contact)) return undefined;
  if (is(subject.email)) return value.includes('@') ? 'email' : undefined;
  if (is(subject.zip)) return /^[A-Z\d][A-Z\d -]{2,9}$/i.test(value) && digits > 0 ? 'zip' : undefined;
  if (is(subject.address) && !is(subject.hardware)) {
    return digits > 0 && /^[\dA-Z#][\w.#'-]*(?:,? +[\w.,#'-]+)+$/i.test(value) ? 'address' : undefined;
  }
  if (is(subject.stay) && digits >= 6) return 'date';
  if (is(subject.contact) && digits >= 7 && digits <= 15 && /^[+\d][\d ().-]+$|^\(/.test(value)) return 'phone';
  return digits >= 2 ? classify(words, true, value, digits) : undefined;
}

/** Finds the matches of a shape that have no letter or digit directly before or after them. */
function findShape(text: string, { kind, shape }: PhiPattern): Finding[] {
  const found: Finding[] = [];
  for (let start = 0; start + shape.length <= text.length; start++) {
    if (start > 0 && isWord(text.charCodeAt(start - 1))) continue;
    let length = 0;
    while (length < shape.length && matches(shape.charCodeAt(length), text.charCodeAt(start + length))) length++;
    const end = start + length;
    if (length < shape.length || (end < text.length && isWord(text.charCodeAt(end)))) continue;
    found.push({ start, end, kind, rule: 'pattern', isSoft: false });
    start = end - 1;
  }
  return found;
}

const isDigit = (code: number): boolean => code >= 48 && code <= 57;
const isLetter = (code: number): boolean => (code | 32) >= 97 && (code | 32) <= 122;
const isWord = (code: number): boolean => isDigit(code) || isLetter(code) || code >= 128;
function matches(shape: number, code: number): boolean {
  if (shape === 35) return isDigit(code);
  if (shape === 64) return isLetter(code);
  return shape === code || (isLetter(shape) && (shape | 32) === (code | 32));
}
