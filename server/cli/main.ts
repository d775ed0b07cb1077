#!/usr/bin/env node
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { version } from '../version.ts';
import type {
  CheckpointCommandOptions,
  ClockCommandOptions,
  EraseCommandOptions,
  VerifyCommandOptions,
} from './audit.ts';
import { describeError, UsageError } from './errors.ts';
import type { ExecOptions } from './exec.ts';
import { splitExecArguments } from './exec-arguments.ts';
import type { RevokeOptions } from './revoke.ts';
import type { TailOptions } from './tail.ts';
import { type TargetOptions, tokenOption, urlOption } from './target.ts';
import { parseProjects, parseRoles, parseRun, parseSub, parseTtl, type TokenCommandOptions, token } from './token.ts';

/**
 * The command `runwire`. Exit codes: 0 success, 1 failure, 2 wrong usage. Each subcommand imports its module when it is
 * called: `exec` in a build must not wait for the server's code to load.
 */

type ExitWith = (code: number) => void;

async function run(args: readonly string[]): Promise<number> {
  let code = 0;
  const exitWith: ExitWith = (value) => {
    code = value;
  };
  const program = new Command('runwire')
    .description('Live events of runs, from a durable log.')
    .version(version())
    .exitOverride()
    .showHelpAfterError('(run with --help for usage)');
  addServe(program, exitWith);
  const own = addExec(program, exitWith, args);
  addTail(program, exitWith);
  addPublish(program, exitWith);
  addToken(program, exitWith);
  addLogin(program, exitWith);
  addAudit(program, exitWith);
  addBackup(program, exitWith);
  addCopy(program, exitWith);
  addClock(program, exitWith);
  await program.parseAsync(own, { from: 'user' });
  return code;
}

const SERVE_HELP = `
Environment (all variables: docs/guide/configuration.md):
  DATABASE_URL  file:PATH, one server (default file:./data/runwire.db), or
                postgres://USER:PASSWORD@HOST:5432/DATABASE, any number of servers
  REDIS_URL     redis://HOST:6379, connects the servers of a PostgreSQL log
                (default: they use LISTEN and NOTIFY of PostgreSQL)
  AUTH_SECRET   secret of the tokens, at least 32 characters; the same on all servers
  HOST, PORT    where the server listens (default 127.0.0.1, 3001)`;

function addServe(program: Command, exitWith: ExitWith): void {
  program
    .command('serve')
    .description('run the server until SIGTERM or SIGINT; configured by the environment and .env')
    .addHelpText('after', SERVE_HELP)
    .action(async () => {
      const { serve } = await import('../main.ts');
      exitWith(await serve());
    });
}

/** Adds the subcommand `exec`. Returns the arguments for commander, without the steps of `exec`. */
function addExec(program: Command, exitWith: ExitWith, args: readonly string[]): string[] {
  const command = program
    .command('exec')
    .description('run commands as a run, one after another, and exit as they did')
    .usage(
      '--project P --name N [options] ([--approve TITLE] --stage NAME CMD ... | [--approve TITLE] -- CMD ARGS ...)',
    )
    .requiredOption('--project <id>', 'project of the run')
    .requiredOption('--name <name>', 'name of the run')
    .option('--stage <name> <cmd>', 'a stage and its command line, run by sh; repeatable')
    .option('--approve <title>', 'an approval that the next stage waits for; repeatable')
    .option('--run <id>', 'id of the run (default: from the name and the time)')
    .option('--label <key=value>', 'a label of the run; repeatable', addLabel)
    .option('--artifact <path>', 'a file that the run makes; repeatable', append)
    .option('--require-server', 'fail before the first command if the server cannot be reached or refuses the token')
    .addOption(urlOption())
    .addOption(tokenOption());
  const { own, steps } = splitExecArguments(args, command);
  command.action(async (options: ExecOptions) => {
    if (steps.length === 0) throw new UsageError('exec needs --stage NAME CMD, or -- CMD ARGS');
    const { exec } = await import('./exec.ts');
    exitWith(await exec(options, steps));
  });
  return own;
}

function addTail(program: Command, exitWith: ExitWith): void {
  program
    .command('tail')
    .description('print events as they are logged: events on stdout, signals on stderr')
    .option('--run <id>', 'only events of this run')
    .option('--project <id>', 'only events of this project')
    .addOption(new Option('--from <where>', 'where to begin').choices(['now', 'start']).default('now'))
    .option('--json', 'print one JSON object a line')
    .option('--until-end', 'exit when the run ends: 0 when it completed, 1 when it failed; needs --run')
    .addOption(urlOption())
    .addOption(tokenOption())
    .action(async (options: TailOptions) => {
      const { tail } = await import('./tail.ts');
      exitWith(await tail(options));
    });
}

function addPublish(program: Command, exitWith: ExitWith): void {
  program
    .command('publish')
    .description('publish events: a JSON object, an array, or one object a line')
    .argument('<file>', 'the file, or - for standard input')
    .addOption(urlOption())
    .addOption(tokenOption())
    .action(async (file: string, options) => {
      const { publish } = await import('./publish.ts');
      exitWith(await publish(file, options));
    });
}

