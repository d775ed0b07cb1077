import { RunwireError } from '../../shared/errors.ts';
import { DRAFT_LIMIT_BYTES } from '../../shared/protocol.ts';
import type { Registry } from '../../shared/registry.ts';
import type { ReadyDraft } from '../event-log/contract/log.ts';
import { IDENTIFIER_TYPES, isUuid, kindOfKey } from './key-values.ts';
import { checkPatterns, findShape, type PhiPattern } from './patterns.ts';
import type { Guard, PhiPolicy } from './policy.ts';
import { type Key, type Keys, type Names, nameless, type Role, type Roles, rolesOf } from './roles.ts';
import { PERSON } from './scanner/classify.ts';
import { subject } from './scanner/keywords.ts';
import { merge, Scanner } from './scanner/scanner.ts';
import { isSecret } from './scanner/secrets.ts';
import type { Finding } from './scanner/tokens.ts';

/**
 * The PHI guard keeps protected health information (PHI) out of the event log: identifiers of people that have a
 * structure, such as phone numbers. It also masks secrets, such as passwords. For each draft (an event before it is logged), the guard:
 *
 * 1. walks the fields, and looks up the role of each field (`roles.ts`), which decides how the field is checked;
 * 2. checks the value against the words of its key, such as `mrn` or `patientName`;
 * 3. scans the text for identifiers and secrets (`scanner/`);
 * 4. refuses the draft or redacts the findings, according to the policy and the role.
 *
 * The guard alone does not make data Safe Harbor compliant: it does not find names, places and bare numbers in free
 * text.
 */

