import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Memo } from '../../server/producers/openlineage/run-tree.ts';
import {
  at,
  counted,
  lineageServer,
  looks,
  type Message,
  message,
  output,
  parentOf,
  permutations,
  shuffled,
} from './openlineage.ts';

describe('mapping', () => {
  test('[P1] a run without a parent is a run, its descendants are stages, and its outputs are artifacts', async () => {
    await using server = await lineageServer();
    await server.sendAll([
      message('START', 'root', 0),
      message('START', 'a', 1, { facets: parentOf('root', 'root') }),
      message('START', 'a.sql', 2, { facets: parentOf('a', 'root') }),
      message('RUNNING', 'a.sql', 3, { facets: parentOf('a', 'root') }),
      message('COMPLETE', 'a.sql', 4, { facets: parentOf('a', 'root'), outputs: [output('/tmp/a')] }),
      message('COMPLETE', 'a', 5, { facets: parentOf('root', 'root'), outputs: [output('/tmp/a'), output('/tmp/b')] }),
      message('START', 'b', 6, { facets: parentOf('root', 'root'), outputs: [output('/tmp/never')] }),
      message('FAIL', 'b', 7, { facets: { ...parentOf('root', 'root'), errorMessage: { message: 'no room' } } }),
      message('FAIL', 'root', 8, { facets: { errorMessage: { message: 'b failed' } } }),
    ]);
    const [run, ...others] = await server.views();
    expect(others).toEqual([]);
    expect(run).toMatchObject({
      projectId: 'etl',
      runId: 'root',
      name: 'job-root',
      status: 'failed',
      labels: { namespace: 'etl' },
      createdAt: at(0),
      startedAt: at(0),
      endedAt: at(8),
      error: { message: 'b failed' },
      counts: { stages: 3, stagesCompleted: 2, stagesFailed: 1, artifacts: 2 },
    });
    expect(run?.stages).toMatchObject([
      { stageId: 'a', name: 'job-a', status: 'completed', startedAt: at(1), endedAt: at(5) },
      { stageId: 'a.sql', name: 'job-a.sql', status: 'completed' },
      { stageId: 'b', name: 'job-b', status: 'failed', error: { message: 'no room' } },
    ]);
    expect(run?.artifacts).toMatchObject([
      { artifactId: 'file /tmp/a', name: '/tmp/a', stageId: 'a' },
      { artifactId: 'file /tmp/b', name: '/tmp/b', stageId: 'a' },
    ]);
  });

  test('[P1] ABORT is a failure with the code CANCELLED', async () => {
    await using server = await lineageServer();
    await server.sendAll([
      message('START', 'root', 0),
      message('START', 'a', 1, { facets: parentOf('root') }),
      message('ABORT', 'root', 2, { eventTime: '2026-01-01T12:00:02.123456789' }),
    ]);
    expect(await server.views()).toMatchObject([
      {
        status: 'failed',
        endedAt: '2026-01-01T12:00:02.123Z',
        error: { message: 'aborted', code: 'CANCELLED' },
        stages: [{ status: 'running' }],
      },
    ]);
  });

  test('[P1] job and dataset events, OTHER, and RUNNING of a known run are accepted and store nothing', async () => {
    await using server = await lineageServer();
    const common = { eventTime: at(0), producer: 'https://example.org' };
    const spec = 'https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/';
    const { eventType: _none, ...untyped } = message('START', 'r', 0);
    await server.sendAll([
      { ...common, schemaURL: `${spec}DatasetEvent`, dataset: { namespace: 'a', name: 'b' } },
      { ...common, schemaURL: `${spec}JobEvent`, job: { namespace: 'a', name: 'b' } },
      message('OTHER', 'r', 0),
      untyped,
    ]);
    expect(server.log.head).toBe(0);
    await server.sendAll([message('START', 'r', 0)]);
    const { head } = server.log;
    await server.sendAll([message('RUNNING', 'r', 1)]);
    expect(server.log.head).toBe(head);
  });

  test('[P1] each RUNNING starts a run that has sent no START', async () => {
    await using server = await lineageServer();
    await server.sendAll([message('RUNNING', 'r', 5), message('RUNNING', 'r', 9)]);
    expect(await server.views()).toMatchObject([{ status: 'running', name: 'job-r', startedAt: at(5) }]);
    expect(counted(await server.records())).toEqual({ 'run.created': 1, 'run.started': 2 });
    await server.sendAll([message('START', 'r', 1), message('RUNNING', 'r', 11), message('COMPLETE', 'r', 12)]);
    expect(counted(await server.records())).toMatchObject({ 'run.started': 3, 'run.completed': 1 });
    expect(await server.views()).toMatchObject([{ status: 'completed', startedAt: at(1) }]);
  });

  test("[P1] the error of a failed run is in errorMessage, or in a producer's own error facet", async () => {
    await using server = await lineageServer();
    const exception = { message: 'Job aborted: password=hunter2', stackTrace: 'at org.apache' };
    await server.sendAll([
      message('FAIL', 'a', 0, { facets: { 'spark.exception': exception } }),
      message('FAIL', 'b', 0, { facets: { 'spark.exception': exception, errorMessage: { message: 'no room' } } }),
      message('FAIL', 'c', 0, { facets: { myErrors: { message: 5 }, spark_unknown: { message: 'SELECT' } } }),
    ]);
    const errors = (await server.views()).map(({ error }) => error?.message);
    expect(errors).toEqual(['Job aborted: password=***', 'no room', 'failed']);
  });

  test('[P1] a time may have a zone, a zone name, or none for UTC, and nine decimal places', async () => {
    await using server = await lineageServer();
    const times = {
      a: ['2026-01-01T22:00:00.000+10:00', '2026-01-01T12:00:00.000Z'],
      b: ['2026-01-01T12:00:00.123456789Z', '2026-01-01T12:00:00.123Z'],
      c: ['2026-01-01T12:00:00.5', '2026-01-01T12:00:00.500Z'],
      d: ['2026-01-01T12:00:00', '2026-01-01T12:00:00.000Z'],
      e: ['2026-01-01T12:00:00.000Z[Europe/London]', '2026-01-01T12:00:00.000Z'],
      f: ['2026-01-01T13:00:00+01:00[Europe/Paris]', '2026-01-01T12:00:00.000Z'],
      g: ['2026-01-01T12:00:00.000+00:00Z', '2026-01-01T12:00:00.000Z'],
    };
    for (const [runId, [eventTime]] of Object.entries(times)) {
      await server.sendAll([message('START', runId, 0, { eventTime })]);
    }
    const starts = (await server.views()).map(({ runId, startedAt }) => [runId, startedAt]);
    expect(starts).toEqual(Object.entries(times).map(([runId, [, stored]]) => [runId, stored]));
  });
});

