import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { type Contender, type PeerName, peers } from './contender.ts';
import type { Figure } from './figures.ts';
import { type Bench, ratio } from './lines.ts';
import { hasManyFiles } from './many-runs.ts';
import type { Cost } from './servers/cost.ts';
import type { Started } from './servers/face.ts';

/** Clients that connect, that stay, and that come back after a crash of the server. */

const READERS_PER_RUN = 5;

/** Connect, authenticate and subscribe. Only Runwire has anything to authenticate. */
export async function connect(bench: Bench): Promise<void> {
  const clients = bench.isQuick ? 300 : 2_000;
  bench.report.line(`Connect, authenticate, subscribe: ${clients.toLocaleString('en-US')} clients, 64 at a time`);
  const contenders = new Map<PeerName, Contender>();
  for (const name of bench.among('runwire', 'old', 'ws', 'socketio', 'trpc')) {
    contenders.set(name, await bench.start(name));
  }
  const tokensOf = async (name: PeerName) => {
    const isOurs = name === 'runwire' || name === 'old';
    return isOurs ? { tokens: await (contenders.get(name) as Contender).askAlso<string[]>('tokens', clients) } : {};
  };
  const known = new Map<PeerName, Partial<Started>>();
  for (const name of contenders.keys()) known.set(name, await tokensOf(name));
  const subjects = new Map<string, { name: PeerName; isNew: boolean }>();
  for (const name of contenders.keys()) {
    subjects.set(peers[name], { name, isNew: false });
    if (name === 'runwire' || name === 'old') subjects.set(`${peers[name]}, new tokens`, { name, isNew: true });
  }
  const samples = await bench.inTurn(subjects, async ({ name, isNew }) => {
    const contender = contenders.get(name) as Contender;
    const cost = await contender.connect(
      clients,
      clients / READERS_PER_RUN,
      isNew ? await tokensOf(name) : known.get(name),
    );
    await contender.close();
    return cost;
  });
  const found = new Map<string, Figure>();
  for (const [name, of] of samples) {
    const rates = of.map(({ seconds }: Cost) => clients / seconds);
    found.set(name, bench.report.row(name, 'clients/s', rates));
    const cpus = of.map(({ cpuMicros }: Cost) => cpuMicros / clients);
    bench.report.row('', 'µs of CPU each', cpus);
  }
  for (const name of [peers.runwire, `${peers.runwire}, new tokens`]) {
    bench.report.check(`${name}: against tRPC without tokens`, ratio(found.get(name), found.get(peers.trpc)), {
      atLeast: 1,
    });
  }
  await Promise.all([...contenders.values()].map((contender) => contender.stop()));
}

/** 10,000 clients that stay, each with a token of its own, and that come back with their cursors after `kill -9`. */
export async function tenThousand(bench: Bench): Promise<void> {
  const clients = bench.isQuick ? 1_000 : 10_000;
  const runs = clients / READERS_PER_RUN;
  const count = clients.toLocaleString('en-US');
  bench.report.line(`${count} clients, heartbeat every 30 s`);
  if (!hasManyFiles(bench)) return;
  await bench.stop(); // Closes the many connections of earlier lines.
  const contenders = new Map<PeerName, Contender>();
  const tokens = new Map<PeerName, string[]>();
  for (const name of bench.among('runwire', 'old', 'ws', 'socketio', 'trpc')) {
    const isOurs = name === 'runwire' || name === 'old';
    const databaseUrl = `file:${bench.pathOf(`crowd-${name}`)}`;
    const contender = await bench.start(name, { heartbeatMs: 30_000, ...(isOurs ? { databaseUrl } : {}) });
    if (isOurs) tokens.set(name, await contender.askAlso<string[]>('tokens', clients));
    contenders.set(name, contender);
  }
  const own = (name: PeerName) => (tokens.has(name) ? { tokens: tokens.get(name) as string[] } : {});
  await idle(bench, contenders, own, clients);

  bench.report.line(`${count} clients come back after kill -9, 512 at a time`);
  const subjects = new Map([...contenders].filter(([name]) => name !== 'ws' && name !== 'socketio'));
  const samples = new Map<PeerName, Return[]>();
  // No round for warming up: a server that has just started is not warm.
  for (let round = 0; round < 3; round++) {
    for (const [name, contender] of subjects) {
      const of = samples.get(name) ?? [];
      samples.set(name, [...of, await comeBack(contender, own(name), clients, runs)]);
    }
  }
  const found = new Map<PeerName, Record<keyof Return, Figure>>();
  for (const [name, of] of samples) {
    const row = (label: string, unit: string, key: keyof Return) =>
      bench.report.row(
        label,
        unit,
        of.map((sample) => sample[key]),
      );
    found.set(name, {
      liveMs: row(`${peers[name]}, until all are live`, 'ms', 'liveMs'),
      turnMs: row('  longest turn of the loop', 'ms', 'turnMs'),
      p99: row('  p99 of a bystander', 'ms', 'p99'),
      startMs: row('  start of the server before', 'ms', 'startMs'),
    });
  }
  const against = (key: keyof Return) => ratio(found.get('runwire')?.[key], found.get('trpc')?.[key]);
  bench.report.check('until all are live, against tRPC', against('liveMs'), { atMost: 1 });
  bench.report.check('longest turn, against tRPC', against('turnMs'), { atMost: 1 });
  bench.report.check('p99 of a bystander, against tRPC', against('p99'), { atMost: 1 });
  await Promise.all([...contenders.values()].map((contender) => contender.stop()));
}

