import type { z } from 'zod';
import { envelopeSchema, type Registry } from '../../shared/registry.ts';
import { definitionOf, type FieldRole, roleOf, unwrapped } from '../../shared/zod-definition.ts';

/**
 * Derives from the schemas of all event types how the PHI guard treats each field. This happens once for each guard,
 * not for each event.
 *
 * 1. Each object schema becomes a map from key to {@link Key}, nested objects included. The objects of a union become one map.
 * 2. The role of a key is the one that `shared/fields.ts` set when it built the field. The guard skips values with a
 *    form that the schema fixes: instants, digests, enumerations, literals, and numbers with a key that names no
 *    identifier. Everything else is text.
 * 3. A key that no schema declares, such as a label, gets the role of the declared keys with the same name, but never the
 *    role `skip`. For example, a label `createdBy` gets the role `userId`, and may be an e-mail address.
 */

/** How the guard treats a value. Undefined means text: findings are redacted or refused, according to the policy. */
export type Role = 'skip' | 'id' | 'userId' | 'uri' | undefined;

/** A key of an object. */
export type Key = {
  role: Role;
  /** Bits of the subjects (`scanner/keywords.ts`) that words of the key name; 0 for a key with a role. */
  words: number;
  /** How well the key names a secret (`scanner/secret-words.ts`); 0 for a key with a role, and if it does not. */
  secret: number;
  /** The key as error messages show it. */
  name: string;
  isDeclared: boolean;
  /** The keys of objects in the value. Undefined if no schema declares them. */
  nested: Keys | undefined;
};
/** What the words of a key name. */
export type Names = Pick<Key, 'words' | 'secret'>;
export type Keys = ReadonlyMap<string, Key> & {
  /** How to treat values of keys that no schema declares by name, as in a record. */
  other?: Pick<Key, 'role' | 'nested'>;
};

type KeyMap = Map<string, Key> & Keys;

export type Roles = {
  /** The keys of an event type. For an unknown type, the keys that every event has (the envelope). */
  keysOf(type: string): Keys;
  /** The role of a key that no schema declares. */
  roleOfName(name: string): Role;
};

const roles: Record<FieldRole, Role> = { id: 'id', userId: 'userId', uri: 'uri', instant: 'skip', digest: 'skip' };
/** What a key with a role names. */
export const nameless: Names = { words: 0, secret: 0 };
const FIXED_TYPES = new Set(['enum', 'literal', 'boolean', 'null', 'undefined']);

/** `read` returns what the words of a key name. */
export function rolesOf(registry: Registry, read: (key: string) => Names): Roles {
  const known = new Map<string, KeyMap>();
  const numbers = new Map<z.core.$ZodType, number>();
  const numberOf = (schema: z.core.$ZodType): number => {
    if (!numbers.has(schema)) numbers.set(schema, numbers.size);
    return numbers.get(schema) as number;
  };

  /** The keys of an object with one of these schemas. */
  const keysIn = (schemas: z.core.$ZodType[]): KeyMap => {
    const id = schemas.map(numberOf).join();
    const before = known.get(id);
    if (before) return before;
    const keys: KeyMap = new Map();
    known.set(id, keys); // Stored before its fields are read: a schema may contain itself.
    const fields = new Map<string, z.core.$ZodType[]>();
    const others: z.core.$ZodType[] = [];
    const objects = schemas.map(definitionOf);
    const names = new Set(objects.flatMap(({ shape = {} }) => Object.keys(shape)));
    for (const { shape = {}, valueType, catchall } of objects) {
      const other = valueType ?? catchall;
      if (other) others.push(other);
      // A key that one object declares may have any value that another one takes for its other keys.
      for (const name of names) {
        const field = Object.hasOwn(shape, name) ? shape[name] : other;
        if (field) fields.set(name, [...(fields.get(name) ?? []), field]);
      }
    }
    for (const [name, schemasOfField] of fields) keys.set(name, keyOf(name, schemasOfField));
    const { role, nested } = keyOf('', others);
    if (role !== undefined || nested !== undefined) keys.other = { role, nested };
    return keys;
  };

  const keyOf = (name: string, fields: z.core.$ZodType[]): Key => {
    const leaves = fields.flatMap((field) => leavesOf(field));
    const containers = leaves.filter(isContainer);
    const nested = containers.length > 0 && !leaves.some(isOpen) ? keysIn(containers) : undefined;
    const common = commonRole(leaves.filter((leaf) => !isContainer(leaf)));
    const declared = common === 'skip' && nested ? undefined : common;
    const { words, secret } = declared === undefined ? read(name) : nameless;
    // A number is an identifier only because of the words of its key or, for a key `value`, of a field beside it.
    const isHarmless = words === 0 && name !== 'value' && name !== '' && leaves.length > 0 && leaves.every(isNumber);
    const role = isHarmless ? 'skip' : declared;
    return { role, words, secret, name, isDeclared: true, nested };
  };

  const byType = new Map(Object.values(registry).map(({ type, event }) => [type, keysIn([event])]));
  const envelope = keysIn([envelopeSchema]);
  const byName = new Map<string, Role>();
  for (const keys of known.values()) {
    for (const [name, { role }] of keys) {
      if (role === undefined || role === 'skip') continue;
      // Fields of the same name with different roles: values are checked as text, the strictest treatment.
      byName.set(name, byName.has(name) && byName.get(name) !== role ? undefined : role);
    }
  }
  return {
    keysOf: (type) => byType.get(type) ?? envelope,
    roleOfName: (name) => byName.get(name),
  };
}

/** The schemas of a value or of its elements, without optionals, arrays, unions and other wrappers. */
function leavesOf(schema: z.core.$ZodType, seen = new Set<z.core.$ZodType>()): z.core.$ZodType[] {
  if (seen.has(schema)) return [];
  seen.add(schema);
  const { type, element, items, options, left, right } = definitionOf(schema);
  const inner =
    (type === 'array' && element && [element]) ||
    (type === 'tuple' && items) ||
    (type === 'union' && options) ||
    (type === 'intersection' && left && right && [left, right]) ||
    [unwrapped(schema)].filter((wrapped) => wrapped !== undefined);
  // The wrapper may have the role, not the inner schema.
  if (inner.length === 0 || roleOf(schema) !== undefined) return [schema];
  return inner.flatMap((one) => leavesOf(one, seen));
}

const isNumber = (schema: z.core.$ZodType): boolean => definitionOf(schema).type === 'number';
const isContainer = (schema: z.core.$ZodType): boolean => ['object', 'record'].includes(definitionOf(schema).type);

/** Whether a schema takes objects without declaring their keys. */
const isOpen = (schema: z.core.$ZodType): boolean => ['any', 'unknown', 'custom'].includes(definitionOf(schema).type);

/** The common role of all schemas; undefined if roles differ. The role `skip` is left out if there are others. */
function commonRole(leaves: z.core.$ZodType[]): Role {
  const found = new Set(leaves.map(roleOfLeaf));
  if (found.size > 1) found.delete('skip');
  return found.size === 1 ? [...found][0] : undefined;
}

function roleOfLeaf(schema: z.core.$ZodType): Role {
  const role = roleOf(schema);
  if (role) return roles[role];
  return FIXED_TYPES.has(definitionOf(schema).type) ? 'skip' : undefined;
}
