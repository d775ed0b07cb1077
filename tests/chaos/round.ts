import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { signToken } from '../../server/auth/tokens.ts';
import { encodeCursor } from '../../server/event-log/cursor.ts';
import { backupSqliteFile, restoreSqliteFile } from '../../server/event-log/sqlite/backup.ts';
import { openSqliteLog } from '../../server/event-log/sqlite/log.ts';
import { foldEvent, type RunEvent } from '../../shared/events.ts';
import { checkLogs, checkReader, type LoggedLog, type Problem } from './checker.ts';
import { planRound, type ReaderPlan, type RoundPlan, type Step } from './plan.ts';
import { FaultProxy } from './proxy.ts';
import { type Acknowledged, publishAll } from './publishers.ts';
import { Dice } from './random.ts';
import { ChaosReader, SILENCE_MS } from './readers.ts';
import type { Sabotage } from './sabotage.ts';
import { ServerProcess } from './server.ts';
import { Transcript } from './transcript.ts';

/** One round: a server, a proxy, publishers, readers and faults, then the check. */

export type RoundOptions = { script: string; seed: number; sabotage?: Sabotage | undefined };
export type RoundResult = {
  plan: RoundPlan;
  problems: Problem[];
  /** Transcripts of readers with problems. */
  transcripts: string[];
  events: number;
  items: number;
  gaps: number;
  connections: number;
};

const secret = 'a secret of the rounds, 32 bytes long or more';
/** Time for the readers after the last event. A healthy one needs a second; the rest is for slow machines. */
const ARRIVAL_MS = 60_000;
/** Time for publishing and for the steps on the server. */
const PUBLISHING_MS = 180_000;
const COPIES_IN_PILE = 8;

