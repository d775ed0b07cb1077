import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { verifyPostgresDatabase } from '../../server/event-log/postgres/verify-database.ts';
import type { RunEvent } from '../../shared/events.ts';
import { isSignal } from '../../shared/protocol.ts';
import { checkLogs, checkReader, type LoggedLog, type Problem } from './checker.ts';
import { batchesOf, type ClusterFault, type ClusterPlan, planCluster, sentAt, sentNow } from './cluster-plan.ts';
import {
  type ClusterOptions,
  countConnects,
  inject,
  type Node,
  producer,
  RETRY_MS,
  SILENCE_MS,
  type Stage,
  setStage,
  token,
} from './cluster-stage.ts';
import { type Acknowledged, publishAll } from './publishers.ts';
import { ChaosReader } from './readers.ts';
import { Transcript } from './transcript.ts';

/**
 * One round with three server processes on a durable PostgreSQL and a Redis, behind HAProxy. Each node reaches PostgreSQL and
 * Redis through proxies of its own, which can cut it off. The faults follow each other while publishers and readers go on.
 */

/** The time from a fault until the recovery; ms. */
export type Recovery = {
  kind: ClusterFault['kind'];
  /** Every reader has received an event that was sent after the fault. */
  readersMs: number;
  /** Every node that was not hit has accepted an event. */
  publishMs: number;
  /** The fault has ended, the node that was hit is ready, and it has accepted an event. */
  wholeMs: number;
  /** Connections that the proxy accepted, in all and in the busiest second. */
  connects: number;
  connectsPerSecond: number;
};
export type ClusterResult = {
  plan: ClusterPlan;
  problems: Problem[];
  recoveries: Recovery[];
  events: number;
  items: number;
  connections: number;
  /** Lines of the servers' logs, by message. */
  lines: Map<string, number>;
};

const CALM_MS = 1_000;
/** A recovery that takes longer is a problem. It does not measure: the machine may be busy. */
const RECOVERY_MS = 60_000;
const PROBE_MS = 50;
const PROBE_TIMEOUT_MS = 1_000;
/** A reader needs one connection for a restart, and one more if the node that it comes to restarts next. */
const MAX_CONNECTS_PER_READER = 2;

export async function runCluster(options: ClusterOptions): Promise<ClusterResult> {
  const plan = planCluster(options.seed, options.isShort);
  const endings: (() => unknown)[] = [];
  try {
    const stage = await setStage(plan, options, (ending) => endings.unshift(ending));
    return await new Round(plan, stage).play();
  } finally {
    for (const end of endings) await end();
  }
}

class Round {
  readonly #plan: ClusterPlan;
  readonly #stage: Stage;
  readonly #problems: Problem[] = [];
  readonly #acknowledged: Acknowledged[] = [];
  readonly #transcripts: Transcript[];
  readonly #recoveries: Recovery[] = [];
  #count = 0;
  #probes = 0;

  constructor(plan: ClusterPlan, stage: Stage) {
    this.#plan = plan;
    this.#stage = stage;
    this.#transcripts = plan.readers.map((reader) => new Transcript(reader, () => 0));
  }

