import { expect, test } from 'vitest';
import { z } from 'zod';
import { foldOf } from '../../shared/event-table.ts';
import { runwireEvents } from '../../shared/events.ts';
import * as field from '../../shared/fields.ts';
import { defineEvent, eventSchemaOf } from '../../shared/registry.ts';
import { RunMemory } from '../../shared/run-memory.ts';
import { ERASED, tombstoneOf } from '../../shared/tombstone.ts';
import { createPhiGuard } from './guard.ts';
import type { PhiPolicy } from './policy.ts';
import { type Role, rolesOf } from './roles.ts';

const SSN = '219-09-9999';
const events = {
  ...runwireEvents,
  'sample.taken': defineEvent({
    type: 'sample.taken',
    category: 'sample',
    topic: 'jobs',
    fields: {
      sampleId: field.id(),
      note: field.message(),
      takenBy: field.userId().optional(),
      label: field.id().optional(),
      checksum: field.sha256().optional(),
      image: field.uri().optional(),
      kind: z.enum(['blood', 'swab']).optional(),
      mrn: z.int().optional(),
      tubes: z.array(z.strictObject({ tubeId: field.id(), name: field.id(), note: field.text(200) })).optional(),
      other: z.union([z.literal('none'), field.id()]).optional(),
      deep: z.lazy(() => z.object({ parts: z.tuple([field.id(), z.json()]) })).optional(),
    },
    fold: (rows, { note }) => {
      const header = rows.header();
      if (header) rows.putHeader({ ...header, summary: note });
    },
  }),
};
const draft = {
  ...{ type: 'sample.taken', projectId: 'demo', runId: 'r1', timestamp: '2026-01-05T12:00:00.000Z', eventId: 'e1' },
  ...{ sampleId: 's-1', note: 'thawed' },
};

/** The guarded draft, or the path that the guard refused. */
function guarded(fields: object, policy: PhiPolicy = 'redact'): unknown {
  try {
    return createPhiGuard(events)({ ...draft, ...fields }, policy);
  } catch (error) {
    return (error as { path: string }).path;
  }
}

test('[E6] [S6] the guard treats the fields of an own type by the builders of their schemas', () => {
  expect(guarded({ note: `SSN ${SSN}` })).toEqual({ ...draft, note: 'SSN [SSN]' });
  expect(guarded({ note: `SSN ${SSN}` }, 'reject')).toBe('note');
  for (const name of ['sampleId', 'label', 'other']) expect(guarded({ [name]: SSN })).toBe(name);
  expect(guarded({ sampleId: 'ann@example.org' })).toBe('sampleId');
  expect(guarded({ takenBy: 'ann@example.org' })).toEqual({ ...draft, takenBy: 'ann@example.org' });
  expect(guarded({ takenBy: SSN })).toBe('takenBy');
  const skipped = { checksum: '4111111111111111'.repeat(4), kind: 'blood', image: 'https://34.252.34.74/5/20/2021' };
  expect(guarded(skipped, 'reject')).toEqual({ ...draft, ...skipped });
  expect(guarded({ mrn: 8_812_345 })).toBe('mrn');
});

test('[E6] [S6] so it does with fields inside arrays, tuples, unions and lazy schemas', () => {
  const tube = { tubeId: 't', name: 't', note: 'x' };
  expect(guarded({ tubes: [{ ...tube, name: SSN }] })).toBe('tubes.0.name');
  expect(guarded({ tubes: [tube, { ...tube, tubeId: SSN }] })).toBe('tubes.1.tubeId');
  expect(guarded({ tubes: [{ ...tube, note: `SSN ${SSN}` }] })).toMatchObject({
    tubes: [{ ...tube, note: 'SSN [SSN]' }],
  });
  expect(guarded({ deep: { parts: ['p', { mrn: 8_812_345 }] } })).toBe('deep.parts.1.mrn');
});

