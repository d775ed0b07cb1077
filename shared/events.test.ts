import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import * as mini from 'zod/mini';
import { z as z3 } from 'zod/v3';
import { createRunwireHooks } from '../client/hooks/create-hooks.tsx';
import { createRunServer } from '../server/run-server.ts';
import { foldOf, runwireTable } from './event-table.ts';
import * as events from './events.ts';
import {
  AnyWebSocketEventSchema,
  checkRegistry,
  EventCategories,
  isValidWebSocketEvent,
  RunEventDraftSchema,
  type RunEventType,
  runwireEvents,
} from './events.ts';
import { normalizeInstant } from './fields.ts';
import { describeIssue } from './issues.ts';
import { isSignal } from './protocol.ts';
import { categoriesOf, defineEvent, draftSchemaOf, eventSchemaOf } from './registry.ts';
import type { Approval } from './run.ts';
import { RunMemory } from './run-memory.ts';

type Json = { [key: string]: unknown };

/** A draft of each type with all fields; `required` lists the required ones. */
const full: { [T in RunEventType]: { fields: Json; required: string[] } } = {
  'run.created': {
    fields: {
      name: 'n',
      stages: [{ stageId: 'a', name: 'A' }],
      createdBy: 'ann',
      labels: { assay: 'rna' },
      parentRunId: 'r0',
    },
    required: ['name'],
  },
  'run.started': { fields: {}, required: [] },
  'run.completed': { fields: { durationMs: 0.5, summary: 's' }, required: [] },
  'run.failed': {
    fields: { error: { message: 'm', code: 'CANCELLED' }, durationMs: 1, stageId: 'a' },
    required: ['error'],
  },
  'stage.started': { fields: { stageId: 'a', name: 'A', attempt: 1 }, required: ['stageId'] },
  'stage.progress': {
    fields: { stageId: 'a', progress: 50, message: 'm', done: 1, total: 2, attempt: 1 },
    required: ['stageId'],
  },
  'stage.completed': { fields: { stageId: 'a', durationMs: 1, attempt: 1 }, required: ['stageId'] },
  'stage.failed': {
    fields: { stageId: 'a', error: { message: 'm', code: 'c' }, willRetry: true, attempt: 1 },
    required: ['stageId', 'error'],
  },
  'artifact.created': {
    fields: {
      artifactId: 'f',
      name: 'n',
      stageId: 'a',
      kind: 'text/csv',
      uri: 's3://bucket/key',
      sizeBytes: 0,
      sha256: 'a'.repeat(64),
    },
    required: ['artifactId', 'name'],
  },
  'governance.required': {
    fields: {
      approvalId: 'x',
      title: 't',
      reason: 'r',
      stageId: 'a',
      requestedBy: 'ann',
      approvers: ['bob'],
      requiredApprovals: 2,
      requiredRole: 'approver',
      expiresAt: '2026-01-01T00:00:00.000Z',
      evidence: ['f'],
      authority: 'producer',
    },
    required: ['approvalId', 'title'],
  },
  'approval.granted': {
    fields: { approvalId: 'x', decidedBy: 'bob', comment: 'c' },
    required: ['approvalId', 'decidedBy'],
  },
  'approval.denied': {
    fields: { approvalId: 'x', decidedBy: 'bob', reason: 'r', expired: false },
    required: ['approvalId', 'decidedBy', 'reason'],
  },
};

const types = Object.keys(full) as RunEventType[];
const serverSet = { actor: 'ci', recordedAt: '2026-01-01T00:00:00.000Z', seq: 7, runSeq: 1 };
const draftOf = (type: RunEventType, more: Json = {}): Json => ({
  type,
  projectId: 'p',
  runId: 'r',
  timestamp: '2026-01-01T00:00:00.000Z',
  eventId: 'e',
  audience: ['ann'],
  ...full[type].fields,
  ...more,
});

const loggedOf = (type: RunEventType, more: Json = {}): Json => draftOf(type, { ...serverSet, ...more });
const without = (value: Json, key: string): Json =>
  Object.fromEntries(Object.entries(value).filter(([k]) => k !== key));

/** The issues of a draft, as `path: message`. */
function issuesOf(draft: unknown): string[] {
  const result = RunEventDraftSchema.safeParse(draft);
  return result.success
    ? []
    : result.error.issues.map((issue) => {
        const { path, message } = describeIssue(issue);
        return `${path}: ${message}`;
      });
}