  get #surroundings() {
    return { url: `http://127.0.0.1:${this.#stage.haproxy.port}`, token, silenceMs: SILENCE_MS, retryMs: RETRY_MS };
  }

  async play(): Promise<ClusterResult> {
    const { nodes, haproxy } = this.#stage;
    const [ending, givingUp] = [new AbortController(), new AbortController()];
    const readers = this.#transcripts.map((transcript) => {
      transcript.floor = this.#count;
      const reader = new ChaosReader(transcript.plan, [transcript], this.#surroundings);
      reader.join();
      return reader;
    });
    const publishing = Promise.all(
      this.#plan.publishers.map((publisher) =>
        publishAll(
          { ...publisher, batches: batchesOf(publisher, ending.signal) },
          {
            ...this.#surroundings,
            signal: givingUp.signal,
            mayForget: false,
            onAcknowledged: (acknowledged) => this.#acknowledge(acknowledged),
            onRefused: (source, detail) => this.#problems.push({ kind: 'failed', source, detail }),
          },
        ),
      ),
    );
    await this.#fresh(performance.now());
    for (const fault of this.#plan.faults) {
      await delay(CALM_MS);
      await this.#recover(fault);
    }
    ending.abort();
    await Promise.race([publishing, delay(RECOVERY_MS, undefined, { ref: false })]);
    givingUp.abort();
    await publishing;
    const log = await this.#read();
    await Promise.all(this.#transcripts.map((transcript) => this.#arrival(transcript, log)));
    const connections = await haproxy.opened();
    await Promise.all(readers.map((reader) => reader.leave()));
    await Promise.all(nodes.map(({ server }) => server.stop('SIGTERM')));
    const verdict = await verifyPostgresDatabase(this.#stage.databaseUrl, {});
    if (!verdict.ok) this.#problems.push({ kind: 'log', source: 'verify', detail: JSON.stringify(verdict) });
    return { ...this.#check(log), connections };
  }

  #acknowledge(acknowledged: Acknowledged): void {
    this.#acknowledged.push(acknowledged);
    this.#count += acknowledged.drafts.length;
  }

  /** Plays a fault, and measures until everything works again. */
  async #recover(fault: ClusterFault): Promise<void> {
    const { nodes, haproxy, say } = this.#stage;
    const begun = performance.now();
    const since = () => performance.now() - begun;
    const hit = 'node' in fault ? nodes[fault.node] : undefined;
    const connects = await countConnects(haproxy);
    const playing = inject(fault, this.#stage).catch((error) => this.#failed(fault.kind, String(error)));
    const [readersMs, publishMs] = await Promise.all([
      this.#fresh(begun).then(since),
      Promise.all(nodes.filter((node) => node !== hit).map((node) => this.#accepted(node))).then(since),
      playing,
    ]);
    await Promise.all(nodes.map((node) => this.#accepted(node)));
    const wholeMs = since();
    const { all, mostInSecond } = await connects();
    const { kind } = fault;
    this.#recoveries.push({ kind, readersMs, publishMs, wholeMs, connects: all, connectsPerSecond: mostInSecond });
    const times = [readersMs, publishMs, wholeMs].map((ms) => `${(ms / 1_000).toFixed(1)} s`);
    say?.(`  ${kind}: readers ${times[0]}, publishing ${times[1]}, whole ${times[2]}, ${all} connects`);
    if (kind === 'rolling restart' && all > MAX_CONNECTS_PER_READER * this.#transcripts.length) {
      this.#failed(kind, `${all} connects`);
    }
  }

  /** Resolves once every reader has an event that was sent after a time. */
  async #fresh(since: number): Promise<void> {
    const limit = performance.now() + RECOVERY_MS;
    for (;;) {
      const stale = this.#transcripts.filter((transcript) => !(lastSentAt(transcript) > since));
      if (stale.length === 0) return;
      if (performance.now() > limit) {
        const names = stale.slice(0, 5).map(({ plan }) => `${plan.name} (${plan.kind}, ${plan.scope.kind})`);
        this.#failed('the readers', `${stale.length} have no new event: ${names.join(', ')}`);
        return;
      }
      await delay(PROBE_MS);
    }
  }

  /** Resolves once a node is ready and has accepted an event that was first sent now. */
  async #accepted({ url, server }: Node): Promise<void> {
    const [publisher, project] = [`probe-${++this.#probes}`, 'probes'];
    const draft = {
      ...{ type: 'stage.progress' as const, projectId: project, runId: 'probe', stageId: 's1' },
      ...{ eventId: publisher, message: sentNow() },
    };
    const limit = performance.now() + RECOVERY_MS;
    for (let answer = ''; ; await delay(PROBE_MS)) {
      try {
        const signal = AbortSignal.timeout(PROBE_TIMEOUT_MS);
        const headers = { 'content-type': 'application/json', authorization: `Bearer ${await token(producer)}` };
        const body = JSON.stringify([draft]);
        const response = await fetch(`${url}/api/v1/events`, { method: 'POST', headers, body, signal });
        answer = await response.text();
        if (response.ok && (await fetch(`${url}/readyz`, { signal })).ok) {
          this.#acknowledge({ publisher, drafts: [draft] });
          return;
        }
      } catch (error) {
        answer = String(error);
      }
      if (performance.now() > limit) {
        this.#failed(`port ${server.ready.port}`, `accepts no event: ${answer}`);
        return;
      }
    }
  }

  /** Reads the log from the tables, without code of the server. */
  async #read(): Promise<LoggedLog> {
    const client = new Client({ connectionString: this.#stage.databaseUrl });
    await client.connect();
    try {
      const { rows } = await client.query('SELECT payload FROM events ORDER BY seq');
      const { rows: heads } = await client.query('SELECT epoch FROM head');
      return { epoch: heads[0].epoch, events: rows.map(({ payload }) => JSON.parse(payload) as RunEvent), trims: [] };
    } finally {
      await client.end();
    }
  }

  async #arrival(transcript: Transcript, { epoch, events }: LoggedLog): Promise<void> {
    transcript.hasStayed = true;
    const late = new AbortController();
    await Promise.race([
      transcript.arrives(epoch, events.length),
      delay(RECOVERY_MS, undefined, { signal: late.signal }).then(
        () => {
          transcript.missed = events.length;
        },
        () => undefined,
      ),
    ]);
    late.abort();
  }

  #check(log: LoggedLog): Omit<ClusterResult, 'connections'> {
    const lines = new Map<string, number>();
    for (const line of this.#stage.nodes.flatMap(({ server }) => server.complaints)) {
      const message = messageOf(line);
      lines.set(message ?? line, (lines.get(message ?? line) ?? 0) + 1);
      // What is no line of the log is a crash.
      if (message === undefined) this.#failed('server', line);
    }
    const problems = [...this.#problems, ...checkLogs([log], this.#acknowledged)];
    for (const transcript of this.#transcripts) problems.push(...checkReader(transcript, [log]));
    return {
      ...{ plan: this.#plan, problems, recoveries: this.#recoveries, lines },
      events: log.events.length,
      items: this.#transcripts.reduce((sum, { seen }) => sum + seen.length, 0),
    };
  }

  #failed(source: string, detail: string): void {
    this.#problems.push({ kind: 'failed', source, detail });
  }
}

const lastSentAt = ({ seen }: Transcript): number => {
  const last = seen.findLast(({ item }) => !isSignal(item));
  return last ? sentAt(last.item) : Number.NaN;
};

/** The message of a line of a server's log. */
function messageOf(line: string): string | undefined {
  const found = /^\{"level":(\d+).*?"msg":"((?:[^"\\]|\\.)*)"/.exec(line) ?? /^\{"level":(\d+)()/.exec(line);
  return found && Number(found[1]) < 60 ? found[2] || 'a line without a message' : undefined;
}
