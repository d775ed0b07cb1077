import 'server-only';
import { signToken } from 'runwire/server';

/** Your own sign-in takes the place of this constant. */
export const user = 'ada';

export const url = () => process.env.APP_URL ?? '';

/** Returns a token for the user of the request, to read (`viewer`) or to publish (`producer`). */
export function createToken(role: 'viewer' | 'producer'): Promise<string> {
  const claims = { sub: user, projects: ['reports'], roles: [role], ttlSeconds: 600 };
  return signToken({ secret: process.env.AUTH_SECRET ?? '' }, claims);
}
