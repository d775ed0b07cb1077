import { WebSocket } from 'ws';
import { createRunwireClient } from '../../client/index.ts';
import { serverErrorOf, UsageError } from './errors.ts';
import { type TargetOptions, targetOf } from './target.ts';

export type RevokeOptions = TargetOptions & { sub?: string };

/** Revokes the token with an id, or all tokens of a subject that were issued up to now. */
export async function revoke(jti: string | undefined, options: RevokeOptions): Promise<number> {
  const { sub } = options;
  const which = jti === undefined ? sub !== undefined && { sub } : sub === undefined && { jti };
  if (!which) throw new UsageError('token revoke needs either the id of a token or --sub');
  const { client, connection } = createRunwireClient({
    ...targetOf(options),
    WebSocket, // Required by the client, but not opened: mutations go over HTTP.
  });
  try {
    await client.auth.revoke.mutate(which);
  } catch (error) {
    throw serverErrorOf(error);
  } finally {
    await connection.close();
  }
  process.stdout.write('revoked\n');
  return 0;
}
