import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type Key, type Keys, rolesOf } from '../../server/phi/roles.ts';
import { type RunEventType, runwireEvents } from '../../shared/events.ts';
import { isSignal } from '../../shared/protocol.ts';
import {
  created,
  everyone,
  keptLog,
  openServer,
  startServer,
  take,
  temporaryFolder,
  tokenFor,
  Wire,
} from '../support/harness.ts';
import { hasSamples, measure, readSamples } from './phi-labelled.ts';

/** One draft of each type, with all text fields. */
const ids = { projectId: 'demo', runId: 'r1', eventId: 'e1', audience: ['ada'] };
const stage = { stageId: 's1', attempt: 1 };
const failure = { message: 'm', code: 'E' };
const drafts: Record<RunEventType, object> = {
  'run.created': {
    ...{ name: 'n', stages: [{ stageId: 's1', name: 'n' }], createdBy: 'ada', labels: { k: 'v' } },
    parentRunId: 'r0',
  },
  'run.started': {},
  'run.completed': { summary: 's' },
  'run.failed': { error: failure, stageId: 's1' },
  'stage.started': { ...stage, name: 'n' },
  'stage.progress': { ...stage, message: 'm' },
  'stage.completed': stage,
  'stage.failed': { ...stage, error: failure },
  'artifact.created': { artifactId: 'a', name: 'n', stageId: 's1', kind: 'k', uri: 'u' },
  'governance.required': {
    ...{ approvalId: 'p', title: 't', reason: 'r', stageId: 's1', requestedBy: 'ada', approvers: ['bob'] },
    ...{ requiredRole: 'approver', evidence: ['a'], authority: 'producer' },
  },
  'approval.granted': { approvalId: 'p', decidedBy: 'ada', comment: 'c' },
  'approval.denied': { approvalId: 'p', decidedBy: 'ada', reason: 'r' },
};

/** Planted texts, and the parts of them that must appear nowhere. No blanks, because ids have none. */
const planted = [
  ['SSN=219-09-9999', '219-09-9999'],
  ['219-09-9998', '219-09-9998'],
  ['MRN:77188312', '77188312'],
  ['(415)555-0132', '555-0132'],
  ['4111-1111-1111-1111', '4111-1111'],
  ['DOB=1961-04-12', '1961-04-12'],
  ['1HGCM82633A004352', '1HGCM82633A004352'],
  ['mailto:jane.canary@example.org', 'jane.canary'],
] as const;

type Path = (string | number)[];
/** Paths of the text fields that a producer fills. */
function pathsOf(value: unknown, at: Path = []): Path[] {
  if (typeof value === 'string') return ['type', 'authority'].includes(String(at[0])) ? [] : [at];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, part]) =>
    pathsOf(part, [...at, Array.isArray(value) ? Number(key) : key]),
  );
}
function withText(value: unknown, [step, ...rest]: Path, text: string): unknown {
  if (step === undefined) return text;
  const copy = structuredClone(value) as Record<string | number, unknown>;
  copy[step] = withText(copy[step], rest, text);
  return copy;
}
/** A user id may be an e-mail address. */
const isUserId = (type: RunEventType, key: string) => roles.keysOf(type).get(key)?.role === 'userId';
/** Ids and user ids are never redacted. */
const isReferred = (type: RunEventType, path: Path) => {
  let keys: Keys | undefined = roles.keysOf(type);
  for (const step of path) {
    if (typeof step === 'number') continue;
    const key: Key | undefined = keys?.get(step);
    if (key?.role === 'id' || key?.role === 'userId') return true;
    keys = key?.nested;
  }
  return false;
};
const roles = rolesOf(runwireEvents, () => ({ words: 0, secret: 0 }));