describe('order and repetition', () => {
  const step = { facets: parentOf('root') };
  const sequences: Record<string, Message[]> = {
    'a parent that never reports': [
      message('START', 'a', 1, step),
      message('START', 'b', 2, step),
      message('COMPLETE', 'a', 3, step),
      message('FAIL', 'b', 4, step),
    ],
    'times that go backwards': [
      message('START', 'root', 5),
      message('START', 'a', 1, step),
      message('COMPLETE', 'a', 2, step),
      message('COMPLETE', 'root', 3),
    ],
    'a start that is repeated': [
      message('START', 'root', 0),
      message('START', 'a', 1, step),
      message('START', 'a', 5, step),
      message('COMPLETE', 'a', 7, step),
    ],
    'an end without a start': [
      message('START', 'root', 0),
      message('COMPLETE', 'a', 2, step),
      message('COMPLETE', 'alone', 2, { outputs: [output('x')] }),
      message('COMPLETE', 'root', 3),
    ],
    'names that change': [
      message('START', 'root', 0),
      message('START', 'a', 1, { ...step, job: { namespace: 'etl', name: 'a.unknown' } }),
      message('RUNNING', 'a', 2, { ...step, job: { namespace: 'etl', name: 'a.insert' } }),
      message('COMPLETE', 'a', 3, { ...step, job: { namespace: 'etl', name: 'a.unknown' } }),
    ],
    'outputs that are named before the end': [
      message('START', 'root', 0),
      message('START', 'a', 1, { ...step, outputs: [output('x'), output('y')] }),
      message('RUNNING', 'a', 2, { ...step, outputs: [output('z')] }),
      message('COMPLETE', 'a', 3, { ...step, outputs: [output('x')] }),
    ],
    'two ends': [
      message('START', 'root', 0),
      message('COMPLETE', 'root', 2),
      message('FAIL', 'root', 3),
      message('ABORT', 'root', 4),
    ],
  };

  test.each(Object.entries(sequences))(
    '[P2] %s gives the same runs in each order, and with six copies',
    async (_, sent) => {
      await using server = await lineageServer();
      await server.sendAll(sent, { projects: ['in-order'] });
      const expected = looks(await server.views('in-order'));
      for (const [index, order] of permutations(sent).entries()) {
        const projects = [`order-${index}`];
        await server.sendAll(
          order.flatMap((message) => [message, message]),
          { projects },
        );
        expect(looks(await server.views(projects[0])), `order ${index}`).toEqual(expected);
      }
      const six = sent.flatMap((message) => Array.from({ length: 6 }, () => message));
      await server.sendAll(shuffled(six, 7), { projects: ['six'] });
      expect(looks(await server.views('six'))).toEqual(expected);
    },
  );

  test('[P2] a stage with only an end has its name, and earlier outputs become artifacts at the end', async () => {
    await using server = await lineageServer();
    await server.sendAll(sequences['an end without a start'] as Message[]);
    await server.sendAll(sequences['outputs that are named before the end'] as Message[], { projects: ['second'] });
    expect(await server.views('etl')).toMatchObject([
      { runId: 'alone', name: 'job-alone', status: 'completed', counts: { artifacts: 1 } },
      { runId: 'root', stages: [{ stageId: 'a', name: 'job-a', status: 'completed' }] },
    ]);
    const [run] = await server.views('second');
    expect(run?.artifacts.map(({ name, createdAt }) => [name, createdAt])).toEqual([
      ['x', at(3)],
      ['y', at(3)],
      ['z', at(3)],
    ]);
  });

  test('[P2] messages with the same content are copies, whatever the order of their keys', async () => {
    await using server = await lineageServer();
    const first = message('START', 'r', 0);
    const again = Object.fromEntries(Object.entries(first).reverse());
    expect((await server.send(first)).body).toEqual({ accepted: 2, duplicates: 0 });
    expect((await server.send(again)).body).toEqual({ accepted: 0, duplicates: 2 });
    const copies = await Promise.all(Array.from({ length: 6 }, () => server.send(message('COMPLETE', 'r', 1))));
    expect(copies.map(({ body }) => body.accepted).sort()).toEqual([0, 0, 0, 0, 0, 1]);
  });
});