const parsedField = (type: RunEventType, key: string, value: unknown) =>
  (RunEventDraftSchema.parse(draftOf(type, { [key]: value })) as Json)[key];

describe('drafts', () => {
  test.each(types)('[E1] a draft of %s has the fields of its type, and parses unchanged', (type) => {
    expect(RunEventDraftSchema.parse(draftOf(type))).toEqual(draftOf(type));
    for (const key of full[type].required) {
      expect(issuesOf(without(draftOf(type), key))).toEqual([expect.stringMatching(new RegExp(`^${key}: expected `))]);
    }
    const optional = Object.keys(full[type].fields).filter((key) => !full[type].required.includes(key));
    for (const key of [...optional, 'timestamp', 'eventId', 'audience']) {
      expect(issuesOf(without(draftOf(type), key))).toEqual([]);
    }
    for (const key of ['projectId', 'runId', 'type']) expect(issuesOf(without(draftOf(type), key))).toHaveLength(1);
  });

  test.each(types)('[E1] an unknown or server-set key of %s is an error that names its path', (type) => {
    for (const [key, value] of Object.entries({ ...serverSet, extra: 1, constructor: 1 })) {
      expect(issuesOf(draftOf(type, { [key]: value }))).toEqual([`${key}: unknown or server-set key`]);
    }
    const hidden = JSON.parse(JSON.stringify(draftOf(type)).replace('{', '{"__proto__":{"seq":1},'));
    expect(issuesOf(hidden)).toEqual(['__proto__: unknown or server-set key']);
  });

  test('[E1] an unknown key inside a field is an error that names its path', () => {
    const stages = [
      { stageId: 'a', name: 'A' },
      { stageId: 'b', name: 'B', color: 'red' },
    ];
    expect(issuesOf(draftOf('run.created', { stages }))).toEqual(['stages.1.color: unknown or server-set key']);
    const error = { message: 'm', stack: 's' };
    expect(issuesOf(draftOf('run.failed', { error }))).toEqual(['error.stack: unknown or server-set key']);
  });

  test('[E1] a label is either kept or refused, never dropped', () => {
    const labels = JSON.parse('{"__proto__": "x", "a": "b"}');
    expect(issuesOf(draftOf('run.created', { labels }))).toEqual(['labels: has a key that is not allowed']);
    for (const key of ['constructor', 'toString', 'ü ~', '10']) {
      expect(parsedField('run.created', 'labels', { [key]: '' })).toEqual({ [key]: '' });
    }
    const many = Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`k${index}`, 'v']));
    expect(issuesOf(draftOf('run.created', { labels: many }))).toEqual(['labels: must have at most 64 labels']);
    expect(issuesOf(draftOf('run.created', { labels: without(many, 'k0') }))).toEqual([]);
    for (const wrong of [null, 'x', ['x'], { a: 1 }, { a: null }, { '': 'x' }]) {
      expect(issuesOf(draftOf('run.created', { labels: wrong }))).toHaveLength(1);
    }
  });

  test('[E1] a draft of an unknown type, or a value that is no object, is an error', () => {
    for (const type of ['run.paused', 'constructor', '__proto__', '', 1, null, undefined]) {
      expect(issuesOf({ ...draftOf('run.started'), type })).toEqual(['type: not a known event type']);
    }
    for (const draft of [null, undefined, 'run.started', 7, []]) expect(issuesOf(draft)).toHaveLength(1);
  });

  test('[E1] projectId, runId and parentRunId are 1 to 200 printable ASCII characters without blanks', () => {
    const printable = Array.from({ length: 0x7e - 0x20 }, (_, index) => String.fromCharCode(0x21 + index)).join('');
    for (const key of ['projectId', 'runId', 'parentRunId']) {
      for (const value of [printable, '!', '~'.repeat(200), '...', '.a', '**', '*.']) {
        expect(issuesOf(draftOf('run.created', { [key]: value }))).toEqual([]);
      }
      for (const value of ['', '~'.repeat(201), 'a b', 'a\n', '\ta', 'ü', 'a\x7f', 'a\0', 7, null, '.', '..', '*']) {
        expect(issuesOf(draftOf('run.created', { [key]: value }))).toHaveLength(1);
      }
    }
  });

  test('[E8] an amount beyond 2^53 - 1 is an error with its path', () => {
    const most = Number.MAX_SAFE_INTEGER;
    for (const [type, key] of [
      ['stage.progress', 'done'],
      ['stage.progress', 'total'],
      ['run.completed', 'durationMs'],
      ['artifact.created', 'sizeBytes'],
    ] as const) {
      expect(issuesOf(draftOf(type, { [key]: most }))).toEqual([]);
      for (const value of [JSON.parse('9007199254740993'), 1e300]) {
        expect(issuesOf(draftOf(type, { [key]: value }))[0]).toContain(`${key}: `);
      }
    }
  });

  test('[E1] numbers, enumerations and hashes have bounds', () => {
    const wrong: [RunEventType, Json][] = [
      ['stage.progress', { progress: -0.1 }],
      ['stage.progress', { progress: 100.1 }],
      ['stage.progress', { progress: '50' }],
      ['stage.progress', { progress: Number.NaN }],
      ['stage.progress', { done: -1 }],
      ['stage.progress', { total: Number.POSITIVE_INFINITY }],
      ['stage.started', { attempt: 0 }],
      ['stage.started', { attempt: 1.5 }],
      ['run.completed', { durationMs: -1 }],
      ['stage.failed', { willRetry: 'yes' }],
      ['artifact.created', { sha256: 'A'.repeat(64) }],
      ['artifact.created', { sha256: 'a'.repeat(63) }],
      ['artifact.created', { sizeBytes: 0.5 }],
      ['governance.required', { requiredApprovals: 0 }],
      ['governance.required', { authority: 'github' }],
      ['governance.required', { expiresAt: 'tomorrow' }],
      ['governance.required', { approvers: 'bob' }],
    ];
    for (const [type, fields] of wrong) {
      const [key] = Object.keys(fields) as [string];
      expect(issuesOf(draftOf(type, fields))).toEqual([expect.stringMatching(new RegExp(`^${key}: .`))]);
    }
  });

  test('[E2] an error about a draft contains none of its values, only names of keys', () => {
    const secret = 'Jane Q. Doe, born 1980-02-30 \u0000 MRN 4711';
    // The secret in wrong places: alone, in objects and arrays, and as a key.
    const wrong = fc.constantFrom<unknown>(
      secret,
      secret.repeat(100),
      [secret],
      { [secret]: secret },
      { message: { [secret]: 1 } },
      [{ stageId: secret, name: [secret], [secret]: 1 }],
      { ok: 'x', [secret]: 5 },
    );
    let refused = 0;
    fc.assert(
      fc.property(fc.constantFrom(...types), fc.nat(30), wrong, (type, index, value) => {
        const keys = [...Object.keys(draftOf(type)), secret];
        const key = keys[index % keys.length] as string;
        const issues = issuesOf(draftOf(type, { [key]: value }));
        refused += issues.length;
        for (const issue of issues) {
          expect(issue).not.toMatch(/Jane|Doe|1980|MRN|4711/);
          expect(issue).toMatch(/^[\w.()]+: .*\w/);
        }
      }),
      { numRuns: 1_000 },
    );
    expect(refused).toBeGreaterThan(500);
  });

  test('[E2] an error contains the path and the expected type or bound', () => {
    const issues = (type: RunEventType, fields: Json) => issuesOf(draftOf(type, fields))[0];
    expect(issues('run.created', { name: 7 })).toBe('name: expected string');
    expect(issues('run.created', { name: '' })).toBe('name: must be at least 1');
    expect(issues('run.created', { stages: [{ stageId: 'a', name: 'n'.repeat(201) }] })).toBe(
      'stages.0.name: must be at most 200',
    );
    expect(issues('run.created', { labels: { sample: 5 } })).toBe('labels.sample: expected string');
    expect(issues('run.created', { labels: { 'Jane Doe': 5 } })).toBe('labels.(key): expected string');
    expect(issues('governance.required', { authority: 'x' })).toBe('authority: not one of the allowed values');
    expect(issues('stage.started', { 'Jane Doe': 1 })).toBe('(key): unknown or server-set key');
  });
});