export type PhiOptions = {
  /**
   * Paths of fields in which the guard only masks secrets, such as `labels.site` or `stages.*.name`. A prefix limits an entry
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
const longKey: Key = { role: undefined, words: 0, secret: 0, name: '(key)', isDeclared: false, nested: undefined };
const DEPTH_LIMIT = 64;
const ROUNDS_LIMIT = 8;
/** A draft with a longer text is refused. The schema of a user-defined event type may have no limit. */
const TEXT_LIMIT = DRAFT_LIMIT_BYTES;
/** Steps of the scanner (`scanner/scanner.ts`) in one slice, less than a millisecond. A longer text is one slice. */
const SLICE_STEPS = 20_000;
/** Steps for each field, besides those for its text. */
const FIELD_STEPS = 16;

/**
 * Creates a guard for a registry of event types. `onlySecrets`: whether it only masks secrets. Default: false. Throws
 * `INVALID_INPUT` for an invalid `allow` entry or pattern.
 */
export function createPhiGuard(registry: Registry, options: PhiOptions = {}, onlySecrets = false): Guard {
  const walker = new Walker(registry, options, onlySecrets);
  return Object.assign((draft: ReadyDraft, policy: PhiPolicy) => walker.guard(draft, policy) as ReadyDraft, {
    slices: (draft: ReadyDraft, policy: PhiPolicy) =>
      walker.slices(draft, policy) as Generator<undefined, ReadyDraft, undefined>,
  });
}

/** The key of a value in a record. A value is text if its key names an identifier or a secret, whatever its schema. */
const withOther = (key: Key, other: Keys['other']): Key => {
  if (!other) return key;
  const isNamed = key.words !== 0 || key.secret !== 0;
  return { ...key, role: isNamed ? key.role : (other.role ?? key.role), nested: other.nested };
};

/** The state of one walk through a draft. Other walks may run between its slices. */
type Walk = { readonly type: string; readonly policy: PhiPolicy; onlySecrets: boolean; steps: number };
/** What decides how a value is checked. */
type Field = Pick<Key, 'role' | 'words' | 'secret' | 'nested'>;
const freeText: Field = { role: undefined, words: 0, secret: 0, nested: undefined };
const idField: Field = { ...freeText, role: 'id' };

/** Walks the fields of a draft. Exported for the PHI report and the tests. */
export class Walker {
  readonly #scanner = new Scanner();
  readonly #allowed: ReadonlySet<string>;
  readonly #patterns: readonly PhiPattern[];
  readonly #onlySecrets: boolean;
  readonly #roles: Roles;
  /** Cache for keys that no schema declares, such as labels. Cleared when full: clients may send any keys. */
  readonly #undeclared = new Map<string, Key>();

  constructor(registry: Registry, { allow = [], patterns = [] }: PhiOptions = {}, onlySecrets = false) {
    this.#roles = rolesOf(registry, (key) => this.#scanner.namesOf(key));
    for (const entry of allow) {
      if (!/^(?:[\w.-]+:)?(?:[^\s.:]+\.)*[^\s.:]+$/.test(entry)) {
        const message = 'phi.allow must hold field paths, such as labels.site or artifact.created:uri';
        throw new RunwireError('INVALID_INPUT', message, { path: 'phi.allow' });
      }
    }
    checkPatterns(patterns);
    this.#allowed = new Set(allow);
    this.#patterns = patterns;
    this.#onlySecrets = onlySecrets;
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
    const type = String((draft as { type?: unknown }).type);
    const walk: Walk = { type, policy, onlySecrets: this.#onlySecrets, steps: 0 };
    return this.#object(walk, draft as Record<string, unknown>, this.#roles.keysOf(type), '', 0, 0);
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
    const { onlySecrets } = walk;
    if (!onlySecrets && isPerson(object.resourceType)) throw refusal(at(path, 'resourceType'), 'container', 'shape');
    let copy: Record<string, unknown> | undefined;
    const paired = depth > 0 && 'value' in object ? this.#sibling(object) : undefined;
    for (const key in object) {
      const value = object[key];
      if (value === undefined) continue;
      const known = keys?.get(key) ?? withOther(this.#key(key), keys?.other);
      if (depth > 0 && !known.isDeclared) this.#checkKey(walk, key, path);
      if (value === null || typeof value === 'boolean' || known.role === 'skip') continue;
      walk.onlySecrets = onlySecrets || (this.#allowed.size > 0 && this.#isAllowed(walk, at(path, known.name)));
      const field = fieldOf(known, key === 'value' ? paired : undefined, outer);
      let kept = value;
      if (typeof value === 'object') kept = yield* this.#container(walk, value, at(path, known.name), field, depth);
      else {
        const found = this.#findingsOf(walk, value, field);
        if (found.length > 0) kept = yield* this.#masked(walk, value, found, at(path, known.name), field);
      }
      walk.onlySecrets = onlySecrets;
      walk.steps += FIELD_STEPS;
      if (walk.steps >= SLICE_STEPS) yield pause(walk);
      if (kept === value) continue;
      copy ??= { ...object };
      copy[key] = kept;
    }
    return copy ?? object;
  }

  #container(walk: Walk, value: object, path: string, field: Field, depth: number) {
    return Array.isArray(value)
      ? this.#array(walk, value, path, field, depth)
      : this.#object(walk, value as Record<string, unknown>, field.nested, path, depth + 1, field.words);
  }

  *#array(
    walk: Walk,
    values: unknown[],
    path: string,
    field: Field,
    depth: number,
  ): Generator<undefined, unknown[], undefined> {
    if (depth > DEPTH_LIMIT) throw refusal(path, 'container', 'depth');
    let copy: unknown[] | undefined;
    for (let i = 0; i < values.length; i++) {
      const value = values[i];
      let kept = value;
      if (typeof value === 'object' && value !== null)
        kept = yield* this.#container(walk, value, `${path}.${i}`, field, depth + 1);
      else {
        const found = this.#findingsOf(walk, value, field);
        if (found.length > 0) kept = yield* this.#masked(walk, value, found, `${path}.${i}`, field);
      }
      walk.steps += FIELD_STEPS;
      if (walk.steps >= SLICE_STEPS) yield pause(walk);
      if (kept === value) continue;
      copy ??= [...values];
      copy[i] = kept;
    }
    return copy ?? values;
  }

  /** The findings in a value that count in its field. */
  #findingsOf(walk: Walk, value: unknown, field: Field): readonly Finding[] {
    if (typeof value === 'number') {
      const kind = field.words === 0 || walk.onlySecrets ? undefined : kindOfKey(field.words, String(value));
      return kind === undefined ? nothing : [{ start: 0, end: 0, kind, rule: 'key', isSoft: false }];
    }
    if (typeof value !== 'string') return nothing;
    if (value.length > TEXT_LIMIT) return tooLong;
    if (field.role === 'id' && isUuid(value)) return nothing;
    const findings = this.find(value, field, walk.onlySecrets);
    walk.steps += this.#scanner.steps;
    return findings.length === 0 ? nothing : findings.filter((finding) => isCounted(finding, field.role));
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
    field: Field,
  ): Generator<undefined, string, undefined> {
    checkFindings(walk, value, found, path, field.role);
    let kept = value as string;
    const limit = TEXT_LIMITS.find((max) => kept.length <= max) ?? kept.length;
    let left = found;
    for (let round = 0; left.length > 0; round++) {
      if (round === ROUNDS_LIMIT) throw refusal(path, 'container', 'shape');
      if (walk.steps >= SLICE_STEPS) yield pause(walk);
      kept = redact(kept, left, limit);
      left = this.#findingsOf(walk, kept, field);
    }
    return kept;
  }

  /** Finds identifiers and secrets, or only secrets, in the text of a field. */
  find(text: string, field: Field = freeText, onlySecrets = false): Finding[] {
    const { words, secret } = field;
    if (secret !== 0 && isSecret(this.#scanner.read(text).trim(), secret, true))
      return [{ start: 0, end: text.length, kind: 'secret', rule: 'key', isSoft: true }];
    if (onlySecrets) return this.#scanner.scan(text, 0, true);
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
    const { words, secret } = role === undefined ? this.#scanner.namesOf(key) : nameless;
    const name = SAFE_KEY.test(key) ? key : '(key)';
    // A name that a schema declares elsewhere identifies nobody.
    const made = { role, words, secret, name, isDeclared: role !== undefined, nested: undefined };
    this.#undeclared.set(key, made);
    return made;
  }

  /** Refuses a draft with an identifier in a key. Keys are never redacted, because other code refers to them. */
  #checkKey(walk: Walk, key: string, path: string): void {
    if (this.#findingsOf(walk, key, idField).length > 0) throw refusal(at(path, '(key)'), 'key', 'shape');
  }

  /** What a sibling names a field `value`, as in FHIR: `{system: 'phone', value: '…'}`. */
  #sibling(object: Record<string, unknown>): Names {
    const names = { ...nameless };
    const add = (key: string) => {
      const { words, secret } = this.#key(key);
      names.words |= words;
      names.secret ||= secret;
    };
    for (const name of ['system', 'type', 'key', 'name', 'label', 'code', 'field']) {
      const sibling = object[name];
      if (typeof sibling === 'string') add(sibling);
      else if (typeof sibling === 'object' && sibling !== null) {
        const { text, coding } = sibling as { text?: unknown; coding?: { code?: unknown }[] };
        if (typeof text === 'string') add(text);
        const code = Array.isArray(coding) ? coding[0]?.code : undefined;
        if (typeof code === 'string') add(IDENTIFIER_TYPES.get(code) ?? code);
      }
    }
    return names;
  }

  #isAllowed({ type }: Walk, path: string): boolean {
    const general = path.replace(/\.\d+(?=\.|$)/g, '.*');
    return [path, general, `${type}:${path}`, `${type}:${general}`].some((name) => this.#allowed.has(name));
  }
}

/** The field of a key, with what its sibling and the key of its object, `outer`, add. */
function fieldOf(key: Key, paired: Names | undefined, outer: number): Field {
  // In `{patient: {name: …}}`, the subject `patient` of the outer key also applies to the name, or to an address.
  const isOfOuter = outer !== 0 && (key.words & (subject.name | subject.address | subject.zip)) !== 0;
  const inherited = isOfOuter ? outer & (subject.patient | subject.member) : 0;
  if (paired === undefined && inherited === 0) return key;
  const words = key.words | inherited | (paired?.words ?? 0);
  return { role: key.role, words, secret: key.secret || (paired?.secret ?? 0), nested: key.nested };
}

/** Whether a finding counts. User ids of OpenID are e-mail addresses. Ids and URIs contain dates and IP addresses. */
function isCounted({ kind, rule, isSoft }: Finding, role: Role): boolean {
  // In an id, `token=…` may have any meaning.
  if (kind === 'secret') return (role !== 'id' && role !== 'userId') || rule === 'shape';
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
