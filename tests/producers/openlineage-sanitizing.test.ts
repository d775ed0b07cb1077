import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Walker } from '../../server/phi/guard.ts';
import { draftsOf, readLineage } from '../../server/producers/openlineage/map.ts';
import { errorTextOf } from '../../server/producers/sanitize.ts';
import { RunEventDraftSchema, runwireEvents } from '../../shared/events.ts';
import { temporaryFolder } from '../support/harness.ts';
import { at, lineageServer, message, newTree, output, parentOf } from './openlineage.ts';

describe('sanitizing', () => {
  test('[P8] only names, types, error lines and datasets are stored: no facet, password, query, SQL or stack trace', async () => {
    await using server = await lineageServer();
    const secret = 'hunter2';
    const facets = {
      ...parentOf('root', 'root'),
      'database.password': secret,
      environment: { 'database.password': secret, url: `postgres://user:${secret}@db/x` },
      errorMessage: {
        message: `could not reach postgres://user:${secret}@db:5432/x?key=${secret} with password=${secret}\nSELECT ${secret} FROM t`,
        programmingLanguage: 'python',
        stackTrace: `Traceback: ${secret}`,
      },
    };
    const job = {
      namespace: `postgres://user:${secret}@db:5432`,
      name: 'load',
      facets: { sql: { query: `select '${secret}' from t` } },
    };
    const outputs = [
      output('public.t', `postgres://user:${secret}@db:5432`),
      output('public.u', `postgres://user:a/${secret}@db`),
      output(`/t.csv?sig=${secret}`, 'https://storage.example'),
      output(`https://user:${secret}@storage.example/v.csv?sig=${secret}`),
      output(`select '${secret}' from t`),
      output(`db;password=${secret}`, 'mssql'),
      output('db', `jdbc:sqlserver://host;user=sa;password=${secret}`),
      output('db', `jdbc:oracle:thin:scott/${secret}@host:1521:sid`),
      { ...output('w'), facets: { dataSource: { uri: secret }, schema: { fields: [{ name: secret }] } } },
    ];
    const inputs = [output(secret)];
    await server.sendAll([
      message('START', 'a', 0, { facets, job, outputs, inputs }),
      message('RUNNING', 'a', 1, { facets, job, outputs, inputs }),
      message('COMPLETE', 'a', 2, { facets, job, outputs, inputs }),
      message('FAIL', 'b', 3, { facets, job, outputs, inputs }),
      message('FAIL', 'c', 3, { facets: { errorMessage: { message: `Traceback (most recent):\n  ${secret}` } } }),
      message('FAIL', 'd', 3, {
        job: { namespace: 'etl', name: `insert into ${secret} values (1)` },
        facets: { errorMessage: { message: `(E) bad column [SQL: SELECT ${secret}\nFROM t]` } },
      }),
      message('FAIL', 'e', 3, {
        facets: { errorMessage: { message: `no such column\nLINE 1: select ${secret}\n at ${secret}` } },
      }),
      message('COMPLETE', 'f', 3, { outputs, job }),
    ]);
    const kept = (await server.records()).join('\n');
    expect(kept).not.toContain(secret);
    expect(kept.toLowerCase()).not.toContain('select');
    expect(JSON.stringify(await server.views())).not.toContain(secret);
    expect(server.lines.join('')).not.toContain(secret);
    const views = await server.views();
    expect(views.find(({ runId }) => runId === 'root')).toMatchObject({
      stages: [{}, { error: { message: 'could not reach postgres://db:5432/x with password=***' } }],
    });
    expect(views.find(({ runId }) => runId === 'd')?.error).toEqual({ message: '(E) bad column' });
    expect(views.find(({ runId }) => runId === 'e')?.error).toEqual({ message: 'no such column' });
    const found = views.find(({ runId }) => runId === 'f')?.artifacts.map(({ name, uri }) => uri ?? name) ?? [];
    expect(found).toContain('postgres://db:5432/public.t');
    expect(found).toContain('https://storage.example/t.csv');
    expect(found.length).toBe(9);
  });

  test.each([
    'TRUNCATE TABLE staging.people; GRANT SELECT ON staging.people TO ann',
    'GRANT SELECT, INSERT ON staging.people TO ann',
    "CALL load_people('ann')",
    "COPY INTO people FROM '@stage/ann.csv'",
    "copy people (id, name) from 's3://bucket/ann.csv'",
    "REPLACE INTO people VALUES ('ann')",
    'select * x into people_copy',
    "UNLOAD ('ann') TO 's3://bucket/x'",
  ])('[P8] an error message ends before the statement %s', (statement) => {
    expect(errorTextOf(`Job failed: ${statement}`, 500)).toBe('Job failed:');
    expect(errorTextOf(`Job failed\n${statement}`, 500)).toBe('Job failed');
  });

  test.each([
    'failed to call open() on the pool',
    'cannot copy the folder of the job',
    'could not select a worker',
    'the executor was truncated; table 4 replaced',
  ])('[P8] an error message in prose is kept: %s', (text) => {
    expect(errorTextOf(text, 500)).toBe(text);
  });

  test('[P8] [S18] secrets in an error message are masked in the log', async () => {
    const secret = `gh${'p_'}a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8`;
    const text = errorTextOf(`push failed with ${secret}; AccountName=a;AccountKey=abC1+23/d4E5f6G7==`, 500);
    const guarded = new Walker(runwireEvents).guard({ type: 'run.failed', error: { message: text } }, 'redact');
    expect(guarded).toMatchObject({ error: { message: expect.stringContaining('push failed with [SECRET];') } });
    expect(JSON.stringify(guarded)).not.toMatch(/a1B2c3|abC1/);
  });

  test('[P8] the parts of a dataset identity are kept', async () => {
    await using server = await lineageServer();
    const uris = [
      'abfss://container@account.dfs.core.windows.net',
      's3://bucket',
      'kafka://a:9092,b:9092',
      'hive://[::1]:9083',
    ];
    await server.sendAll([message('COMPLETE', 'r', 0, { outputs: uris.map((uri) => output('path', uri)) })]);
    const [run] = await server.views();
    expect(run?.artifacts.map(({ uri }) => uri).sort()).toEqual(uris.map((uri) => `${uri}/path`).sort());
  });

  test('[S15] a name with an identifier gets an id without it, the same for the same name, also after a restart', async () => {
    using folder = temporaryFolder();
    const databaseUrl = `file:${folder.path}/runwire.db`;
    const table = (day: number) => [output('mail/jane.doe@example.org', 'file'), output(`day-${day}`, 'file')];
    const sent = [
      message('START', 'SSN 219-09-9999', 0, { job: { namespace: 'etl', name: 'jane.doe@example.org' } }),
      message('START', 'c', 1, {
        facets: parentOf('SSN 219-09-9999'),
        job: { namespace: 'etl', name: 'MRN 77188312' },
      }),
    ];
    const ends = [
      message('COMPLETE', 'c', 2, { facets: parentOf('SSN 219-09-9999'), outputs: table(1) }),
      message('COMPLETE', 'SSN 219-09-9999', 3, { outputs: table(2) }),
    ];
    const other = message('START', 'jane@example.org', 4, { job: { namespace: 'jane@example.org', name: 'n' } });
    {
      await using server = await lineageServer({ databaseUrl });
      await server.sendAll(sent);
    }
    await using server = await lineageServer({ databaseUrl });
    await server.sendAll([...ends, other]);
    const views = await server.views();
    const own = views.filter(({ projectId }) => projectId === 'etl');
    expect(own).toMatchObject([
      {
        runId: expect.stringMatching(/^run-[0-9a-f]{32}$/),
        name: 'job-SSN [SSN]',
        status: 'completed',
        stages: [{ stageId: 'c', status: 'completed' }],
        artifacts: [
          { name: 'day-1' },
          { artifactId: expect.stringMatching(/^dataset-[0-9a-f]{32}$/), name: 'mail/[EMAIL]' },
          { name: 'day-2' },
        ],
      },
    ]);
    expect(views.find((view) => !own.includes(view))?.projectId).toMatch(/^project-[0-9a-f]{32}$/);
    const everything = [...(await server.records()), ...server.lines].join('\n');
    expect(everything).not.toMatch(/jane|219-09-9999|77188312/);
    expect(everything).not.toContain(server.log.secret);
    // Another log has other ids, and neither id is a plain digest of the name.
    await using second = await lineageServer();
    await second.sendAll(sent);
    const [elsewhere] = await second.views();
    const bare = createHash('sha256').update('SSN 219-09-9999').digest('hex').slice(0, 32);
    expect(new Set([elsewhere?.runId, own[0]?.runId, `run-${bare}`]).size).toBe(3);
  });

  test('[S15] a failure or a job name with a medical record is published without it', async () => {
    await using server = await lineageServer();
    const record = 'PID|1||77188312^^^HOSP^MR||DOE^JANE';
    const job = { namespace: 'etl', name: record };
    const facets = { errorMessage: { message: `cannot parse ${record}`, programmingLanguage: 'java' } };
    await server.sendAll([
      message('START', 'r', 0, { job }),
      message('COMPLETE', 'c', 1, { facets: parentOf('r'), job, outputs: [output(record)] }),
      message('FAIL', 'r', 2, { job, facets }),
      message('FAIL', 's', 3, { facets: { ...parentOf('r'), ...facets } }),
    ]);
    const error = { message: 'failed (its output was withheld: it looks like a medical record)' };
    expect(await server.views()).toMatchObject([
      {
        status: 'failed',
        error,
        stages: [
          { stageId: 'c', name: '(withheld)', status: 'completed' },
          { stageId: 's', status: 'failed', error },
        ],
        artifacts: [{ name: '(withheld)' }],
      },
    ]);
    expect((await server.records()).join('\n')).not.toMatch(/DOE|77188312/);
  });

  test('[P9] ids from any text are valid and distinct, and text is cleaned and cut', async () => {
    const ids = [
      'a b',
      'a%20b',
      'a\u0000b',
      'ü',
      '%C3%BC',
      '\ud800',
      '\udfff',
      '%uD800',
      'x'.repeat(200),
      'x'.repeat(201),
      'x'.repeat(202),
      'ü'.repeat(80),
      `${'ü'.repeat(80)}x`,
      `${'x'.repeat(300)}\ud800`,
      `${'x'.repeat(300)}\ud801`,
      ' ',
      '.',
      '..',
      '*',
      '%2E',
      '%2E%2E',
      '%2A',
      '__proto__',
    ];
    await using server = await lineageServer();
    for (const id of ids) {
      const job = { namespace: id, name: `${'n\u0000\ud800\n'.repeat(500)}` };
      const outputs = [output(id, id), output(`${id} ${id}`, ''), output('', `${id} ${id}`)];
      await server.sendAll([
        message('START', id, 0, { job, facets: parentOf(id, `${id} root`, id) }),
        message('FAIL', id, 1, {
          job,
          facets: { ...parentOf(id, `${id} root`, id), errorMessage: { message: `${'\u0007m\udc00'.repeat(9_000)}` } },
        }),
        message('COMPLETE', id, 1, { job, outputs, run: { runId: id } }),
      ]);
    }
    const views = await server.views();
    const distinct = (values: string[]) => new Set(values).size;
    expect(distinct(views.map(({ projectId }) => projectId))).toBe(ids.length);
    expect(distinct(views.map(({ runId }) => runId))).toBe(views.length);
    expect(distinct(views.flatMap(({ stages }) => stages.map(({ stageId }) => stageId)))).toBe(ids.length);
    for (const { stages, artifacts } of views) {
      expect(stages[0]?.name.length).toBe(200);
      expect(artifacts.length).toBe(3);
    }
  });

  test('[P9] a random message is either refused with a path or gives valid drafts', async () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string(),
      fc.constantFrom('select a from b', 's3://u:p@h/x?y'),
    );
    const ref = fc.record({ run: fc.record({ runId: text }), job: fc.record({ namespace: text, name: text }) });
    const arbitrary = fc.record(
      {
        eventType: fc.constantFrom('START', 'RUNNING', 'COMPLETE', 'FAIL', 'ABORT'),
        eventTime: fc.constantFrom(at(0), at(1), '2026-01-01'),
        producer: fc.constant('p'),
        run: fc.record({
          runId: text,
          facets: fc.record({ parent: fc.option(fc.tuple(ref, fc.option(ref)).map(([p, root]) => ({ ...p, root }))) }),
        }),
        job: fc.record({ namespace: text, name: text }),
        outputs: fc.array(fc.record({ namespace: text, name: text })),
      },
      { requiredKeys: ['eventType', 'eventTime', 'producer', 'run', 'job'] },
    );
    const tree = newTree();
    await fc.assert(
      fc.asyncProperty(fc.oneof({ weight: 4, arbitrary }, { weight: 1, arbitrary: fc.jsonValue() }), async (body) => {
        let event: Awaited<ReturnType<typeof readLineage>>;
        try {
          event = await readLineage(body);
        } catch (error) {
          expect(error).toMatchObject({ code: 'INVALID_INPUT' });
          return;
        }
        if (!event) return;
        for (const place of tree.place(event, ['*'])) {
          for (const draft of draftsOf(event, place)) RunEventDraftSchema.parse(draft);
        }
      }),
      { seed: 5, numRuns: 2_000 },
    );
  });

  test('[P9] the cost of hostile text is linear in its length', async () => {
    await using server = await lineageServer();
    const slow = ['select ', 'token', 'a.', 'a:', 'with a as ', '=', ' ', 'jdbc:', '@', '\ud800'];
    let sent = 0;
    const cpuMs = async (length: number): Promise<number> => {
      const long = (piece: string) => piece.repeat(Math.ceil(length / piece.length));
      const outputs = slow.flatMap((piece) =>
        Array.from({ length: 20 }, (_, i) => output(`${long(piece)}${i}`, long(piece))),
      );
      const facets = { errorMessage: { message: slow.map(long).join('') } };
      const job = { namespace: 'etl', name: 'update '.repeat(12 * length) };
      const before = process.cpuUsage();
      const at = sent++;
      await server.sendAll([
        message('COMPLETE', `r${at}`, 0, { outputs, job }),
        message('FAIL', `s${at}`, 0, { facets }),
      ]);
      const { user, system } = process.cpuUsage(before);
      return (user + system) / 1_000;
    };
    await cpuMs(1_024);
    // A quadratic scan would take 64 times as long for eight times the text.
    const short = Math.min(await cpuMs(1_024), await cpuMs(1_024), await cpuMs(1_024));
    const long = Math.min(await cpuMs(8_192), await cpuMs(8_192), await cpuMs(8_192));
    expect(long / short).toBeLessThan(24);
  });
});