describe('instants', () => {
  const taken = [
    ['2026-03-01T12:00:00Z', '2026-03-01T12:00:00.000Z'],
    ['2026-03-01t12:00:00.5z', '2026-03-01T12:00:00.500Z'],
    ['2026-03-01T12:00:00.123456789+02:00', '2026-03-01T10:00:00.123Z'],
    ['2026-03-01T12:00:00.9999Z', '2026-03-01T12:00:00.999Z'],
    ['2026-01-01T00:30:00+01:00', '2025-12-31T23:30:00.000Z'],
    ['2025-12-31T23:30:00-0100', '2026-01-01T00:30:00.000Z'],
    ['2026-03-01 12:00:00 +05', '2026-03-01T07:00:00.000Z'],
    ['2026-03-01T12:00+05:45', '2026-03-01T06:15:00.000Z'],
    ['2024-02-29T00:00:00Z', '2024-02-29T00:00:00.000Z'],
    ['0001-01-01T00:00:00Z', '0001-01-01T00:00:00.000Z'],
    ['9999-12-31T23:59:59.999Z', '9999-12-31T23:59:59.999Z'],
  ] as const;
  test.each(taken)('[E3] %s is accepted and stored as %s', (given, kept) => {
    expect(parsedField('run.started', 'timestamp', given)).toBe(kept);
    expect(parsedField('governance.required', 'expiresAt', given)).toBe(kept);
  });

  const refused = [
    ...['2026-03-01T12:00:00', '2026-03-01', '12:00Z', '', 'now', '1767225600000', '2026-W01-1T00:00Z'],
    ...['2026-02-29T00:00:00Z', '2026-02-30T00:00:00Z', '2026-04-31T00:00:00Z', '1900-02-29T00:00:00Z'],
    ...['2026-13-01T00:00:00Z', '2026-00-01T00:00:00Z', '2026-01-00T00:00:00Z', '2026-01-32T00:00:00Z'],
    ...['2026-01-01T24:00:00Z', '2026-01-01T00:60:00Z', '2026-01-01T00:00:61Z', '2026-01-01T00:00:00+24:00'],
    ...['2026-01-01T00:00:00+01:60', '2026-01-01T00:00:00Z\n', ' 2026-01-01T00:00:00Z', '0000-12-31T00:00:00Z'],
    ...['9999-12-31T23:59:59-01:00', '0001-01-01T00:00:00+01:00', '+002026-01-01T00:00:00Z'],
    ...['2026-02-30T00:00:00.000Z', '2026-01-01T24:00:00.000Z', '2016-12-31T23:59:60.000Z', '0000-12-31T00:00:00.000Z'],
    ...['2026-01-01T00:00:00.0000', '-02026-01-01T00:00:00.0Z', 'Thu, 01 Jan 2026 00:00 Z'],
  ];
  test.each(refused)('[E3] "%s" has no zone or does not exist, and is an error', (given) => {
    expect(issuesOf(draftOf('run.started', { timestamp: given }))).toEqual([
      'timestamp: must be an ISO 8601 instant with a time zone',
    ]);
  });

  test('[E3] an instant in any zone is stored as the same instant in UTC, so text order is time order', () => {
    const instant = fc.record({
      ms: fc.integer({ min: Date.parse('0001-01-02T00:00:00Z'), max: Date.parse('9999-12-30T00:00:00Z') }),
      offset: fc.integer({ min: -23 * 60 - 59, max: 23 * 60 + 59 }),
    });
    fc.assert(
      fc.property(instant, ({ ms, offset }) => {
        const sign = offset < 0 ? '-' : '+';
        const two = (value: number) => String(Math.trunc(Math.abs(value))).padStart(2, '0');
        const local = new Date(ms + offset * 60_000).toISOString().slice(0, -1);
        const text = `${local}${sign}${two(offset / 60)}:${two(offset % 60)}`;
        expect(normalizeInstant(text)).toBe(new Date(ms).toISOString());
      }),
      { numRuns: 1_000 },
    );
  });

  test('[E3] random text that is no instant is refused', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const kept = normalizeInstant(text);
        expect(kept === undefined || kept === new Date(kept).toISOString()).toBe(true);
      }),
    );
  });
});

