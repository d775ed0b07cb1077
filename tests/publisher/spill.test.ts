import { appendFileSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { createPublisher, type PublisherDraft, type PublisherOptions } from '../../client/publisher/index.ts';
import { bundleScript } from '../support/bundle-script.ts';
import { startServer, temporaryFolder, tokenFor } from '../support/harness.ts';
import { freePort } from '../support/ports.ts';
import { judge, killPublishers, namesOf, startPublishing } from './kill.ts';
import type { ProcessOptions } from './process.ts';

/** The spill file of `runwire/publisher`: real files, real processes, a real server. */

let bundle: Awaited<ReturnType<typeof bundleScript>>;
beforeAll(async () => {
  bundle = await bundleScript('tests/publisher/process.ts');
});
afterAll(() => bundle[Symbol.dispose]());

const progress = (value: number, more: object = {}): PublisherDraft => ({
  type: 'stage.progress',
  runId: 'r1',
  stageId: 's1',
  progress: value,
  ...more,
});

/** A folder, a port without a server, and publishers with a spill file. */
async function setUp() {
  const folder = temporaryFolder();
  onTestFinished(() => folder[Symbol.dispose]());
  const port = await freePort();
  const spillPath = join(folder.path, 'spill');
  const target = { url: `http://127.0.0.1:${port}`, token: await tokenFor() };
  const errors: string[] = [];
  const open = (more: Partial<PublisherOptions> = {}) =>
    createPublisher({
      ...target,
      projectId: 'demo',
      spillPath,
      retryDelayMs: 5,
      maxRetryDelayMs: 20,
      onError: ({ code, message }, willRetry) => {
        if (!willRetry) errors.push(`${code}: ${message}`);
      },
      ...more,
    });
  const run = (way: ProcessOptions['way'], before = '') =>
    startPublishing(
      bundle.path,
      { ...target, spillPath, takenPath: join(folder.path, 'taken'), life: 0, seed: 1, way },
      before,
    );
  const start = async (options: Parameters<typeof startServer>[0] = {}) => {
    const server = await startServer({ port, ...options });
    onTestFinished(() => server.close());
    return server;
  };
  return { folder: folder.path, spillPath, errors, open, run, start };
}

describe('[P13] what publish took is logged once', () => {
  test('when the process is killed at seeded moments', async () => {
    const folder = temporaryFolder();
    onTestFinished(() => folder[Symbol.dispose]());
    await using server = await startServer({ limits: { publishedPerSecond: 1_000_000 } });
    const target = { url: server.url, token: await tokenFor() };
    const plan = { script: bundle.path, folder: folder.path, target: () => target };
    const { taken, failures } = await killPublishers({ ...plan, seed: 12, kills: 4 });
    expect(taken.length).toBeGreaterThan(4);
    expect(failures).toEqual([]);
    expect(judge(taken, await namesOf(server))).toEqual({ lost: [], repeated: [], isOrdered: true });
    expect(readdirSync(folder.path)).toEqual(['taken']);
  });

  test.each(['exit', 'uncaught', 'fallOff', 'closed'] as const)('after the end of the process: %s', async (way) => {
    const { open, run, start } = await setUp();
    const publishing = run(way);
    const [code, signal] = await publishing.ended;
    expect([code, signal]).toEqual([way === 'uncaught' ? 1 : 0, null]);
    const server = await start();
    const next = open();
    await next.publish(progress(100));
    expect(await namesOf(server)).toEqual([...['0-0', '0-1', '0-2'].slice(0, way === 'fallOff' ? 3 : 2), '100']);
    await next.close();
  });
});

test('[P16] an awaited call keeps the process running until the server is back', async () => {
  const { run, start } = await setUp();
  const publishing = run('awaited');
  await vi.waitFor(() => expect(publishing.stderr()).toContain('retried'), 30_000);
  await start();
  expect(await publishing.ended).toEqual([0, null]);
  expect(publishing.stdout()).toBe('stored\n');
});

describe('[P13] the file', () => {
  test('is readable by its owner alone, empty once all is stored, and removed by close()', async () => {
    const { spillPath, open, start, folder } = await setUp();
    await start();
    const publisher = open();
    const published = publisher.publish(progress(1));
    expect(readFileSync(spillPath, 'utf8')).toMatch(/^\+\[\{.*\}\]\n$/);
    expect(statSync(spillPath).mode & 0o777).toBe(0o600);
    await published;
    expect(statSync(spillPath).size).toBe(0);
    await publisher.close();
    expect(readdirSync(folder)).toEqual([]);
  });

  test('keeps drafts that close() gave up, and the next publisher sends them first, in order', async () => {
    const { open, start, errors } = await setUp();
    const first = open();
    const rejected = Promise.allSettled([1, 2, 3].map((value) => first.publish(progress(value))));
    await first.close(0);
    expect((await rejected).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    const second = open();
    void second.publish(progress(4));
    await second.close(0);
    const server = await start();
    const third = open();
    await third.publish([5, 6].map((value) => progress(value)));
    expect(await namesOf(server)).toEqual(['1', '2', '3', '4', '5', '6']);
    expect(errors).toEqual([]);
    await third.close();
  });

  test('keeps drafts of a call that failed for its time or its token, and they are sent by the same publisher', async () => {
    const { open, start, errors } = await setUp();
    const late = open({ retryForMs: 30 });
    await expect(late.publish(progress(1))).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    const server = await start();
    await vi.waitFor(async () => expect(await namesOf(server)).toEqual(['1']), 30_000);
    await late.close();
    let token = 'forged';
    const refused = open({ token: () => token });
    await expect(refused.publish(progress(2))).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    token = await tokenFor();
    await refused.close();
    expect(await namesOf(server)).toEqual(['1', '2']);
    expect(errors).toEqual([]);
  });

  test('loses refused drafts, with an error, and no others', async () => {
    const { open, start, errors, spillPath } = await setUp();
    const first = open();
    for (const value of [1, 101, 2, 102, 3]) void first.publish(progress(value));
    await first.close(0);
    const server = await start();
    const second = open();
    await second.close();
    expect(await namesOf(server)).toEqual(['1', '2', '3']);
    expect(errors).toEqual(Array(2).fill('INVALID_EVENT: events.0.progress: must be at most 100'));
    expect(existsSync(spillPath)).toBe(false);
  });

  test('with a torn or a damaged line is reported, and the rest is sent', async () => {
    const { open, start, errors, spillPath } = await setUp();
    const first = open();
    void first.publish(progress(1));
    await first.close(0);
    appendFileSync(spillPath, '\0\0\0\n-7,x\n+[{"type":"stage.pro');
    const server = await start();
    const second = open();
    await second.publish(progress(2));
    expect(await namesOf(server)).toEqual(['1', '2']);
    expect(errors).toEqual([
      `UNAVAILABLE: the spill file ${spillPath} has lines that cannot be read (1); the others are sent`,
      `UNAVAILABLE: the spill file ${spillPath} has an incomplete last line, which is not sent`,
    ]);
    await second.close();
  });

  test('that is no spill file is refused and unchanged', async () => {
    const { open, spillPath, folder } = await setUp();
    writeFileSync(spillPath, '{"name":"app"}\n');
    expect(() => open()).toThrow(`${spillPath} is not a spill file`);
    expect(readFileSync(spillPath, 'utf8')).toBe('{"name":"app"}\n');
    expect(readdirSync(folder)).toEqual(['spill']);
    expect(() => open({ spillPath: join(folder, 'none', 'spill') })).toThrow('cannot be opened (ENOENT)');
  });

  test('is written again when 1 MiB of it is stored, even if it is never empty', async () => {
    const { open, start, spillPath } = await setUp();
    const server = await start({ limits: { publishedPerSecond: 1_000_000 } });
    const publisher = open();
    const drafts = Array.from({ length: 20 }, (_, value) => progress(value, { message: 'ü'.repeat(600) }));
    let largest = 0;
    let before = publisher.publish(drafts);
    for (let round = 1; round < 80; round++) {
      const next = publisher.publish(drafts);
      await before;
      before = next;
      largest = Math.max(largest, statSync(spillPath).size);
    }
    await publisher.close();
    expect(server.log.head).toBe(1_600);
    expect(largest).toBeGreaterThan(1_000_000);
    expect(largest).toBeLessThan(1_200_000);
  });

  test('is made again when it was removed', async () => {
    const { open, start, spillPath, folder } = await setUp();
    const publisher = open({ timeoutMs: 5_000 });
    rmSync(spillPath);
    await start();
    await publisher.publish(progress(1));
    expect(readdirSync(folder).sort()).toEqual(['spill', 'spill.lock']);
    await publisher.close();
  });
});

describe('[P13] one publisher at a time uses a file', () => {
  test('another publisher of this or another process is refused, and one after close() or a kill is not', async () => {
    const { open, run, spillPath } = await setUp();
    const first = open();
    expect(() => open()).toThrow(`the spill file ${spillPath} is in use by process ${process.pid}`);
    const other = run('drain');
    expect(await other.ended).toEqual([1, null]);
    expect(other.stderr()).toContain(`is in use by process ${process.pid}`);
    await first.close(0);
    const killed = run('untilKilled');
    await vi.waitFor(() => expect(readFileSync(spillPath, 'utf8')).toContain('stage.progress'), 30_000);
    expect(() => open()).toThrow(`is in use by process ${killed.child.pid}`);
    killed.child.kill('SIGKILL');
    await killed.ended;
    await open().close(0);
  });

  test('the lock of an ended process is replaced when its number belongs to another process', async () => {
    const { open, spillPath } = await setUp();
    writeFileSync(`${spillPath}.lock`, '1 0\n'); // Process 1 runs, and started at another time.
    await open().close(0);
    expect(existsSync(`${spillPath}.lock`)).toBe(false);
    writeFileSync(`${spillPath}.lock`, 'torn');
    await open().close(0);
  });
});

test('[P13] a full disk refuses the call, and leaves whole lines', async () => {
  const { run, start, open, folder, spillPath, errors } = await setUp();
  // The shell limits the size of files: a write beyond it takes the first bytes, as on a full disk.
  const publishing = run('untilRefused', 'ulimit -f 8;');
  expect(await publishing.ended).toEqual([0, null]);
  expect(publishing.stderr()).toContain(
    `failed UNAVAILABLE: the events were not taken: the spill file ${spillPath} cannot be written (EFBIG)`,
  );
  expect(readFileSync(spillPath, 'utf8').endsWith('}]\n')).toBe(true);
  const taken = readFileSync(join(folder, 'taken'), 'utf8').trim().split('\n');
  expect(taken.length).toBeGreaterThan(2);
  const server = await start();
  await open().close();
  expect(await namesOf(server)).toEqual(taken);
  expect(errors).toEqual([]);
});
