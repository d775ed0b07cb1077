import { randomUUID } from 'node:crypto';
import { InvalidArgumentError } from 'commander';
import { scopeId } from '../../shared/fields.ts';
import { everyProject, fitsRun, type Role, roles } from '../auth/principal.ts';
import { signToken } from '../auth/tokens.ts';
import { UsageError } from './errors.ts';
import { httpUrlOf, localSigning, urlOf } from './target.ts';

export type TokenCommandOptions = { sub: string; projects: string[]; roles: Role[]; run?: string; ttl: number };

/** Prints a token for the local server on stdout; on stderr its id, for a revocation, and the form of its sign-in link. */
export async function token({ sub, projects, roles, run, ttl }: TokenCommandOptions): Promise<number> {
  const jti = randomUUID();
  const ofRun = run === undefined ? {} : { runId: run };
  if (!fitsRun({ projects, ...ofRun }))
    throw new UsageError('--run needs exactly one project in --projects, and not *');
  const claims = { sub, projects, roles, ...ofRun, ttlSeconds: ttl, jti };
  process.stdout.write(`${await signToken(localSigning(), claims)}\n`);
  process.stderr.write(`runwire: the id of this token (jti) is ${jti}\n`);
  const page =
    run === undefined
      ? ''
      : `&return=${encodeURIComponent(`/runs/${[...projects, run].map(encodeURIComponent).join('/')}`)}`;
  process.stderr.write(`runwire: for a person, the sign-in link is ${addressOf()}/login?token=<this token>${page}\n`);
  return 0;
}

function addressOf(): string {
  try {
    return httpUrlOf(urlOf({}));
  } catch (error) {
    if (error instanceof UsageError) return '<address of the app>'; // PORT is 0.
    throw error;
  }
}

export function parseSub(value: string): string {
  if (value.length < 1 || value.length > 200) throw new InvalidArgumentError('Must have 1 to 200 characters.');
  return value;
}

export function parseProjects(value: string): string[] {
  const projects = value.split(',');
  if (projects.every((project) => project === everyProject || scopeId().safeParse(project).success)) return projects;
  throw new InvalidArgumentError('Must be comma-separated project ids, or *.');
}

export function parseRun(value: string): string {
  if (scopeId().safeParse(value).success) return value;
  throw new InvalidArgumentError('Must be a run id.');
}

export function parseRoles(value: string): Role[] {
  const named = value.split(',');
  const known = roles.filter((role) => named.includes(role));
  if (known.length === new Set(named).size) return known;
  throw new InvalidArgumentError(`Must be a comma-separated list of ${roles.join(', ')}.`);
}

const secondsOf: Record<string, number> = { s: 1, m: 60, h: 3_600, d: 86_400 };

/** Parses `90s`, `15m`, `1h` or `30d` to seconds. */
export function parseTtl(value: string): number {
  const [, amount, unit] = /^([1-9]\d{0,6})([smhd])$/.exec(value) ?? [];
  if (amount === undefined || unit === undefined) {
    throw new InvalidArgumentError('Must be a number and a unit (s, m, h or d), such as 1h.');
  }
  return Number(amount) * (secondsOf[unit] as number);
}