describe('text', () => {
  const long = [
    ['stage.progress', 'message'],
    ['governance.required', 'reason'],
    ['approval.denied', 'reason'],
    ['approval.granted', 'comment'],
    ['run.completed', 'summary'],
  ] as const;
  const names = [
    ['run.created', 'name'],
    ['stage.started', 'name'],
    ['artifact.created', 'name'],
    ['governance.required', 'title'],
    ['artifact.created', 'kind'],
    ['governance.required', 'requiredRole'],
  ] as const;
  const ids = [
    ['stage.started', 'stageId'],
    ['artifact.created', 'artifactId'],
    ['governance.required', 'approvalId'],
    ['approval.granted', 'decidedBy'],
    ['run.created', 'createdBy'],
    ['run.started', 'eventId'],
  ] as const;
  const bounded = [
    ...long.map(([type, key]) => [type, key, 2_000] as const),
    ...[...names, ...ids].map(([type, key]) => [type, key, 200] as const),
  ];

  test.each(bounded)('[E4] %s %s has 1 to %i characters, no NUL and no lone surrogate', (type, key, limit) => {
    for (const text of ['x', 'x'.repeat(limit), '😀'.repeat(limit / 2), '~ü\u2028￿']) {
      expect(parsedField(type, key, text)).toBe(text);
    }
    for (const text of ['', 'x'.repeat(limit + 1), 'a\0b', 'a\ud83d', '\ude00b', '\ude00\ud83d']) {
      expect(issuesOf(draftOf(type, { [key]: text }))[0]).toMatch(new RegExp(`^${key}: `));
    }
  });

  test.each(ids)('[E4] %s %s has no control characters', (type, key) => {
    for (const text of ['a\nb', '\t', 'a\x7f', 'a\x85']) {
      expect(issuesOf(draftOf(type, { [key]: text }))).toEqual([`${key}: must have no control characters`]);
    }
  });

  test('[E4] text in nested fields is bounded too', () => {
    const bad: [RunEventType, Json][] = [
      ['run.failed', { error: { message: 'x'.repeat(2_001) } }],
      ['run.failed', { error: { message: 'm', code: 'a\0' } }],
      ['run.created', { stages: [{ stageId: 'a', name: '\ud800' }] }],
      ['run.created', { labels: { a: '\ud800' } }],
      ['run.created', { labels: { '\ud800': 'a' } }],
      ['run.created', { labels: { a: 'x'.repeat(201) } }],
      ['run.created', { labels: { ['x'.repeat(101)]: 'a' } }],
      ['governance.required', { approvers: ['a\0'] }],
      ['governance.required', { evidence: ['x'.repeat(201)] }],
      ['run.started', { audience: ['\ud800'] }],
    ];
    for (const [type, fields] of bad) expect(issuesOf(draftOf(type, fields))).toHaveLength(1);
  });

  test('[E5] stage.progress needs at least one of progress, message, done', () => {
    const bare = { type: 'stage.progress', projectId: 'p', runId: 'r', stageId: 'a' };
    const missing = ['progress: needs at least one of progress, message, done'];
    expect(issuesOf(bare)).toEqual(missing);
    expect(issuesOf({ ...bare, total: 9, attempt: 2 })).toEqual(missing);
    for (const said of [{ progress: 0 }, { message: 'm' }, { done: 0 }])
      expect(issuesOf({ ...bare, ...said })).toEqual([]);
    const logged = without(without(without(loggedOf('stage.progress'), 'progress'), 'message'), 'done');
    expect(isValidWebSocketEvent(logged)).toBe(false);
  });
});