/** An own type with one field. */
const typeWith = (schema: z.ZodType) => ({
  probed: defineEvent({ type: 'probed', category: 'probe', topic: 'jobs', fields: { field: schema } }),
});
const id = field.id();
const kinds = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('one'), id, note: field.message() }),
  z.strictObject({ kind: z.literal('two'), id, text: field.message() }),
]);

test.each<[string, z.ZodType, (value: string) => unknown, string]>([
  [
    'a schema that min, refine and describe derive',
    id
      .min(2)
      .refine(() => true)
      .describe('d'),
    (v) => v,
    'field',
  ],
  ['a schema with metadata of the application', id.meta({ role: 'admin' }), (v) => v, 'field'],
  ['a pipe', id.pipe(z.string().max(50)), (v) => v, 'field'],
  ['a pipe of an optional', id.optional().pipe(z.string().max(50).optional()), (v) => v, 'field'],
  ['a union with an object', z.union([id, z.strictObject({ a: field.message() })]), (v) => v, 'field'],
  ['an intersection', z.intersection(z.object({ a: id }), z.object({ b: id })), (v) => ({ a: 'a', b: v }), 'field.b'],
  ['the values of a record', z.record(field.id(), id), (v) => ({ a: v }), 'field.a'],
  ['objects in a record', z.record(id, z.strictObject({ id })), (v) => ({ a: { id: v } }), 'field.a.id'],
  ['a union of objects', kinds, (v) => ({ kind: 'two', id: v, text: 't' }), 'field.id'],
])('[E6] [S6] [V15] an id in %s is not redacted, and an erasure keeps it', (_name, schema, fieldOf, path) => {
  const probe = (value: string) => ({
    ...draft,
    sampleId: undefined,
    note: undefined,
    type: 'probed',
    field: fieldOf(value),
  });
  expect(() => createPhiGuard(typeWith(schema))(probe(SSN), 'redact')).toThrow(expect.objectContaining({ path }));
  const erased = tombstoneOf(typeWith(schema))(probe('id-1')) as { field: unknown };
  expect(JSON.stringify(erased.field)).toContain('id-1');
});

test('[E6] [S6] an id in the rest of a loose object is not redacted, and an erasure removes it with its key', () => {
  const events = typeWith(z.object({ a: id }).catchall(id));
  const probe = { ...draft, type: 'probed', field: { a: 'a', b: SSN } };
  expect(() => createPhiGuard(events)(probe, 'redact')).toThrow(expect.objectContaining({ path: 'field.b' }));
  expect(tombstoneOf(events)(probe)).toMatchObject({ field: { a: 'a' } });
});

test('[E6] [S1] a key that only one schema of a union declares is checked as text, if another one takes it', () => {
  const fixed = [z.literal('x'), field.instant(), z.number()];
  const schemas = fixed.flatMap((a) => [
    z.union([z.object({ a }), z.looseObject({ b: field.message() })]),
    z.union([z.object({ a }), z.record(z.string(), z.union([z.string(), a]))]),
    z.union([z.strictObject({ a }), z.unknown()]),
  ]);
  for (const schema of schemas) {
    const value = { a: `SSN ${SSN}`, b: 'b' };
    const probe = { ...draft, sampleId: undefined, note: undefined, type: 'probed', field: value };
    const guarded = createPhiGuard(typeWith(schema))(probe, 'redact');
    expect(guarded).toMatchObject({ field: { a: 'SSN [SSN]' } });
  }
});

test('[S1] [S18] a value is text if its key, which no schema declares, names an identifier or a secret', () => {
  for (const schema of [z.record(z.string(), id), z.object({ a: id.optional() }).catchall(id)]) {
    const guard = createPhiGuard(typeWith(schema));
    const guarded = (field: object) => {
      const probe = { ...draft, sampleId: undefined, note: undefined, type: 'probed', field };
      return guard(probe, 'redact');
    };
    const named = guarded({ mrn: '8812345', password: 'hunter2hunter2', site: '8812345' });
    expect(named).toMatchObject({ field: { mrn: '[MRN]', password: '[SECRET]', site: '8812345' } });
  }
});