describe('run tree', () => {
  test('[P7] the root facet decides; without it, the chain of parents leads to one run', async () => {
    await using server = await lineageServer();
    await server.sendAll([
      message('START', 'dag', 0),
      message('START', 'task', 1, { facets: parentOf('dag') }),
      message('START', 'app', 2, { facets: parentOf('task') }),
      message('START', 'sql', 3, { facets: parentOf('app') }),
      message('COMPLETE', 'sql', 4), // Facets need not be repeated.
      message('COMPLETE', 'app', 5, { facets: parentOf('task') }),
      message('COMPLETE', 'task', 6, { facets: parentOf('dag') }),
      message('COMPLETE', 'dag', 7),
    ]);
    expect(await server.views()).toMatchObject([
      { runId: 'dag', status: 'completed', counts: { stages: 3, stagesCompleted: 3 } },
    ]);
  });

  test('[P7] a child that arrives before its parent leaves no run open', async () => {
    await using server = await lineageServer();
    await server.sendAll([
      message('START', 'sql', 3, { facets: parentOf('app') }),
      message('START', 'app', 2, { facets: parentOf('dag') }),
      message('START', 'dag', 0),
      message('COMPLETE', 'sql', 4, { facets: parentOf('app') }),
      message('COMPLETE', 'app', 5, { facets: parentOf('dag') }),
      message('COMPLETE', 'dag', 6),
    ]);
    expect(await server.views()).toMatchObject([
      { runId: 'app', parentRunId: 'dag', status: 'completed', stages: [{ stageId: 'sql', status: 'completed' }] },
      { runId: 'dag', status: 'completed', stages: [{ stageId: 'app', status: 'completed' }] },
    ]);
  });

  test('[P7] cycles of parents, and a run that is its own parent, terminate', async () => {
    await using server = await lineageServer();
    await server.sendAll([
      message('START', 'a', 0, { facets: parentOf('b') }),
      message('START', 'b', 0, { facets: parentOf('a') }),
      message('START', 'self', 0, { facets: parentOf('self', 'self') }),
      message('COMPLETE', 'a', 1, { facets: parentOf('b') }),
      message('COMPLETE', 'b', 1, { facets: parentOf('a') }),
      message('COMPLETE', 'self', 1, { facets: parentOf('self', 'self') }),
    ]);
    expect(await server.views()).toMatchObject([
      { runId: 'b', status: 'completed', stages: [{ stageId: 'a', status: 'completed' }] },
      { runId: 'self', status: 'completed', stages: [] },
    ]);
  });

  test('[P7] messages of one token do not move the runs of a token with other projects', async () => {
    await using server = await lineageServer();
    const evil = message('START', 'app', 0, { facets: parentOf('lair', undefined, 'evil') });
    await server.sendAll([evil], { projects: ['evil', 'other'] });
    await server.sendAll([message('START', 'sql', 1, { facets: parentOf('app') })], { projects: ['etl', 'evil'] });
    expect(await server.views('etl')).toMatchObject([{ runId: 'app', stages: [{ stageId: 'sql' }] }]);
  });

  test('[P10] the place, the name and the outputs of a run outlive a restart, and no other run displaces them', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'runwire-lineage-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const databaseUrl = `file:${join(folder, 'log.db')}`;
    const restarted = async (sent: readonly Message[]) => {
      await using server = await lineageServer({ databaseUrl });
      await server.sendAll(sent);
      return { views: await server.views(), counts: counted(await server.records()) };
    };
    await restarted([
      message('START', 'task', 1, { facets: parentOf('dag'), outputs: [output('/early')] }),
      message('START', 'app', 2, { facets: parentOf('task') }),
    ]);
    const many = Array.from({ length: 900 }, (_, i) => message('START', `other${i}`, 0));
    await using server = await lineageServer({ databaseUrl });
    const path = '/api/v1/lineage/batch';
    expect((await server.send(many, { path, projects: ['*'] })).status).toBe(204);
    await server[Symbol.asyncDispose]();
    await restarted([message('START', 'sql', 3, { facets: parentOf('app') })]);
    const { views } = await restarted([
      message('COMPLETE', 'sql', 4),
      message('COMPLETE', 'app', 5),
      message('COMPLETE', 'task', 6, { outputs: [output('/late')] }),
      message('COMPLETE', 'dag', 7),
    ]);
    const run = views.find(({ runId }) => runId === 'dag');
    expect(views).toHaveLength(901);
    expect(run).toMatchObject({ status: 'completed', counts: { stages: 3, stagesCompleted: 3, artifacts: 2 } });
    expect(run?.stages.map(({ name }) => name)).toEqual(['job-task', 'job-app', 'job-sql']);
    const again = await restarted([message('COMPLETE', 'dag', 8)]);
    expect(again.counts).toMatchObject({ 'run.created': 901, 'stage.started': 3 });
  });

  test('[P10] what the guard redacts in an output is not in the store before COMPLETE', async () => {
    await using server = await lineageServer();
    await server.sendAll([
      message('START', 'r', 0, {
        job: { namespace: 'etl', name: 'load for jane.roe@example.org' },
        outputs: [output('/tmp/jane.roe@example.org')],
      }),
    ]);
    const scope = `openlineage ${createHash('sha256').update('["*"]').digest('hex')}`;
    const memo = (await server.log.producerState.read(scope, ['r'])).get('r') as string;
    const { keys } = (JSON.parse(memo) as Memo).outputs as { keys: string[] };
    const [outputs] = (await server.log.producerState.read(scope, keys)).values();
    expect(outputs).toContain('/tmp/');
    expect(memo + outputs).not.toContain('jane.roe');
  });

  test("[P6] the project is the root's namespace, or the token's only one; any other is FORBIDDEN", async () => {
    await using server = await lineageServer();
    const below = message('START', 'a', 0, { facets: parentOf('root', 'root', 'dags') });
    expect(await server.send(below, { projects: ['etl', 'other'] })).toMatchObject({
      status: 403,
      body: { error: { code: 'FORBIDDEN', path: 'job.namespace' } },
    });
    expect(server.log.head).toBe(0);
    await server.sendAll([below], { projects: ['dags', 'other'] });
    await server.sendAll([below], { projects: ['mine'] });
    expect((await server.views()).map(({ projectId }) => projectId).sort()).toEqual(['dags', 'mine']);
  });
});