const IDLE_MS = 30_000;
/** Work that opening the connections has put off. */
const SETTLE_MS = 2_000;

/** CPU time and heap of idle clients. Leaves them connected. */
async function idle(
  bench: Bench,
  contenders: ReadonlyMap<PeerName, Contender>,
  own: (name: PeerName) => Partial<Started>,
  clients: number,
): Promise<void> {
  const held = new Map<PeerName, { heap: number; resident: number }>();
  for (const [name, contender] of contenders) {
    await contender.open(200, 40);
    await contender.close();
    const before = await contender.memory();
    await contender.connect(clients, clients / READERS_PER_RUN, own(name));
    const after = await contender.memory();
    held.set(name, {
      heap: (after.heapUsed - before.heapUsed) / clients / 1_000,
      resident: (after.rss - before.rss) / clients / 1_000,
    });
  }
  const all = [...contenders];
  const cpuOfAll = () => Promise.all(all.map(([, contender]) => contender.ask('cpuMicros', undefined)));
  await setTimeout(SETTLE_MS);
  const before = await cpuOfAll();
  await setTimeout(IDLE_MS);
  const after = await cpuOfAll();
  for (const [index, [name]] of all.entries()) {
    const micros = ((after[index] as number) - (before[index] as number)) / clients / (IDLE_MS / 1_000);
    const { heap, resident } = held.get(name) as { heap: number; resident: number };
    bench.report.row(`${peers[name]}, each`, 'µs of CPU a second', [micros]);
    bench.report.row('', 'KB of heap', [heap]);
    bench.report.row('', 'KB resident', [resident]);
    if (name !== 'runwire') continue;
    bench.report.check('CPU of an idle client', micros, { atMost: 2.3 }, 'µs a second');
    bench.report.check('heap of an idle client', heap, { atMost: 13 }, 'KB');
  }
}

type Return = { startMs: number; liveMs: number; turnMs: number; p99: number };

async function comeBack(contender: Contender, own: Partial<Started>, clients: number, runs: number): Promise<Return> {
  const { tokens } = own;
  const cursor = tokens && (await cursorOf(contender, tokens[0] as string));
  const begun = performance.now();
  await contender.restart();
  const startMs = performance.now() - begun;
  const bystander = contender.anotherLoad();
  await bystander.open(contender.started, 1, 1);
  await contender.ask('longestTurn', undefined);
  await contender.pace({ intervalMs: 10 }, bystander);
  await contender.load.flight(512);
  const greetings = contender.started.greetings.map((greeting) =>
    typeof greeting === 'string' && cursor ? greeting.replace('"from":"now"', `"lastEventId":"${cursor}"`) : greeting,
  );
  const { seconds } = await contender.connect(clients, runs, { ...own, greetings });
  const turnMs = await contender.ask('longestTurn', undefined);
  const { ofCall } = await contender.paced(bystander, 1);
  await bystander.close();
  bystander.end();
  return { startMs, liveMs: seconds * 1_000, turnMs, p99: ofCall.p99 };
}

/** Returns the cursor of a client that has every event of the log. */
async function cursorOf(contender: Contender, token: string): Promise<string> {
  const { port, path, greetings } = contender.started;
  await contender.load.every(0);
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`);
  await once(socket, 'open');
  for (const greeting of greetings) {
    if (typeof greeting === 'number') continue;
    socket.send(greeting.replace('$TOKEN', token).replace('$RUN', 'run-0').replace('$ID', '1'));
  }
  let cursor: string | undefined;
  socket.on('message', (data) => {
    const { result } = JSON.parse(String(data)) as { result?: { data?: { id?: string } } };
    cursor = result?.data?.id ?? cursor;
  });
  await contender.pace({ intervalMs: 10 });
  while (cursor === undefined) await setTimeout(50);
  await contender.ask('paced', undefined);
  await setTimeout(50);
  socket.terminate();
  return cursor;
}
