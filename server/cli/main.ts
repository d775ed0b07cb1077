#!/usr/bin/env node
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import type { CheckpointCommandOptions, EraseCommandOptions, VerifyCommandOptions } from './audit.ts';
import { describeError, UsageError } from './errors.ts';
import type { ExecOptions, Step } from './exec.ts';
import type { RevokeOptions } from './revoke.ts';
import type { TailOptions } from './tail.ts';
import { tokenOption, urlOption } from './target.ts';
import { parseProjects, parseRoles, parseSub, parseTtl, type TokenCommandOptions, token } from './token.ts';

/**
 * The command line: the contract's section 6. Exit codes: 0 done, 1 the thing failed, 2 wrong usage. Each command loads
 * what it needs when it is called: a build step should not wait for a server to be read.
 */

async function run(args: readonly string[]): Promise<number> {
  let code = 0;
  const program = new Command('runwire')
    .description('The life of a run, live: typed events from a durable log.')
    .version(version())
    .exitOverride()
    .showHelpAfterError('(--help says how it is used)');

  program
    .command('serve')
    .description('serves until SIGTERM or SIGINT; configured by the environment and .env')
    .action(async () => {
      const { serve } = await import('../main.ts');
      code = await serve();
    });

  const execCommand = program
    .command('exec')
    .description('runs commands as a run, one after another, and exits as they did')
    .usage(
      '--project P --name N [options] ([--approve TITLE] --stage NAME CMD ... | [--approve TITLE] -- CMD ARGS ...)',
    )
    .requiredOption('--project <id>', 'project of the run')
    .requiredOption('--name <name>', 'name of the run')
    .option('--stage <name> <cmd>', 'a stage and its command line, for sh; repeatable')
    .option('--approve <title>', 'an approval that the next stage waits for; repeatable')
    .option('--run <id>', 'id of the run; default one made of its name and the time')
    .option('--label <key=value>', 'a label of the run; repeatable', addLabel)
    .option('--artifact <path>', 'a file that the run makes; repeatable', append)
    .addOption(urlOption())
    .addOption(tokenOption());
  const { own, steps } = splitExecArguments(args, execCommand);
  execCommand.action(async (options: ExecOptions) => {
    if (steps.length === 0) throw new UsageError('exec needs --stage NAME CMD, or -- CMD ARGS');
    const { exec } = await import('./exec.ts');
    code = await exec(options, steps);
  });

  program
    .command('tail')
    .description('prints events as they come: events on stdout, signals on stderr')
    .option('--run <id>', 'of one run')
    .option('--project <id>', 'of one project')
    .addOption(new Option('--from <where>', 'where to begin').choices(['now', 'start']).default('now'))
    .option('--json', 'one JSON object a line')
    .option('--until-end', 'end with the run: 0 when it completed, 1 when it failed; needs --run')
    .addOption(urlOption())
    .addOption(tokenOption())
    .action(async (options: TailOptions) => {
      const { tail } = await import('./tail.ts');
      code = await tail(options);
    });

  program
    .command('publish')
    .description('publishes events: a JSON object, an array, or one object a line')
    .argument('<file>', 'the file, or - for standard input')
    .addOption(urlOption())
    .addOption(tokenOption())
    .action(async (file: string, options) => {
      const { publish } = await import('./publish.ts');
      code = await publish(file, options);
    });

  // Without a command of its own, `token` signs one.
  const tokenCommand = program
    .command('token')
    .description('signs tokens for the local server, and revokes them: `token sign --help` names the options');
  tokenCommand
    .command('sign', { isDefault: true })
    .description('prints a token that the local server accepts, and its id on stderr')
    .requiredOption('--sub <id>', 'whose it is', parseSub)
    .requiredOption('--projects <ids>', 'project ids with commas between them, or *', parseProjects)
    .requiredOption('--roles <roles>', 'of viewer, approver, producer, admin', parseRoles)
    .option('--ttl <time>', 'how long it is good for: 90s, 15m, 1h, 30d', parseTtl, 3_600)
    .action(async (options: TokenCommandOptions) => {
      code = await token(options);
    });
  tokenCommand
    .command('revoke')
    .description('makes a server refuse a token by its id, or all tokens of a subject up to now')
    .argument('[jti]', 'id of the token, as `token` said when it made it', parseSub)
    .option('--sub <id>', 'whose tokens', parseSub)
    .addOption(urlOption())
    .addOption(tokenOption())
    .action(async (jti: string | undefined, options: RevokeOptions) => {
      const { revoke } = await import('./revoke.ts');
      code = await revoke(jti, options);
    });

  program
    .command('verify')
    .description(
      'checks that the record is what was logged: the server does, or this command by itself with --database',
    )
    .option('--database <url>', 'file:PATH of a database to read without a server; it is not written to')
    .option('--checkpoints <file>', 'checkpoints that were kept, one a line, which the log has to agree with')
    .option('--key <file>', "public key of the record in PEM; default the server's, or audit.key beside the database")
    .addOption(urlOption())
    .addOption(tokenOption())
    .action(async (options: VerifyCommandOptions) => {
      const { verify } = await import('./audit.ts');
      code = await verify(options);
    });

  program
    .command('checkpoint')
    .description('prints a signed checkpoint of the record, to be kept on another machine')
    .option('--public-key', 'prints the key to check it with instead, as PEM')
    .addOption(urlOption())
    .addOption(tokenOption())
    .action(async (options: CheckpointCommandOptions) => {
      const { checkpoint } = await import('./audit.ts');
      code = await checkpoint(options);
    });

  program
    .command('erase')
    .description('erases the text of an event for good; that it was erased stays on record')
    .requiredOption('--seq <number>', 'position of the event', parseSeq)
    .requiredOption('--reason <text>', 'why, for the record')
    .addOption(urlOption())
    .addOption(tokenOption())
    .action(async (options: EraseCommandOptions) => {
      const { erase } = await import('./audit.ts');
      code = await erase(options);
    });

  await program.parseAsync(own, { from: 'user' });
  return code;
}