describe('the registry', () => {
  test('[E6] an added type is known to schemas, categories and fold', () => {
    const registry = {
      ...runwireEvents,
      'instrument.reading': defineEvent({
        type: 'instrument.reading',
        category: 'instrument',
        topic: 'jobs',
        fields: { celsius: z.number() },
        check: { path: 'celsius', message: 'too cold', holds: (event) => Number(event.celsius) >= -273.15 },
        fold: (rows, event) => {
          const header = rows.header();
          if (header) rows.putHeader({ ...header, labels: { ...header.labels, celsius: String(event.celsius) } });
        },
      }),
      'instrument.silent': defineEvent({
        type: 'instrument.silent',
        category: 'instrument',
        topic: 'jobs',
        fields: {},
      }),
    };
    const draft = { type: 'instrument.reading', projectId: 'p', runId: 'r', celsius: 4 };
    const event = { ...serverSet, timestamp: '2026-01-01T00:00:00.000Z', eventId: 'e', ...draft };
    const [drafts, logged] = [draftSchemaOf(registry), eventSchemaOf(registry)];
    expect(drafts.parse(draft)).toEqual(draft);
    expect(logged.parse(event)).toEqual(event);
    expect(drafts.safeParse({ ...draft, celsius: -300 }).error?.issues.map(describeIssue)).toEqual([
      { path: 'celsius', message: 'too cold' },
    ]);
    expect(drafts.safeParse({ ...draft, kelvin: 1 }).success).toBe(false);
    expect(drafts.parse(draftOf('run.created'))).toEqual(draftOf('run.created'));
    expect(categoriesOf(registry)).toEqual({
      ...EventCategories,
      instrument: ['instrument.reading', 'instrument.silent'],
    });
    const memory = new RunMemory();
    foldOf(registry)(memory, logged.parse(event));
    foldOf(registry)(memory, logged.parse({ ...without(event, 'celsius'), type: 'instrument.silent', seq: 8 }));
    expect(memory.view()).toMatchObject({ labels: { celsius: '4' }, status: 'created', lastSeq: 8 });
    expect(isValidWebSocketEvent(event)).toBe(false);
  });

  const define = (type: string, fields: object) =>
    defineEvent({ type, category: 'c', topic: 't', fields: fields as Record<string, z.ZodType> } as never);

  test.each<[string, object, string]>([
    ['stream.paused', {}, 'stream.paused'],
    ['', {}, 'type'],
    ['a\nb', {}, 'type'],
    ['own', { runId: z.string() }, 'own.runId'],
    ['own', { type: z.string() }, 'own.type'],
    ['own', { erased: z.boolean() }, 'own.erased'],
    ['own', { old: z3.string() }, 'own.old'],
    ['own', { list: z.array(z.strictObject({ old: z3.string() as never })) }, 'own.list.old'],
    ['own', { none: undefined }, 'own.none'],
    ['own', { at: z.date() }, 'own.at'],
    ['own', { at: z.coerce.date().optional() }, 'own.at'],
    ['own', { size: z.bigint() }, 'own.size'],
    ['own', { size: z.literal([1n, 2n]) }, 'own.size'],
    ['own', { tags: z.map(z.string(), z.string()) }, 'own.tags'],
    ['own', { tags: z.set(z.string()).optional() }, 'own.tags'],
    ['own', { text: z.string().transform((text) => text.length) }, 'own.text'],
    ['own', { text: z.preprocess(String, z.string()) }, 'own.text'],
    ['own', { flag: z.stringbool() }, 'own.flag'],
    ['own', { deep: z.strictObject({ a: z.union([z.string(), z.record(z.string(), z.nan())]) }) }, 'own.deep.a'],
    ['own', { deep: z.lazy(() => z.tuple([z.string()]).rest(z.symbol())) }, 'own.deep'],
    ['own', { deep: z.intersection(z.object({ a: z.string() }), z.object({ b: z.date() })) }, 'own.deep.b'],
  ])('[E9] the definition of `%s` is refused with the path of what is wrong', (type, fields, path) => {
    expect(() => define(type, fields)).toThrow(expect.objectContaining({ code: 'INVALID_INPUT', path }));
  });

  test('[E9] schemas of values that JSON carries are accepted, and recursive ones too', () => {
    type Tree = { name: string; children: Tree[] };
    const tree: z.ZodType<Tree> = z.lazy(() => z.strictObject({ name: z.string(), children: z.array(tree) }));
    const fields = {
      ...{
        tree,
        email: z.email(),
        uuid: z.uuid(),
        at: z.iso.datetime(),
        any: z.any(),
        json: z.json(),
        n: z.number().nullable(),
      },
      ...{
        kind: z.enum(['a', 'b']).default('a'),
        trimmed: z.string().trim(),
        mini: mini.string(),
        piped: z.string().pipe(z.email()),
      },
    };
    expect(Object.keys(define('own', fields).draft.shape)).toEqual(expect.arrayContaining(Object.keys(fields)));
  });

  test('[E9] a registry is refused for a key that is not its type, and for another definition of a type of Runwire', async () => {
    const own = define('own', {});
    const fold = () => undefined;
    for (const [registry, path] of [
      [{ ...runwireEvents, other: own }, 'other'],
      [{ ...runwireEvents, 'run.created': define('run.created', {}) }, 'run.created'],
      [{ ...runwireEvents, 'run.created': { ...runwireEvents['run.created'], fold } }, 'run.created'],
    ] as const) {
      const refusal = expect.objectContaining({ code: 'INVALID_INPUT', path });
      await expect(createRunServer({ events: registry as never, authSecret: 'x'.repeat(32) })).rejects.toEqual(refusal);
    }
    expect(() => createRunwireHooks({ ...runwireEvents, other: own } as never)).toThrow('other');
    expect(() => createRunwireHooks({ ...runwireTable, 'run.created': { category: 'run', fold } } as never)).toThrow(
      'run.created',
    );
    expect(() => createRunwireHooks({ 'stream.own': { category: 'c' } } as never)).toThrow('stream.own');
    expect(() => checkRegistry({ ...runwireEvents, own })).not.toThrow();
  });

  test('the categories contain each of the twelve types once', () => {
    expect(EventCategories).toEqual({
      run: ['run.created', 'run.started', 'run.completed', 'run.failed'],
      stage: ['stage.started', 'stage.progress', 'stage.completed', 'stage.failed'],
      artifact: ['artifact.created'],
      governance: ['governance.required', 'approval.granted', 'approval.denied'],
    });
    expect(Object.values(EventCategories).flat().sort()).toEqual([...types].sort());
    for (const [key, { type, topic, category }] of Object.entries(runwireEvents)) {
      expect(key).toBe(type);
      expect(topic).toBe(category === 'governance' ? 'governance' : 'jobs');
    }
  });

  test('each of the twelve named schemas accepts its own type only', () => {
    const named = Object.entries(events).filter(([name]) => /^(?!Any).*EventSchema$/.test(name));
    expect(named).toHaveLength(12);
    for (const [name, schema] of named) {
      const accepted = types.filter((type) => (schema as unknown as z.ZodType).safeParse(loggedOf(type)).success);
      expect(accepted.map((type) => type.replace('.', ''))).toEqual([name.replace('EventSchema', '').toLowerCase()]);
    }
  });

  test('an event of an unknown type changes only the position', () => {
    const memory = new RunMemory();
    const fold = foldOf(runwireEvents);
    fold(memory, AnyWebSocketEventSchema.parse(loggedOf('governance.required')));
    fold(memory, { ...loggedOf('run.started'), type: 'from.the.future', seq: 9 } as never);
    expect(memory.view()).toMatchObject({ lastSeq: 9, status: 'waiting' });
    expect(memory.view()?.approvals).toMatchObject([{ approvalId: 'x' } satisfies Partial<Approval>]);
  });
});

