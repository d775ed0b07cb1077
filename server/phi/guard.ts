import { RunwireError } from '../../shared/errors.ts';
import { DRAFT_LIMIT_BYTES } from '../../shared/protocol.ts';
import type { Registry } from '../../shared/registry.ts';
import type { ReadyDraft } from '../event-log/contract/log.ts';
import { IDENTIFIER_TYPES, isUuid, kindOfKey } from './key-values.ts';
import { checkPatterns, findShape, type PhiPattern } from './patterns.ts';
import type { Guard, PhiPolicy } from './policy.ts';
import { type Key, type Keys, type Role, type Roles, rolesOf } from './roles.ts';
import { PERSON } from './scanner/classify.ts';
import { subject } from './scanner/keywords.ts';
import { merge, Scanner } from './scanner/scanner.ts';
import type { Finding } from './scanner/tokens.ts';

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

const KEYS_LIMIT = 4_096;
const KEY_LIMIT = 100;
const longKey: Key = { role: undefined, words: 0, name: '(key)', isDeclared: false, nested: undefined };
const DEPTH_LIMIT = 64;
const ROUNDS_LIMIT = 8;
/** A draft with a longer text is refused. The schema of a user-defined event type may have no limit. */
const TEXT_LIMIT = DRAFT_LIMIT_BYTES;
/** Steps of the scanner (`scanner/scanner.ts`) in one slice, about a millisecond. A longer text is one slice. */
const SLICE_STEPS = 100_000;
/** Steps for each field, besides those for its text. */
const FIELD_STEPS = 16;

/** Creates a guard for a registry of event types. Throws `INVALID_INPUT` for an invalid `allow` entry or pattern. */
export function createPhiGuard(registry: Registry, options: PhiOptions = {}): Guard {
  const walker = new Walker(registry, options);
  return Object.assign((draft: ReadyDraft, policy: PhiPolicy) => walker.guard(draft, policy) as ReadyDraft, {
    slices: (draft: ReadyDraft, policy: PhiPolicy) =>
      walker.slices(draft, policy) as Generator<undefined, ReadyDraft, undefined>,
  });
}

/** The state of one walk through a draft. Other walks may run between its slices. */
type Walk = { readonly type: string; readonly policy: PhiPolicy; steps: number };

/** Walks the fields of a draft. Exported for the PHI report and the tests. */
export class Walker {
  readonly #scanner = new Scanner();
  readonly #allowed: ReadonlySet<string>;
  readonly #patterns: readonly PhiPattern[];
  readonly #roles: Roles;
  /** Cache for keys that no schema declares, such as labels. Cleared when full: clients may send any keys. */
  readonly #undeclared = new Map<string, Key>();

  constructor(registry: Registry, { allow = [], patterns = [] }: PhiOptions = {}) {
    this.#roles = rolesOf(registry, (key) => this.#wordsOf(key));
    for (const entry of allow) {
      if (!/^(?:[\w.-]+:)?(?:[^\s.:]+\.)*[^\s.:]+$/.test(entry)) {
        const message = 'phi.allow must hold field paths, such as labels.site or artifact.created:uri';
        throw new RunwireError('INVALID_INPUT', message, { path: 'phi.allow' });
      }
    }
    checkPatterns(patterns);
    this.#allowed = new Set(allow);
    this.#patterns = patterns;
  }

  /** Returns the draft, or a copy with the findings redacted. Throws `PHI_REJECTED`. */
  guard(draft: object, policy: PhiPolicy): object {
    for (const slices = this.slices(draft, policy); ; ) {
      const { done, value } = slices.next();
      if (done) return value;
    }
  }

  /** As {@link guard}, in slices: yields after each one. */
  slices(draft: object, policy: PhiPolicy): Generator<undefined, object, undefined> {
    const walk: Walk = { type: String((draft as { type?: unknown }).type), policy, steps: 0 };
    return this.#object(walk, draft as Record<string, unknown>, this.#roles.keysOf(walk.type), '', 0, 0);
  }

