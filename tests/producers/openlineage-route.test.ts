import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { type LineageEvent, readLineage } from '../../server/producers/openlineage/map.ts';
import { tokenFor } from '../support/harness.ts';
import { at, lineageServer, type Message, message, newTree, output, parentOf } from './openlineage.ts';

describe('answers', () => {
  test('[P3] an invalid message is 400 with the path, and without a value', async () => {
    await using server = await lineageServer();
    const good = message('START', 'r', 0);
    const cases: [string, unknown][] = [
      ['', 'CANARY {'],
      ['', ''],
      ['', JSON.stringify(good).slice(0, -9)],
      ['', '"CANARY"'],
      ['', 'null'],
      ['', '[]'],
      ['eventTime', {}],
      ['eventTime', { ...good, eventTime: 'CANARY' }],
      ['eventTime', { ...good, eventTime: 1_767_268_800_000 }],
      ['eventTime', { ...good, eventTime: '2026-02-30T12:00:00Z' }],
      ['eventType', { ...good, eventType: 'CANARY' }],
      ['eventType', { ...good, eventType: 5 }],
      ['run', { ...good, run: undefined }],
      ['run.runId', { ...good, run: {} }],
      ['run.runId', { ...good, run: { runId: '' } }],
      ['run.runId', { ...good, run: { runId: { CANARY: 'CANARY' } } }],
      ['run.facets', { ...good, run: { runId: 'r', facets: 'CANARY' } }],
      ['run.facets.parent.run', { ...good, run: { runId: 'r', facets: { parent: { CANARY: 1 } } } }],
      ['job', { ...good, job: 'CANARY' }],
      ['job.namespace', { ...good, job: { name: 'CANARY' } }],
      ['job.name', { ...good, job: { namespace: 'CANARY' } }],
      ['outputs', { ...good, outputs: 'CANARY' }],
      ['outputs.0.name', { ...good, outputs: [{ namespace: 'CANARY' }] }],
    ];
    for (const [path, body] of cases) {
      const answer = await server.send(body);
      expect([answer.status, answer.body?.error.code, answer.body?.error.path ?? ''], answer.text).toEqual([
        400,
        'INVALID_INPUT',
        path,
      ]);
      expect(answer.text).not.toContain('CANARY');
    }
    expect(server.lines.join('')).not.toContain('CANARY');
    expect(server.log.head).toBe(0);
  });

  test('[P3] unused facets may have any form, and an unusable error message is ignored', async () => {
    await using server = await lineageServer();
    await server.sendAll([
      message('START', 'r', 0, {
        facets: { nominalTime: 5, parent: null, spark_unknown: [[[]]], errorMessage: 'x' },
        inputs: 'anything',
        more: { deep: true },
      }),
      message('FAIL', 'r', 1, { facets: { errorMessage: { message: 5 } } }),
      { ...message('START', 's', 0), producer: null, schemaURL: null, inputs: null, outputs: null },
      { eventTime: at(0), run: null, job: null, dataset: { namespace: 'a', name: 'b' }, schemaURL: null },
    ]);
    expect(await server.views()).toMatchObject([
      { runId: 'r', status: 'failed', error: { message: 'failed' } },
      { runId: 's', status: 'running' },
    ]);
  });

  test('[P3] NaN and Infinity are null: without effect in unused fields, and an error of their event in used ones', async () => {
    await using server = await lineageServer();
    const text = (body: object) =>
      JSON.stringify(body).replaceAll('"<NaN>"', 'NaN').replaceAll('"<-Inf>"', '-Infinity');
    const unused = { ...message('START', 'a "NaN" \\', 0), more: ['<NaN>', '<-Inf>', { deep: '<NaN>' }] };
    const used = { ...message('START', 'b', 0), eventTime: '<NaN>' };
    expect((await server.send(text(unused))).status).toBe(200);
    const answer = await server.send(text([used, { ...unused, eventTime: at(1) }]), { path: '/api/v1/lineage/batch' });
    expect(answer.body?.failed_events).toMatchObject([{ index: 0, reason: expect.stringContaining('eventTime') }]);
    expect((await server.views()).map(({ runId }) => runId)).toEqual(['a%20"NaN"%20\\']);
  });

  test('[P3] a missing token is 401, a token without permission 403, another method 404', async () => {
    await using server = await lineageServer();
    const good = message('START', 'r', 0);
    for (const path of ['/api/v1/lineage', '/api/v1/lineage/batch']) {
      expect((await server.send(good, { path, token: null })).status).toBe(401);
      expect((await server.send(good, { path, token: 'forged' })).status).toBe(401);
      expect((await server.send(good, { path, roles: ['viewer', 'approver'] })).status).toBe(403);
      expect((await server.send(good, { path, headers: { origin: 'https://evil.example' } })).status).toBe(403);
      for (const method of ['GET', 'PUT', 'DELETE', 'PATCH']) {
        expect((await server.send(good, { path, method })).status, method).toBe(404);
      }
    }
    expect(server.log.head).toBe(0);
  });

  test('[P3] only an unavailable log is 5xx, and then names are announced again later', async () => {
    await using server = await lineageServer();
    await server.log.close();
    const good = message('START', 'r', 0);
    expect(await server.send(good)).toMatchObject({ status: 503, body: { error: { code: 'UNAVAILABLE' } } });
    expect((await server.send([good, {}], { path: '/api/v1/lineage/batch' })).status).toBe(503);
    const tree = newTree();
    const place = async (sent: Message) => tree.place((await readLineage(sent)) as LineageEvent, ['*'])[0];
    for (const [runId, more] of [
      ['r', {}],
      ['stage', { facets: parentOf('s') }],
    ] as const) {
      const start = message('START', runId, 0, more);
      const end = message('COMPLETE', runId, 1, more);
      const isStage = runId === 'stage';
      await place(start);
      expect(await place(end)).toMatchObject({ namesRun: false, namesStage: false });
      tree.forget((await readLineage(start)) as LineageEvent);
      expect(await place(end)).toMatchObject({ namesRun: true, namesStage: isStage });
    }
  });

  test('[P4] a batch of more than 10,000 events, or an event with more outputs, is refused before it is mapped', async () => {
    await using server = await lineageServer();
    const path = '/api/v1/lineage/batch';
    expect((await server.send(Array(10_001).fill(0), { path })).status).toBe(413);
    const outputs = Array(10_001).fill({ namespace: 'n', name: 'd' });
    expect((await server.send({ ...message('START', 'r', 0), outputs })).status).toBe(400);
  });

  test('[P4] a batch is 204 when all events are stored; otherwise the answer lists the failed ones, and the rest is stored', async () => {
    await using server = await lineageServer();
    const path = '/api/v1/lineage/batch';
    const many = Array.from({ length: 250 }, (_, i) => message('START', `r${i}`, 0));
    const projects = ['etl', 'other'];
    expect(await server.send(many, { path, projects })).toMatchObject({ status: 204, text: '' });
    expect((await server.send([], { path })).status).toBe(204);
    const foreign = message('START', 'r', 0, { job: { namespace: 'CANARY', name: 'x' } });
    const mixed = [message('COMPLETE', 'r0', 1), 'CANARY', foreign, message('OTHER', 'r', 0), { eventTime: 'CANARY' }];
    const answer = await server.send(mixed, { path, projects });
    expect(answer).toMatchObject({
      status: 200,
      body: {
        status: 'partial_success',
        summary: { received: 5, successful: 2, failed: 3, retriable: 0, non_retriable: 3 },
        failed_events: [
          { index: 1, retriable: false },
          { index: 2, retriable: false, reason: 'job.namespace: not allowed: publish to this project' },
          { index: 4, retriable: false, reason: 'eventTime: must be an ISO 8601 instant' },
        ],
      },
    });
    expect(answer.text).not.toContain('CANARY');
    const views = await server.views();
    expect(views.length).toBe(250);
    expect(views.find(({ runId }) => runId === 'r0')?.status).toBe('completed');
    const late = [...many, 'CANARY'];
    expect((await server.send(late, { path })).body.failed_events).toMatchObject([{ index: 250 }]);
    expect(await server.send(['x'], { path })).toMatchObject({ status: 200, body: { status: 'failure' } });
    for (const body of [{}, '"x"', 'null', 'nothing']) expect((await server.send(body, { path })).status).toBe(400);
  });

  test('[P11] a message counts as two events and one for each output, and 503 follows beyond the rate limit', async () => {
    await using server = await lineageServer({ limits: { publishedPerSecond: 10 } });
    // 92 of the 100 events of a burst: the next 92 are allowed after eight seconds.
    const outputs = Array.from({ length: 90 }, (_, i) => output(`/data/${i}`));
    const path = '/api/v1/lineage/batch';
    await server.sendAll([message('COMPLETE', 'a', 0, { outputs })]);
    expect((await server.send(message('COMPLETE', 'b', 0, { outputs }))).status).toBe(503);
    expect((await server.send([message('COMPLETE', 'b', 0, { outputs }), 5], { path })).status).toBe(503);
    expect((await server.views()).map(({ runId }) => runId)).toEqual(['a']);
    await server.sendAll([message('START', 'c', 0)]);
  });

  test('[P4] a run with more than 1,000 outputs keeps them all', async () => {
    await using server = await lineageServer();
    const outputs = Array.from({ length: 2_500 }, (_, i) => output(`/data/${i}`));
    await server.sendAll([message('COMPLETE', 'r', 0, { outputs })]);
    expect(await server.views()).toMatchObject([{ status: 'completed', counts: { artifacts: 2_500 } }]);
  });
});