function addToken(program: Command, exitWith: ExitWith): void {
  // `token` without a subcommand is `token sign`.
  const command = program
    .command('token')
    .description('sign a token for the local server, or revoke tokens; options: token sign --help');
  command
    .command('sign', { isDefault: true })
    .description('print a token for the local server on stdout, and its id on stderr')
    .requiredOption('--sub <id>', 'subject: the user or program that holds the token', parseSub)
    .requiredOption('--projects <ids>', 'comma-separated project ids, or *', parseProjects)
    .requiredOption('--roles <roles>', 'comma-separated: viewer, approver, producer, admin', parseRoles)
    .option('--run <id>', 'only this run of the project: the holder sees and does nothing else', parseRun)
    .option('--ttl <time>', 'lifetime, such as 90s, 15m, 1h, 30d', parseTtl, 3_600)
    .action(async (options: TokenCommandOptions) => {
      exitWith(await token(options));
    });
  command
    .command('revoke')
    .description('revoke one token by its id, or all tokens of a subject up to now')
    .argument('[jti]', 'id of the token, as printed by `token` on stderr', parseSub)
    .option('--sub <id>', 'subject of the tokens', parseSub)
    .addOption(urlOption())
    .addOption(tokenOption())
    .action(async (jti: string | undefined, options: RevokeOptions) => {
      const { revoke } = await import('./revoke.ts');
      exitWith(await revoke(jti, options));
    });
}

function addLogin(program: Command, exitWith: ExitWith): void {
  program
    .command('login')
    .description('print a new link that signs in to the web app of the local server, for a day')
    .addOption(urlOption())
    .action(async (options: Pick<TargetOptions, 'url'>) => {
      const { login } = await import('./login.ts');
      exitWith(await login(options));
    });
}

function addAudit(program: Command, exitWith: ExitWith): void {
  program
    .command('verify')
    .description('check that the log is what was logged: on the server, or in a file with --database')
    .option('--database <url>', 'file:PATH or postgres://… of a database, read without a server and not changed')
    .option('--checkpoints <file>', 'kept checkpoints, one a line, that the log must agree with')
    .option('--key <file>', "public key in PEM (default: the server's, or audit.key beside the database)")
    .addOption(urlOption())
    .addOption(tokenOption())
    .action(async (options: VerifyCommandOptions) => {
      const { verify } = await import('./audit.ts');
      exitWith(await verify(options));
    });
  program
    .command('checkpoint')
    .description('print a signed checkpoint of the log, to keep on another machine')
    .option('--public-key', 'print the public key in PEM instead')
    .addOption(urlOption())
    .addOption(tokenOption())
    .action(async (options: CheckpointCommandOptions) => {
      const { checkpoint } = await import('./audit.ts');
      exitWith(await checkpoint(options));
    });
  program
    .command('erase')
    .description('show an event, ask, and erase its text permanently; the erasure itself stays on record')
    .option('--seq <number>', 'position of the event in the log (its `seq`, not its `runSeq`)', parseSeq)
    .option('--event-id <id>', 'id of the event; needs --project')
    .option('--project <id>', 'project of the event')
    .requiredOption('--reason <text>', 'reason, for the record')
    .option('--yes', 'do not ask for a confirmation')
    .addOption(urlOption())
    .addOption(tokenOption())
    .action(async (options: EraseCommandOptions) => {
      const { erase } = await import('./audit.ts');
      exitWith(await erase(options));
    });
}

function addClock(program: Command, exitWith: ExitWith): void {
  program
    .command('clock')
    .description("confirm that the server's clock is right, after it was wrong: repairs times, resumes retention")
    .requiredOption('--now <instant>', 'the present time, such as 2026-11-26T09:00Z, at most 5 minutes off')
    .addOption(urlOption())
    .addOption(tokenOption())
    .action(async (options: ClockCommandOptions) => {
      const { confirmClock } = await import('./audit.ts');
      exitWith(await confirmClock(options));
    });
}

function addBackup(program: Command, exitWith: ExitWith): void {
  program
    .command('backup')
    .description('write the log in the SQLite file of DATABASE_URL into one file, also while its server runs')
    .argument('<file>', 'the new file')
    .action(async (file: string) => {
      const { backup } = await import('./backup.ts');
      exitWith(backup(file));
    });
  program
    .command('restore')
    .description('verify a backup, and put it at the file of DATABASE_URL with a new epoch; no server may run there')
    .argument('<file>', 'a file that `runwire backup` has written')
    .action(async (file: string) => {
      const { restore } = await import('./backup.ts');
      exitWith(restore(file));
    });
}

function addCopy(program: Command, exitWith: ExitWith): void {
  program
    .command('copy')
    .description(
      'copy the log of a file into an empty PostgreSQL database, with positions, chain and epoch; no server may run',
    )
    .requiredOption('--from <url>', 'file:PATH of the database')
    .requiredOption('--to <url>', 'postgres://… of the empty database')
    .action(async (options: { from: string; to: string }) => {
      const { copy } = await import('./backup.ts');
      exitWith(await copy(options));
    });
}

function addLabel(value: string, labels: Record<string, string> = {}): Record<string, string> {
  const at = value.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('Must be KEY=VALUE.');
  return { ...labels, [value.slice(0, at)]: value.slice(at + 1) };
}

function parseSeq(value: string): number {
  if (!/^[1-9]\d{0,14}$/.test(value)) throw new InvalidArgumentError('Must be a whole number from 1.');
  return Number(value);
}

const append = (value: string, values: string[] = []): string[] => [...values, value];

async function main(): Promise<number> {
  try {
    return await run(process.argv.slice(2));
  } catch (error) {
    // Commander has printed its own message.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    process.stderr.write(`runwire: ${describeError(error)}\n`);
    return error instanceof UsageError ? 2 : 1;
  }
}

/** Exits silently when the reader of the output has closed the pipe. For `exec`, its command gets SIGPIPE instead. */
function endQuietly({ code }: NodeJS.ErrnoException): void {
  if (code === 'EPIPE' && process.argv[2] !== 'exec') process.exit(0);
}
process.stdout.on('error', endQuietly);
process.stderr.on('error', () => undefined);

const flushed = (stream: NodeJS.WriteStream) =>
  new Promise<void>((resolve) => (stream.writable ? stream.write('', () => resolve()) : resolve()));
const code = await main();
await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
process.exit(code);