test('[S1] a key of a record is checked, whatever its values are', () => {
  for (const [values, value] of [
    [field.instant(), draft.timestamp],
    [id, 'a'],
    [z.boolean(), true],
  ] as const) {
    const guard = createPhiGuard(typeWith(z.record(z.string(), values)));
    const probe = (key: string) => ({
      ...draft,
      sampleId: undefined,
      note: undefined,
      type: 'probed',
      field: { [key]: value },
    });
    expect(() => guard(probe(`SSN ${SSN}`), 'redact')).toThrow(expect.objectContaining({ path: 'field.(key)' }));
    expect(guard(probe('site'), 'reject')).toMatchObject({ field: { site: value } });
  }
});

test('[E6] [S6] the role of a field depends on its type: `name` is text in run.created', () => {
  const created = { ...draft, type: 'run.created', name: `SSN ${SSN}` };
  expect(createPhiGuard(events)(created, 'redact')).toMatchObject({ name: 'SSN [SSN]' });
});

test('[S6] the fields of the twelve types have these roles', () => {
  const { keysOf, roleOfName } = rolesOf(runwireEvents, () => ({ words: 0, secret: 0 }));
  const named = new Map<Role, Set<string>>();
  for (const type of Object.keys(runwireEvents)) {
    for (const [name, { role, nested }] of keysOf(type)) {
      for (const [key, value] of [
        [name, role] as const,
        ...[...(nested ?? [])].map(([k, v]) => [k, v.role] as const),
      ]) {
        named.set(value, (named.get(value) ?? new Set()).add(key));
      }
    }
  }
  const of = (role: Role) => [...(named.get(role) ?? [])].sort().join(' ');
  expect(of('id')).toBe('approvalId artifactId eventId evidence parentRunId projectId runId stageId');
  expect(of('userId')).toBe('actor approvers audience createdBy decidedBy requestedBy');
  expect(of('uri')).toBe('uri');
  expect(of('skip')).toBe(
    'attempt authority done durationMs erased expired expiresAt progress recordedAt requiredApprovals runSeq ' +
      'seenRunSeq seenSeq seq sha256 sizeBytes stagesFrom timestamp total type willRetry',
  );
  expect(of(undefined)).toBe('code comment error kind labels message name reason requiredRole stages summary title');
  expect([roleOfName('stageId'), roleOfName('createdBy'), roleOfName('type')]).toEqual(['id', 'userId', undefined]);
});

test('[S5] a label with the name of a field that the guard skips is read like any other label', () => {
  for (const name of ['type', 'timestamp', 'sha256', 'attempt']) {
    const created = { ...draft, type: 'run.created', name: 'n', labels: { [name]: `SSN ${SSN}` } };
    expect(createPhiGuard(runwireEvents)(created, 'redact')).toMatchObject({ labels: { [name]: 'SSN [SSN]' } });
  }
});

test('[E6] [V15] the tombstone of an own type keeps its ids, and its fold removes the text', () => {
  const logged = { ...draft, actor: 'lab', recordedAt: draft.timestamp, seq: 1, runSeq: 1, takenBy: 'ann', label: 'l' };
  const event = eventSchemaOf(events).parse({ ...logged, checksum: 'a'.repeat(64), image: 's3://x' });
  const tombstone = tombstoneOf(events)(event);
  expect(tombstone).toEqual({ ...logged, note: ERASED, erased: true });
  const memory = new RunMemory();
  foldOf(events)(memory, event);
  expect(memory.view()).toMatchObject({ summary: 'thawed', lastSeq: 1 });
  foldOf(events)(memory, tombstone as typeof event);
  expect(memory.view()).toMatchObject({ summary: ERASED });
});
