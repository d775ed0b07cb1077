import { call } from './call.ts';
import { UsageError } from './errors.ts';
import { type TargetOptions, targetOf } from './target.ts';

export type RevokeOptions = TargetOptions & { sub?: string };

/** Revokes the token with an id, or all tokens of a subject that were issued up to now. */
export async function revoke(jti: string | undefined, options: RevokeOptions): Promise<number> {
  const { sub } = options;
  const which = jti === undefined ? sub !== undefined && { sub } : sub === undefined && { jti };
  if (!which) throw new UsageError('token revoke needs either the id of a token or --sub');
  await call(await targetOf(options), (client) => client.auth.revoke.mutate(which));
  // The server keeps no list of the tokens that it accepts, so it cannot know whether this one exists.
  const tokens =
    'jti' in which ? 'a token with this id, if there is one' : 'the tokens of this subject up to now, if any';
  process.stdout.write(`revoked: the server now refuses ${tokens}\n`);
  return 0;
}