/**
 * Takes out of the arguments of `exec` what commander has no notion of: `--stage`, whose two values belong together, and
 * the command after `--`, whose options are its own; and `--approve`, which belongs to what comes next.
 */
function splitExecArguments(args: readonly string[], command: Command): { own: string[]; steps: Step[] } {
  if (args[0] !== command.name()) return { own: [...args], steps: [] };
  const takesValue = new Set(command.options.filter((option) => option.required).map((option) => option.long));
  const own: string[] = [];
  const steps: Step[] = [];
  let approvals: string[] = [];
  const add = (step: Omit<Step, 'approvals'>) => {
    steps.push({ ...step, approvals });
    approvals = [];
  };
  for (let index = 0; index < args.length; index++) {
    const argument = args[index] as string;
    if (argument === '--') {
      const rest = args.slice(index + 1);
      if (steps.length > 0 || rest[0] === undefined)
        throw new UsageError('exec takes --stage NAME CMD, or -- CMD ARGS');
      add({ name: rest[0].split('/').at(-1)?.slice(0, 200) || rest[0].slice(0, 200), command: rest });
      break;
    }
    if (argument.startsWith('--stage')) {
      const [name, line] = args.slice(index + 1, index + 3);
      const isPair = name !== undefined && line !== undefined && !name.startsWith('-') && !line.startsWith('-');
      if (argument !== '--stage' || !isPair) throw new UsageError('--stage takes a name and a command line');
      add({ name, command: line });
      index += 2;
      continue;
    }
    if (argument.startsWith('--approve')) {
      const title = args[++index];
      if (argument !== '--approve' || title === undefined || title.startsWith('-'))
        throw new UsageError('--approve takes a title');
      approvals.push(title);
      continue;
    }
    own.push(argument);
    if (takesValue.has(argument) && index + 1 < args.length) own.push(args[++index] as string);
  }
  if (approvals.length > 0) throw new UsageError('--approve comes before the stage that waits for it');
  return { own, steps };
}

function addLabel(value: string, labels: Record<string, string> = {}): Record<string, string> {
  const at = value.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('Must be a key and a value with = between them.');
  return { ...labels, [value.slice(0, at)]: value.slice(at + 1) };
}

function parseSeq(value: string): number {
  if (!/^[1-9]\d{0,14}$/.test(value)) throw new InvalidArgumentError('Must be a whole number from 1.');
  return Number(value);
}

const append = (value: string, values: string[] = []): string[] => [...values, value];

/** That of the package, which is one folder further away from the built file. */
function version(): string {
  const [path] = ['../../package.json', '../../../package.json']
    .map((relative) => fileURLToPath(new URL(relative, import.meta.url)))
    .filter((candidate) => existsSync(candidate));
  return path === undefined ? 'unknown' : (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version;
}

async function main(): Promise<number> {
  try {
    return await run(process.argv.slice(2));
  } catch (error) {
    // Commander has said what is wrong.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    process.stderr.write(`runwire: ${describeError(error)}\n`);
    return error instanceof UsageError ? 2 : 1;
  }
}

/** Whoever closes the pipe has seen enough; a command of `exec` hears of it by itself. */
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