describe('the canary', () => {
  test('[S13] identifiers in every field of every type reach no log, file, metric, socket, answer or error text', async () => {
    using folder = temporaryFolder();
    const { logger, lines } = keptLog();
    const answers: string[] = [];
    let wireTexts: string[] = [];
    let passed = 0;
    {
      await using server = await startServer({
        databaseUrl: `file:${folder.path}/runwire.db`,
        logger,
        limits: { publishedPerSecond: 1_000_000 },
      });
      await using wire = await Wire.open(server.url);
      wire.subscribe('onEvent', { from: 'start' });
      const headers = { authorization: `Bearer ${await tokenFor()}`, 'content-type': 'application/json' };
      const post = async (events: unknown[], onPhi: string) => {
        const body = JSON.stringify(events);
        const response = await fetch(`${server.url}/api/v1/events?onPhi=${onPhi}`, { method: 'POST', headers, body });
        answers.push(await response.text());
        if (response.status === 200) passed++;
        else expect(response.status).toBe(422);
      };
      for (const type of Object.keys(runwireEvents) as RunEventType[]) {
        const draft = { type, ...ids, ...drafts[type] };
        for (const [text] of planted) {
          const events = pathsOf(draft)
            .filter((path) => !(text.includes('@') && isUserId(type, String(path[0]))))
            .map((path) => withText(draft, path, text));
          if ('labels' in draft) events.push({ ...draft, labels: { [text]: 'v' } });
          for (const [index, event] of events.entries()) {
            const own = `${type}-${index}-${text.length}`;
            const eventId = (event as typeof ids).eventId === 'e1' ? { eventId: own } : {};
            const approvalId = (event as { approvalId?: string }).approvalId === 'p' ? { approvalId: own } : {};
            await post([{ ...(event as object), ...eventId, ...approvalId }], index % 2 === 0 ? 'redact' : 'reject');
          }
          await post(events, 'reject');
        }
      }
      // A reader may request an id that the guard would refuse in a draft.
      for (const [text] of planted) {
        for (const [path, input] of [
          ['run.get', { runId: text.replaceAll(' ', '') }],
          ['run.history', { runId: 'r1', projectId: text.replaceAll(' ', '') }],
          ['event.search', { text, actor: text }],
          ['audit.access', { sub: text, action: text }],
        ] as const) {
          answers.push(JSON.stringify(await wire.call('query', path, input)));
        }
      }
      await post([created('last')], 'reject');
      await wire.until(() => wire.texts.some((line) => line.includes('"runId":"last"')));
      answers.push(await (await fetch(`${server.url}/metrics`)).text());
      answers.push(JSON.stringify(server.getStats()));
      wireTexts = [...wire.texts];
    }
    expect(passed).toBeGreaterThan(50);
    const files = readdirSync(folder.path).map((name) => readFileSync(join(folder.path, name), 'latin1'));
    const everything = [...answers, ...wireTexts, ...lines, ...files].join('\n');
    expect(everything).toContain('[SSN]');
    expect(planted.filter(([, needle]) => everything.includes(needle))).toEqual([]);
  });
});

/** Parts of these texts must appear nowhere. The texts are put together: scanners of repositories read this file too. */
const plantedSecrets = [
  ['password=hunter2canary', 'hunter2canary'],
  [`gh${'p_'}a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8`, 'a1B2c3D4e5F6'],
  ['https://app:s3cr3tcanary@db.internal/x', 's3cr3tcanary'],
  ['Authorization:Bearer abcdEFGH1234canary', 'abcdEFGH1234canary'],
  [`AK${'IA'}IOSFODNN7CANARYX`, 'IOSFODNN7CANARYX'],
] as const;

describe('secrets', () => {
  test.each(['reject', 'redact', 'off'] as const)(
    '[S13] [S18] secrets in every text of every type reach no log, file, answer or socket, and refuse no draft: %s',
    async (phiPolicy) => {
      using folder = temporaryFolder();
      const { logger, lines } = keptLog();
      const answers: string[] = [];
      {
        const databaseUrl = `file:${folder.path}/runwire.db`;
        const limits = { publishedPerSecond: 1_000_000 };
        await using server = await startServer({ databaseUrl, logger, phiPolicy, limits });
        const headers = { authorization: `Bearer ${await tokenFor()}`, 'content-type': 'application/json' };
        const post = async (events: unknown[]) => {
          const init = { method: 'POST', headers, body: JSON.stringify(events) };
          const response = await fetch(`${server.url}/api/v1/events`, init);
          answers.push(await response.text());
          return response.status;
        };
        for (const type of Object.keys(runwireEvents) as RunEventType[]) {
          const draft = { type, ...ids, ...drafts[type] };
          const texts = pathsOf(draft).filter((path) => !isReferred(type, path));
          for (const [index, [text]] of plantedSecrets.entries()) {
            const events = texts.map((path, at) => ({
              ...(withText(draft, path, text) as object),
              runId: `${type}-${index}-${at}`,
              eventId: `${type}-${index}-${at}`,
            }));
            if ('labels' in draft)
              events.push({ ...draft, labels: { apiKey: 'k3ycanary99' }, runId: `k-${index}` } as never);
            if (events.length > 0) expect([type, text, await post(events)]).toEqual([type, text, 200]);
          }
        }
      }
      const files = readdirSync(folder.path).map((name) => readFileSync(join(folder.path, name), 'latin1'));
      const everything = [...answers, ...lines, ...files].join('\n');
      expect(everything).toContain('[SECRET]');
      expect(plantedSecrets.filter(([, needle]) => everything.includes(needle))).toEqual([]);
      expect(everything).not.toContain('k3ycanary99');
    },
  );
});

