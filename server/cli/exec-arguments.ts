import type { Command } from 'commander';
import { UsageError } from './errors.ts';
import type { Step } from './exec.ts';

/**
 * Splits the arguments of `exec` into options and steps. The library commander parses the options. It cannot parse:
 *
 * - `--stage NAME CMD`, an option with two values
 * - `--approve TITLE`, which applies to the next step
 * - the command and its own options after `--`
 */
export function splitExecArguments(args: readonly string[], command: Command): { own: string[]; steps: Step[] } {
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
      if (steps.length > 0) throw new UsageError('exec takes either --stage NAME CMD or -- CMD ARGS, not both');
      if (rest[0] === undefined) throw new UsageError('exec needs a command after --');
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
  if (approvals.length > 0) throw new UsageError('--approve must come before the stage that waits for it');
  return { own, steps };
}