  *#object(
    walk: Walk,
    object: Record<string, unknown>,
    keys: Keys | undefined,
    path: string,
    depth: number,
    outer: number,
  ): Generator<undefined, object, undefined> {
    if (depth > DEPTH_LIMIT) throw refusal(path, 'container', 'depth');
    if (isPerson(object.resourceType)) throw refusal(at(path, 'resourceType'), 'container', 'shape');
    let copy: Record<string, unknown> | undefined;
    const paired = depth > 0 && 'value' in object ? this.#sibling(object) : 0;
    for (const key in object) {
      const value = object[key];
      if (value === undefined || value === null || typeof value === 'boolean') continue;
      const known = keys?.get(key) ?? this.#key(key);
      const { role, words: own } = known;
      if (role === 'skip') continue;
      if (this.#allowed.size > 0 && this.#isAllowed(walk, at(path, known.name))) continue;
      if (role === undefined && depth > 0 && !known.isDeclared) this.#checkKey(walk, key, path);
      // In `{patient: {name: …}}`, the subject `patient` of the outer key also applies to the name, or to an address.
      const inherited =
        (own & (subject.name | subject.address | subject.zip)) === 0 ? 0 : outer & (subject.patient | subject.member);
      const words = (key === 'value' ? paired | own : own) | inherited;
      let kept = value;
      if (typeof value === 'object')
        kept = yield* this.#container(walk, value, at(path, known.name), known, words, depth);
      else {
        const found = this.#findingsOf(walk, value, role, words);
        if (found.length > 0) kept = yield* this.#masked(walk, value, found, at(path, known.name), role, words);
      }
      walk.steps += FIELD_STEPS;
      if (walk.steps >= SLICE_STEPS) yield pause(walk);
      if (kept === value) continue;
      copy ??= { ...object };
      copy[key] = kept;
    }
    return copy ?? object;
  }

  #container(walk: Walk, value: object, path: string, key: Key, words: number, depth: number) {
    return Array.isArray(value)
      ? this.#array(walk, value, path, key, words, depth)
      : this.#object(walk, value as Record<string, unknown>, key.nested, path, depth + 1, words);
  }

  *#array(
    walk: Walk,
    values: unknown[],
    path: string,
    key: Key,
    words: number,
    depth: number,
  ): Generator<undefined, unknown[], undefined> {
    if (depth > DEPTH_LIMIT) throw refusal(path, 'container', 'depth');
    let copy: unknown[] | undefined;
    for (let i = 0; i < values.length; i++) {
      const value = values[i];
      let kept = value;
      if (typeof value === 'object' && value !== null)
        kept = yield* this.#container(walk, value, `${path}.${i}`, key, words, depth + 1);
      else {
        const found = this.#findingsOf(walk, value, key.role, words);
        if (found.length > 0) kept = yield* this.#masked(walk, value, found, `${path}.${i}`, key.role, words);
      }
      walk.steps += FIELD_STEPS;
      if (walk.steps >= SLICE_STEPS) yield pause(walk);
      if (kept === value) continue;
      copy ??= [...values];
      copy[i] = kept;
    }
    return copy ?? values;
  }

  /** The findings in a value that count in a field with this role. */
  #findingsOf(walk: Walk, value: unknown, role: Role, words: number): readonly Finding[] {
    if (typeof value === 'number') {
      const kind = words === 0 ? undefined : kindOfKey(words, String(value));
      return kind === undefined ? nothing : [{ start: 0, end: 0, kind, rule: 'key', isSoft: false }];
    }
    if (typeof value !== 'string') return nothing;
    if (value.length > TEXT_LIMIT) return tooLong;
    if (role === 'id' && isUuid(value)) return nothing;
    const findings = this.find(value, words);
    walk.steps += this.#scanner.steps;
    return findings.length === 0 ? nothing : findings.filter((finding) => isCounted(finding, role));
  }

  /**
   * Refuses a value with findings, or redacts them until the scan finds nothing more: a redaction may move a keyword
   * next to a number, or cut off the end of the text. After {@link ROUNDS_LIMIT} rounds, the draft is refused.
   */
  *#masked(
    walk: Walk,
    value: unknown,
    found: readonly Finding[],
    path: string,
    role: Role,
    words: number,
  ): Generator<undefined, string, undefined> {
    checkFindings(walk, value, found, path, role);
    let kept = value as string;
    const limit = TEXT_LIMITS.find((max) => kept.length <= max) ?? kept.length;
    let left = found;
    for (let round = 0; left.length > 0; round++) {
      if (round === ROUNDS_LIMIT) throw refusal(path, 'container', 'shape');
      if (walk.steps >= SLICE_STEPS) yield pause(walk);
      kept = redact(kept, left, limit);
      left = this.#findingsOf(walk, kept, role, words);
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
  #checkKey(walk: Walk, key: string, path: string): void {
    if (this.#findingsOf(walk, key, 'id', 0).length > 0) throw refusal(at(path, '(key)'), 'key', 'shape');
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

  #isAllowed({ type }: Walk, path: string): boolean {
    const general = path.replace(/\.\d+(?=\.|$)/g, '.*');
    return [path, general, `${type}:${path}`, `${type}:${general}`].some((name) => this.#allowed.has(name));
  }
}

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

const nothing: readonly Finding[] = [];
const tooLong: readonly Finding[] = [{ start: 0, end: 0, kind: 'container', rule: 'length', isSoft: false }];

/** Refuses findings that the policy, the role or the type of the value does not allow to be redacted. */
function checkFindings(walk: Walk, value: unknown, found: readonly Finding[], path: string, role: Role): void {
  const isReferred = role === 'id' || role === 'userId';
  const grave = isReferred ? found[0] : found.find(({ isSoft }) => !isSoft);
  if (!grave) return;
  // A number cannot be redacted, because a mark is text.
  if (typeof value !== 'string' || grave.kind === 'container') throw refusal(path, grave.kind, grave.rule);
  if (isReferred) throw refusal(path, grave.kind, `${grave.rule}; an id is not redacted`);
  if (walk.policy === 'reject') throw refusal(path, grave.kind, grave.rule);
}

/** Ends a slice. */
function pause(walk: Walk): undefined {
  walk.steps = 0;
}

const isPerson = (type: unknown): boolean => type === 'Patient' || type === 'RelatedPerson' || type === 'Person';
