import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { WebSocketServer } from 'ws';
import { signToken } from '../server/auth.ts';
import type { EventLog } from '../server/event-log/log.ts';
import { openSqliteLog } from '../server/event-log/sqlite.ts';
import { createRunServer } from '../server/run-server.ts';
import { foldEvent } from '../shared/events.ts';
import { answer, draft, inTurn, perSecond, progressOf, ROUNDS, row, say, startLoad, times } from './measure.ts';
import { publishing } from './publishing.ts';

/**
 * `npm run bench`: what durable publishing and delivery cost, each next to a peer in the same run, on the same machine.
 * Figures drift between machines by a third; only the ratios count. Nothing else may run meanwhile.
 */

const folder = mkdtempSync(join(tmpdir(), 'runwire-bench-'));
const { version, dependencies } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
  dependencies: Record<string, string>;
};

const openLog = (name: string): Promise<EventLog> =>
  openSqliteLog({ path: join(folder, name), fold: foldEvent as never });

async function runSize(): Promise<void> {
  say('\nAppending to a run, by its size (batches of 10, each event of another stage)');
  const log = await openLog('run-size.db');
  const fill = async (runId: string, stages: number, events: number) => {
    await log.append({ actor: 'bench', drafts: [draft(runId, 'run.created', { name: runId })] });
    for (let index = 0; index < events; index += 500) {
      const drafts = Array.from({ length: Math.min(500, events - index) }, (_, each) => {
        const stageId = `stage-${(index + each) % stages}`;
        return index + each < stages
          ? draft(runId, 'stage.started', { stageId })
          : draft(runId, 'stage.progress', { stageId, progress: (index + each) % 100 });
      });
      await log.append({ actor: 'bench', drafts });
    }
  };
  await fill('small', 10, 10);
  await fill('large', 10_000, 100_000);
  let at = 0;
  const append = async (runId: string, stages: number) => {
    for (let batch = 0; batch < 200; batch++) {
      const drafts = Array.from({ length: 10 }, () =>
        draft(runId, 'stage.progress', { stageId: `stage-${(at++ * 7) % stages}`, progress: at % 100 }),
      );
      await log.append({ actor: 'bench', drafts });
    }
  };
  // Ends and starts move `currentStageId`, the one field that looks at other stages.
  const churn = async (runId: string, stages: number) => {
    for (let batch = 0; batch < 100; batch++) {
      const drafts = Array.from({ length: 10 }, () => `stage-${(at++ * 7) % stages}`).flatMap((stageId) => [
        draft(runId, 'stage.started', { stageId, attempt: at }),
        draft(runId, 'stage.completed', { stageId, attempt: at }),
      ]);
      await log.append({ actor: 'bench', drafts });
    }
  };
  const micros = async (count: number, work: () => Promise<void>) => 1e6 / (await perSecond(count, work));
  const found = await inTurn({
    small: () => micros(2_000, () => append('small', 10)),
    large: () => micros(2_000, () => append('large', 10_000)),
    smallChurn: () => micros(2_000, () => churn('small', 10)),
    largeChurn: () => micros(2_000, () => churn('large', 10_000)),
  });
  row('progress: 10 stages, 10 events', 'µs/event', found.small);
  row('progress: 10,000 stages, 100,000 events', 'µs/event', found.large, times(found.large, found.small));
  row('start and end: 10 stages', 'µs/event', found.smallChurn);
  row('start and end: 10,000 stages', 'µs/event', found.largeChurn, times(found.largeChurn, found.smallChurn));
  await log.close();
}

async function delivering(clients: number, events: number): Promise<void> {
  say(`\nDelivering to ${clients.toLocaleString('en-US')} subscribers of one run, one event at a time`);
  const load = startLoad();
  const secret = 'the secret of the bench, of 32 bytes and more';
  const server = await createRunServer({ databaseUrl: 'memory:', authSecret: secret, port: 0, heartbeatMs: 600_000 });
  const { port } = await server.listen();
  const token = await signToken({ secret }, { sub: 'bench', projects: ['*'], roles: ['viewer'], ttlSeconds: 3_600 });
  const peer = createServer();
  const wss = new WebSocketServer({ server: peer, perMessageDeflate: false });
  peer.listen(0, '127.0.0.1');
  await once(peer, 'listening');

  const publish = (index: number) => {
    const { eventId: _eventId, ...fields } = progressOf('run', index);
    return server.bus.publish([fields as never], { actor: 'bench' });
  };
  const runwire = async (): Promise<number> => {
    await answer(load, {
      kind: 'open',
      port,
      path: '/ws?connectionParams=1',
      clients,
      greetings: [
        JSON.stringify({ method: 'connectionParams', data: { token } }),
        JSON.stringify({
          id: 1,
          method: 'subscription',
          params: { path: 'onRunEvent', input: { runId: 'run', projectId: 'bench' } },
        }),
      ],
    });
    await answer(load, { kind: 'expect', frames: 2 * clients }); // `started` and `stream.live` of each.
    const rate = await perSecond(clients * events, async () => {
      for (let index = 0; index < events; index++) {
        const taken = answer(load, { kind: 'expect', frames: clients });
        await publish(index);
        await taken;
      }
    });
    await answer(load, { kind: 'close' });
    return rate;
  };
  const text = JSON.stringify({ id: 1, result: { type: 'data', data: progressOf('run', 1) } });
  const plain = async (): Promise<number> => {
    await answer(load, { kind: 'open', port: (peer.address() as AddressInfo).port, path: '/', clients, greetings: [] });
    const rate = await perSecond(clients * events, async () => {
      for (let index = 0; index < events; index++) {
        const taken = answer(load, { kind: 'expect', frames: clients });
        for (const client of wss.clients) client.send(text);
        await taken;
      }
    });
    await answer(load, { kind: 'close' });
    return rate;
  };
  const found = await inTurn({ runwire, plain });
  row('runwire (log in memory)', 'deliveries/s', found.runwire, `${times(found.runwire, found.plain)} ws`);
  row('plain ws, one ready string to each', 'deliveries/s', found.plain);
  load.kill();
  wss.close();
  peer.close();
  await server.close();
}

try {
  const [cpu] = cpus();
  say(`runwire ${version}, Node ${process.versions.node}, ${process.platform} ${process.arch}`);
  say(`${cpus().length} × ${cpu?.model ?? 'unknown processor'}`);
  say(['@trpc/server', 'ws', '@photostructure/sqlite'].map((name) => `${name} ${dependencies[name]}`).join(', '));
  say(`Median of ${ROUNDS} rounds, contenders in turn (min–max).`);
  await publishing(folder, 1_000);
  await runSize();
  await delivering(1_000, 50);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