describe('isValidWebSocketEvent', () => {
  test.each(types)(
    '[E7] it returns true for a logged event of %s, and false for its draft and for an incomplete event',
    (type) => {
      expect(isValidWebSocketEvent(loggedOf(type))).toBe(true);
      expect(AnyWebSocketEventSchema.parse(loggedOf(type))).toEqual(loggedOf(type));
      expect(isValidWebSocketEvent(draftOf(type))).toBe(false);
      const required = ['type', 'projectId', 'runId', 'timestamp', 'eventId', ...Object.keys(serverSet)];
      for (const key of [...required, ...full[type].required]) {
        expect(isValidWebSocketEvent(without(loggedOf(type), key))).toBe(false);
      }
      for (const wrong of [{ seq: 0 }, { seq: 1.5 }, { runSeq: '1' }, { extra: 1 }, { timestamp: 'x' }]) {
        expect(isValidWebSocketEvent(loggedOf(type, wrong))).toBe(false);
      }
    },
  );

  test('[E7] it returns false for every other value, and never throws', () => {
    expect(isValidWebSocketEvent({ type: 'stream.live', seq: 3 })).toBe(false);
    fc.assert(
      fc.property(
        fc.anything({ withNullPrototype: true, withBigInt: true, withDate: true, withMap: true }),
        (value) => {
          expect(isValidWebSocketEvent(value)).toBe(false);
        },
      ),
      { numRuns: 1_000 },
    );
  });

  test('isSignal distinguishes signals from events', () => {
    expect(isSignal({ type: 'stream.live' })).toBe(true);
    expect(isSignal({ type: 'stream.gap' })).toBe(true);
    for (const type of [...types, undefined, 7]) expect(isSignal({ type })).toBe(false);
  });
});