describe('bodies', () => {
  const gzip = { 'content-encoding': 'gzip' };

  test('[P5] a gzipped body is accepted; an invalid, truncated or differently compressed one is 400', async () => {
    await using server = await lineageServer();
    const body = gzipSync(JSON.stringify(message('START', 'r', 0)));
    expect((await server.send(body, { headers: gzip })).status).toBe(200);
    expect((await server.send(body)).status).toBe(400);
    expect((await server.send(body.subarray(0, -9), { headers: gzip })).status).toBe(400);
    expect((await server.send(body.subarray(0, 5), { headers: gzip })).status).toBe(400);
    expect((await server.send(message('START', 'r', 0), { headers: gzip })).status).toBe(400);
    for (const encoding of ['br', 'deflate', 'gzip, gzip', 'CANARY']) {
      const answer = await server.send(body, { headers: { 'content-encoding': encoding } });
      expect([answer.status, answer.text.includes('CANARY')]).toEqual([400, false]);
    }
  });

  test('[P5] more than 8 MiB, compressed or inflated, is 413, and a gzip bomb is not inflated whole', async () => {
    await using server = await lineageServer();
    const blank = ' '.repeat(8 * 1024 * 1024);
    expect((await server.send(`${blank}{}`)).status).toBe(413);
    expect((await server.send(gzipSync(`${blank}{}`), { headers: gzip })).status).toBe(413);
    const member = gzipSync(Buffer.alloc(16 * 1024 * 1024));
    const bomb = Buffer.concat(Array.from({ length: 64 }, () => member)); // 1 GiB of zeros in 1 MiB.
    const before = process.resourceUsage().maxRSS;
    expect((await server.send(bomb, { headers: gzip })).status).toBe(413);
    expect((process.resourceUsage().maxRSS - before) / 1024).toBeLessThan(300);
    const spaced = JSON.stringify(message('START', 'r', 0)).padEnd(8 * 1024 * 1024);
    expect((await server.send(gzipSync(spaced), { headers: gzip })).status).toBe(200);
  });

  test('[P5] a body with too many levels is 400 before it is parsed, and brackets in strings do not count', async () => {
    await using server = await lineageServer();
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    const refused = { status: 400, body: { error: { message: 'the body is not JSON, or nested too deeply' } } };
    expect(await server.send(`{"x":${deep}}`)).toMatchObject(refused);
    expect(await server.send(deep, { path: '/api/v1/lineage/batch' })).toMatchObject(refused);
    const nested = JSON.parse('['.repeat(400) + ']'.repeat(400));
    const text = `\\"${'[{'.repeat(1_000)}`;
    await server.sendAll([message('START', 'r', 0, { nested, text, job: { namespace: 'etl', name: text } })]);
  });

  test('[P5] a client that disconnects affects no other', async () => {
    await using server = await lineageServer();
    const socket = connect(server.port, '127.0.0.1');
    const token = await tokenFor();
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.write(
      `POST /api/v1/lineage HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token}\r\ncontent-length: 999\r\n\r\n{"eventType":`,
    );
    await server.sendAll([message('START', 'r', 0)]);
    socket.destroy();
    await closed;
    await server.sendAll([message('COMPLETE', 'r', 1)]);
    expect(await server.views()).toMatchObject([{ status: 'completed' }]);
  });
});
