import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release, tmpdir, totalmem } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { catchUp } from './catch-up.ts';
import { compression } from './compression.ts';
import { connect, tenThousand } from './connecting.ts';
import { Contender, compileServers } from './contender.ts';
import { burst, fanOut, largeFanOut, paced } from './fan-out.ts';
import { Report, show } from './figures.ts';
import { Bench } from './lines.ts';
import { compileLoad, LOAD_CORE } from './load.ts';
import { growth, manyRuns } from './many-runs.ts';
import { mixed } from './mixed.ts';
import { betweenNodes } from './nodes.ts';
import { postgresPublishing } from './postgres.ts';
import { pin, pinning } from './processes.ts';
import { publishing } from './publishing.ts';
import { runSize } from './run-size.ts';
import { stalled } from './stalled.ts';

/**
 * `npm run bench`: delivery, catch-up, memory and the log, each beside its peers in the same run on the same machine.
 * docs/benchmarks.md explains the method and the figures. Close every other program first.
 */

/**
 * Lines run in this order, whatever the order of the arguments, so that lines with equal reader counts are neighbours. The
 * first leads the results.
 */
const lines: Record<string, (bench: Bench) => Promise<void>> = {
  paced,
  burst,
  'fan-out': fanOut,
  'fan-out-large': largeFanOut,
  'many-runs': manyRuns,
  growth,
  connect,
  'ten-thousand': tenThousand,
  mixed,
  stalled,
  compression,
  'catch-up': catchUp,
  publishing,
  postgres: postgresPublishing,
  nodes: betweenNodes,
  'run-size': runSize,
};

/** Lines that `--quick` omits unless they are named. */
const longLines = [
  'fan-out-large',
  'growth',
  'ten-thousand',
  'stalled',
  'compression',
  'postgres',
  'nodes',
  'run-size',
];

const usage = `npm run bench -- [options]
  --quick            less of everything, under two minutes; without ${longLines.join(', ')}
  --only LINE,…      of: ${Object.keys(lines).join(', ')}
  --rounds N         rounds of each, 3 at the least; default 5, with --quick 3
  --old FOLDER       measure another Runwire too, such as an older checkout that \`npm run build\` has built
  --node PATH        run the lines of publishing on another Node.js too
  --json             one JSON document on stdout; the rest goes to stderr
  --profile FOLDER   write CPU profiles of the servers
`;

function optionsOf() {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      only: { type: 'string' },
      rounds: { type: 'string' },
      profile: { type: 'string' },
      old: { type: 'string' },
      node: { type: 'string' },
    },
  });
  const wanted = values.only?.split(',');
  const unknown = wanted?.find((name) => !(name in lines));
  if (unknown !== undefined) throw new Error(`unknown line "${unknown}"`);
  const rounds = Number(values.rounds ?? (values.quick ? 3 : 5));
  if (!Number.isInteger(rounds) || rounds < 3) throw new Error('--rounds must be an integer of at least 3');
  const isWanted = (name: string) => wanted?.includes(name) ?? !(values.quick && longLines.includes(name));
  const old = values.old && join(resolve(values.old), 'dist/server/index.js');
  if (old !== undefined && !existsSync(old)) throw new Error(`--old has no ${old}: npm ci && npm run build`);
  return { ...values, old, names: Object.keys(lines).filter(isWanted), rounds };
}

type Manifest = { version: string; dependencies: Record<string, string>; devDependencies: Record<string, string> };

function surroundings(old: string | undefined) {
  const { version, dependencies, devDependencies } = JSON.parse(
    readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
  ) as Manifest;
  const pinned: Record<string, string> = { ...devDependencies, ...dependencies };
  const packages = ['@trpc/server', 'ws', 'socket.io', 'graphql-ws', 'graphql', '@photostructure/sqlite', 'pg'];
  return {
    machine: {
      processor: cpus()[0]?.model ?? 'unknown',
      cores: availableParallelism(),
      memoryGiB: Math.round(totalmem() / 1024 ** 3),
      system: `${process.platform} ${release()} ${process.arch}`,
      pinning,
      /** Load of the minute before the run, from other programs. */
      loadBefore: loadavg()[0] ?? 0,
    },
    versions: {
      runwire: version,
      ...(old ? { 'runwire, old': commitOf(dirname(old)) } : {}),
      node: process.versions.node,
      ...Object.fromEntries(packages.map((name) => [name, pinned[name]])),
    },
  };
}

function commitOf(folder: string): string {
  const { stdout } = spawnSync('git', ['-C', folder, 'rev-parse', '--short', 'HEAD'], { encoding: 'utf8' });
  return stdout?.trim() || 'of an unknown commit';
}

async function main(): Promise<void> {
  const { quick, json, names, rounds, profile, old, node } = optionsOf();
  const say = (text: string) => (json ? process.stderr : process.stdout).write(`${text}\n`);
  const { machine, versions } = surroundings(old);
  say(`${machine.cores} × ${machine.processor}, ${machine.memoryGiB} GiB, ${machine.system}; ${machine.pinning}`);
  if (machine.loadBefore > 0.5)
    say(`The machine is busy (load ${show(machine.loadBefore)}): the figures are not reliable.`);
  say(Object.entries(versions).flat().join(' '));
  say(`Median of ${rounds} rounds, contenders in turn (min–max).`);

  pin(LOAD_CORE, process.pid);
  const folder = mkdtempSync(join(tmpdir(), 'runwire-bench-'));
  const profiles = profile === undefined ? undefined : resolve(profile);
  if (profiles) mkdirSync(profiles, { recursive: true });
  const begunAt = new Date();
  const report = new Report(say);
  const running: Contender[] = [];
  try {
    const servers = join(folder, 'servers');
    compileServers(servers);
    const load = compileLoad(folder);
    const start = async (name: string, options?: object, node?: string) => {
      const contender = await Contender.start({ name, node, servers, load, profiles, options });
      running.push(contender);
      return contender;
    };
    const bench = new Bench({ report, rounds, isQuick: quick, folder, old, node, start });
    for (const name of names) await lines[name]?.(bench);
    await bench.stop();
  } finally {
    await Promise.all(running.map((contender) => contender.stop()));
    rmSync(folder, { recursive: true, force: true });
  }
  const seconds = Math.round((Date.now() - begunAt.getTime()) / 1_000);
  const missed = report.checks.filter(({ isReached }) => !isReached);
  say(`\n${seconds} s; ${report.checks.length - missed.length} of ${report.checks.length} reached`);
  if (!json) return;
  const { rows, checks, notes } = report;
  const document = {
    takenAt: begunAt.toISOString(),
    isQuick: quick,
    rounds,
    seconds,
    machine,
    versions,
    rows,
    checks,
    notes,
  };
  process.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
}

try {
  await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
  process.exitCode = 1;
}