export async function runRound({ script, seed, sabotage }: RoundOptions): Promise<RoundResult> {
  const plan = planRound(seed);
  const folder = mkdtempSync(join(tmpdir(), 'runwire-chaos-'));
  const dice = new Dice(seed);
  const server = new ServerProcess(script, {
    path: join(folder, '0', 'log.db'),
    port: 0,
    secret,
    delivery: plan.delivery,
    clockMs: 0,
    heartbeatMs: SILENCE_MS,
    quietMs: 150,
    ...(sabotage ? { sabotage: { kind: sabotage, seed } } : {}),
  });
  try {
    await server.start();
    await using proxy = await FaultProxy.open(server.ready.port, dice);
    return await new Round(plan, server, proxy).play();
  } catch (error) {
    const problems: Problem[] = [{ kind: 'failed', source: 'the round', detail: String(error) }];
    return { plan, problems, transcripts: [], events: 0, items: 0, gaps: 0, connections: 0 };
  } finally {
    await server.stop('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What the server must log after a step of the clock, and after a restore. */
const isExpected = (line: string): boolean =>
  line.includes('"condition":"clock"') || line.includes('the event log is not the one that its checkpoints');

class Round {
  readonly #plan: RoundPlan;
  readonly #server: ServerProcess;
  readonly #proxy: FaultProxy;
  readonly #problems: Problem[] = [];
  readonly #acknowledged: Acknowledged[] = [];
  readonly #logs: LoggedLog[] = [];
  readonly #readers: ChaosReader[];
  /** Steps by the count of acknowledged events at which they are due, in order. */
  readonly #due: { at: number; work: () => void }[];
  #count = 0;
  #trimsBegun = 0;
  #clockMs = 0;
  #headBeforeBackup = 0;
  #clockWork: Promise<unknown> = Promise.resolve();
  /** Steps on the server run one after another. */
  #serverWork: Promise<unknown> = Promise.resolve();

  constructor(plan: RoundPlan, server: ServerProcess, proxy: FaultProxy) {
    this.#plan = plan;
    this.#server = server;
    this.#proxy = proxy;
    this.#logs.push({ epoch: server.ready.epoch, events: [], trims: [] });
    const surroundings = { url: `http://127.0.0.1:${proxy.port}`, token: this.#token };
    this.#readers = plan.readers.map((reader) => {
      const copies = reader.kind === 'pile' ? COPIES_IN_PILE : 1;
      const transcripts = Array.from({ length: copies }, () => new Transcript(reader, () => this.#trimsBegun));
      return new ChaosReader(reader, transcripts, surroundings);
    });
    this.#due = [
      ...plan.steps.map((step) => ({ at: step.at, work: () => this.#take(step) })),
      ...this.#readers.flatMap((reader) => reader.plan.turns.map((at) => ({ at, work: () => this.#turn(reader) }))),
    ].sort((a, b) => a.at - b.at);
  }

  get #backupPath(): string {
    return join(dirname(this.#server.path), '..', 'backup.db');
  }

  get #log(): LoggedLog {
    return this.#logs.at(-1) as LoggedLog;
  }

  async play(): Promise<RoundResult> {
    this.#goOn();
    await this.#publish();
    await this.#serverWork;
    this.#proxy.clear();
    const head = await this.#server.ask<'head'>({ head: true });
    const transcripts = this.#readers.flatMap((reader) => {
      for (const transcript of reader.transcripts) transcript.hasStayed = reader.isOn;
      return reader.transcripts;
    });
    const staying = transcripts.filter(({ hasStayed }) => hasStayed);
    await Promise.all(staying.map((transcript) => this.#arrival(transcript, head)));
    await Promise.all(this.#readers.map((reader) => reader.leave()));
    await this.#server.stop(this.#plan.end);
    await this.#readLog();
    return this.#resultOf(transcripts);
  }

  /** Resolves when every draft is acknowledged, or when the time is over. */
  async #publish(): Promise<void> {
    const { publishers, steps } = this.#plan;
    const givingUp = new AbortController();
    const timer = setTimeout(() => givingUp.abort(), PUBLISHING_MS);
    await Promise.all(
      publishers.map((publisher) =>
        publishAll(publisher, {
          url: `http://127.0.0.1:${this.#proxy.port}`,
          token: this.#token,
          signal: givingUp.signal,
          mayForget: steps.some((step) => step.do === 'restore' || (step.do === 'restart' && step.isNewLog)),
          onAcknowledged: (acknowledged) => {
            this.#acknowledged.push(acknowledged);
            this.#count += acknowledged.drafts.length;
            this.#goOn();
          },
          onRefused: (source, detail) => this.#problems.push({ kind: 'failed', source, detail }),
        }),
      ),
    );
    clearTimeout(timer);
  }

  #resultOf(transcripts: Transcript[]): RoundResult {
    const problems = [...this.#problems, ...checkLogs(this.#logs, this.#acknowledged)];
    for (const detail of this.#server.complaints) {
      if (!isExpected(detail)) problems.push({ kind: 'failed', source: 'server', detail });
    }
    const faulty: string[] = [];
    for (const transcript of transcripts) {
      const found = checkReader(transcript, this.#logs);
      if (found.length > 0) faulty.push(transcript.toString());
      problems.push(...found);
    }
    const seen = transcripts.flatMap((transcript) => transcript.seen);
    return {
      plan: this.#plan,
      problems,
      transcripts: faulty,
      events: this.#logs.reduce((sum, { events }) => sum + events.length, 0),
      items: seen.length,
      gaps: seen.filter(({ item }) => item.type === 'stream.gap').length,
      connections: this.#proxy.opened,
    };
  }

  async #arrival(transcript: Transcript, head: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        transcript.missed = head;
        resolve();
      }, ARRIVAL_MS);
    });
    await Promise.race([transcript.arrives(this.#log.epoch, head), late]);
    clearTimeout(timer);
  }

  #goOn(): void {
    while ((this.#due[0]?.at ?? Number.POSITIVE_INFINITY) <= this.#count) this.#due.shift()?.work();
  }

  #turn(reader: ChaosReader): void {
    if (reader.isOn) void reader.leave();
    else if (reader.plan.start === 'old')
      this.#onServer(async () => this.#join(reader)); // After the trim.
    else this.#join(reader);
  }

  #join(reader: ChaosReader): void {
    for (const transcript of reader.transcripts) {
      transcript.startCursor ??= this.#startCursorOf(reader.plan);
      transcript.trimsAtJoin ??= this.#log.trims.length;
      // Acknowledged events may be in an earlier log.
      if (this.#logs.length === 1) transcript.floor ??= this.#count;
    }
    reader.join();
  }

  #startCursorOf({ start }: ReaderPlan): string | undefined {
    const { epoch } = this.#log;
    if (start === 'old') return encodeCursor(epoch, { seq: 0 });
    if (start === 'ahead') return encodeCursor(epoch, { seq: 1_000_000 });
    return start === 'foreign' ? encodeCursor('f0'.repeat(8), { seq: 5 }) : undefined;
  }

  #take(step: Step): void {
    switch (step.do) {
      case 'fault':
        this.#proxy.apply(step.fault, step.share);
        return;
      case 'restart':
        this.#onServer(() => this.#restart(step));
        return;
      case 'clock':
        this.#onServer(() => {
          this.#clockMs += step.stepMs;
          this.#clockWork = this.#server.setClock(this.#clockMs);
          return this.#clockWork;
        });
        return;
      case 'trim':
        this.#onServer(async () => {
          this.#trimsBegun++;
          const { oldest, events } = await this.#server.ask<'trim'>({ trim: { share: step.share } });
          this.#log.trims.push(oldest);
          this.#log.events.push(...events.map((json) => JSON.parse(json) as RunEvent));
        });
        return;
      case 'backup':
        this.#onServer(async () => {
          const head = await this.#server.ask<'head'>({ head: true });
          backupSqliteFile(this.#server.path, this.#backupPath);
          this.#headBeforeBackup = head;
        });
        return;
      case 'restore':
        this.#onServer(() => this.#restore(step.how));
    }
  }

  #onServer(work: () => Promise<unknown>): void {
    this.#serverWork = this.#serverWork.then(work).catch((error: unknown) => this.#failed(String(error)));
  }

  async #restart({ signal, downMs, isNewLog }: Extract<Step, { do: 'restart' }>): Promise<void> {
    await this.#server.stop(signal);
    await new Promise((resolve) => setTimeout(resolve, downMs));
    if (!isNewLog) {
      await this.#server.start();
      return;
    }
    await this.#readLog();
    const { epoch } = await this.#server.start(join(this.#server.path, '..', '..', `${this.#logs.length}`, 'log.db'));
    this.#logs.push({ epoch, events: [], trims: [] });
    this.#trimsBegun = 0;
  }

  /** Puts the backup back. Events that it does not have are lost, and every reader must get a gap. */
  async #restore(how: 'command' | 'copy'): Promise<void> {
    await this.#server.stop('SIGTERM'); // A last checkpoint is written, so the copy is known to be older.
    await this.#readLog();
    const { path } = this.#server;
    const former = this.#log;
    const restored = how === 'copy' ? path : join(dirname(path), '..', `${this.#logs.length}`, 'log.db');
    if (how === 'command') {
      mkdirSync(dirname(restored));
      restoreSqliteFile(this.#backupPath, restored);
    } else {
      for (const suffix of ['-wal', '-shm']) rmSync(path + suffix, { force: true });
      copyFileSync(this.#backupPath, path);
    }
    const { epoch, head } = await this.#server.start(restored);
    if (head < this.#headBeforeBackup) this.#failed(`the backup ends at ${head}, before ${this.#headBeforeBackup}`);
    if (epoch === former.epoch) {
      if (head < former.events.length)
        this.#failed(`the epoch is the same after ${former.events.length - head} events were lost`);
      // The backup had every event. The log is read again at the end of the round.
      former.events.splice((former.trims.at(-1) ?? 1) - 1);
      return;
    }
    const trims = [...former.trims];
    this.#logs.push({ epoch, events: former.events.slice(0, (trims.at(-1) ?? 1) - 1), trims });
    this.#trimsBegun = trims.length;
  }

  #failed(detail: string): void {
    this.#problems.push({ kind: 'failed', source: 'server', detail });
  }

  /** Reads the database file after the server has stopped. */
  async #readLog(): Promise<void> {
    const log = await openSqliteLog({ path: this.#server.path, fold: foldEvent as never });
    for (let after = log.oldest - 1; after < log.head; ) {
      const page = await log.read({ scope: { kind: 'all' }, after, limit: 1_000 });
      for (const record of page.records) this.#log.events.push(record.event as RunEvent);
      after = page.scannedTo;
    }
    await log.close();
  }

  /** Valid for an hour of the stepped clock. */
  readonly #token = async ({ sub, projects }: { sub: string; projects: string[] }): Promise<string> => {
    await this.#clockWork;
    const ttlSeconds = 3_600 + Math.round(this.#clockMs / 1_000);
    return signToken({ secret }, { sub, projects, roles: ['viewer', 'producer'], ttlSeconds });
  };
}
