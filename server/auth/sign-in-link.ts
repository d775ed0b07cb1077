import { roles } from './principal.ts';
import { signToken, type TokenOptions } from './tokens.ts';

/** Lifetime of the token in a sign-in link. */
const LINK_SECONDS = 24 * 3_600;

/** Returns a link that signs its holder in to the server at `url`, with every role in every project, for a day. */
export async function signInLink(url: string, options: TokenOptions): Promise<string> {
  const token = await signToken(options, { sub: 'local', projects: ['*'], roles, ttlSeconds: LINK_SECONDS });
  return `${url}/login?token=${token}`;
}
