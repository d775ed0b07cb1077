import type { z } from 'zod';
import { refuse } from './event-names.ts';
import { definitionOf, partsOf } from './zod-definition.ts';

/**
 * Checks the fields of an event type at its definition. Events are stored and sent as JSON, and the schema of a draft is
 * also the schema of the stored event. So a schema may not convert values, and its values must have a form in JSON.
 */

/** The types of schemas with values that JSON cannot carry. */
const NOT_JSON = new Set(['bigint', 'date', 'file', 'function', 'map', 'nan', 'promise', 'set', 'success', 'symbol']);

/** Throws a `RunwireError` with the code `INVALID_INPUT` and the path of a field that no event can have. */
export function checkFields(type: string, fields: Readonly<Record<string, unknown>>, envelope: object): void {
  for (const [name, schema] of Object.entries(fields)) {
    const path = `${type}.${name}`;
    if (name === 'type' || Object.hasOwn(envelope, name)) refuse(path, 'every event has a field of this name');
    if (name === '__proto__') refuse(path, 'is a name that is not allowed');
    check(schema, path, new Set());
  }
}

function check(schema: unknown, path: string, seen: Set<unknown>): void {
  if (seen.has(schema)) return;
  seen.add(schema);
  if (!isSchema(schema)) refuse(path, 'is not a schema of zod 4 (schemas of zod 3 cannot be used)');
  const { type, transform, values = [], shape = {} } = definitionOf(schema);
  if (type === 'transform' || transform !== undefined) {
    refuse(path, 'has a schema that converts values: convert them before you publish');
  }
  if (NOT_JSON.has(type)) refuse(path, `has no form in JSON: ${type}`);
  if (values.some((value) => typeof value === 'bigint')) refuse(path, 'has no form in JSON: bigint');
  for (const [name, field] of Object.entries(shape)) check(field, `${path}.${name}`, seen);
  for (const part of partsOf(schema)) check(part, path, seen);
}

const isSchema = (schema: unknown): schema is z.core.$ZodType =>
  typeof schema === 'object' && schema !== null && '_zod' in schema;