describe('on the server', () => {
  const mrn = { ...created('r1'), name: 'Report for MRN 77188312' };

  test('[S2] the guard is on by default, under the policy of the server or of the request', async () => {
    await using strict = await openServer();
    const refusal = { code: 'PHI_REJECTED', path: 'events.0.name', issues: [{ index: 0, path: 'name' }] };
    await expect(strict.bus.publish([mrn], { actor: 'ada' })).rejects.toMatchObject(refusal);
    await strict.bus.publish([mrn], { actor: 'ada', onPhi: 'redact' });
    await using lenient = await openServer({ phiPolicy: 'redact' });
    await lenient.bus.publish([mrn], { actor: 'ada' });
    await expect(lenient.bus.publish([mrn], { actor: 'ada', onPhi: 'reject' })).rejects.toMatchObject(refusal);
    for (const server of [strict, lenient]) {
      const caller = server.router.createCaller({ principal: everyone });
      const { items } = await take(await caller.onEvent({ from: 'start' }), (item) => !isSignal(item));
      expect(items).toMatchObject([{ name: 'Report for MRN [MRN]' }]);
    }
  });

  test('[S19] PHI_POLICY off checks for no identifier, whatever policy a request names, and the server reports it', async () => {
    const { logger, lines } = keptLog();
    await using server = await openServer({ phiPolicy: 'off', logger });
    expect(lines.join()).toContain('PHI_POLICY is off');
    expect(server.getStats().phiPolicy).toBe('off');
    for (const onPhi of [undefined, 'reject', 'redact'] as const) {
      const named = { ...created(`run-${onPhi}`), name: 'Report for MRN 77188312, password=hunter2' };
      await server.bus.publish([named], { actor: 'ada', onPhi });
    }
    await server.bus.publish([created('219-09-9999')], { actor: 'ada', onPhi: 'reject' });
    const caller = server.router.createCaller({ principal: everyone });
    const { items } = await take(await caller.onEvent({ from: 'start' }), (item) => !isSignal(item));
    expect(items).toMatchObject([{ name: 'Report for MRN 77188312, password=[SECRET]' }]);
    await using usual = await openServer({ logger: keptLog().logger });
    expect(usual.getStats().phiPolicy).toBe('reject');
  });

  test('[S9] [S10] the server passes its `phi` options to the guard', async () => {
    const phi = { allow: ['run.created:name'], patterns: [{ kind: 'subject', shape: 'ST-####' }] };
    await using server = await openServer({ phi });
    await server.bus.publish([mrn], { actor: 'ada' });
    const own = { ...created('r2'), labels: { of: 'ST-1234' } };
    await expect(server.bus.publish([own], { actor: 'ada' })).rejects.toMatchObject({ path: 'events.0.labels.of' });
  });
});

describe.skipIf(!hasSamples)('devset samples for the guard', () => {
  test('[S3] [S4] devset: identifiers with a shape or a keyword are found, and pipeline logs are not changed', () => {
    const sets = readSamples();
    const { recall, alarms } = measure(new Map([['pos_asq_phi', sets.get('pos_asq_phi') ?? []]]));
    const rateOf = (kind: string) => (recall.get(kind)?.hits ?? 0) / (recall.get(kind)?.of ?? 1);
    for (const kind of ['SSN', 'PHONE', 'FAX']) expect([kind, rateOf(kind)]).toEqual([kind, 1]);
    // One "e-mail" of the set is the word itself.
    for (const kind of ['EMAIL', 'MRN', 'HEALTH_PLAN']) expect(rateOf(kind)).toBeGreaterThan(0.93);
    expect(rateOf('DATE')).toBeGreaterThanOrEqual(0.95);
    expect(alarms.size).toBe(0);
    const negative = measure(new Map([...sets].filter(([name]) => /^neg_(?:ops|k8s|stack|asq)/.test(name))));
    for (const [name, { hits }] of negative.alarms) expect([name, hits]).toEqual([name, 0]);
  });
});
