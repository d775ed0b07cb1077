import { signInLink } from '../auth/sign-in-link.ts';
import { httpUrlOf, localSigning, type TargetOptions, urlOf } from './target.ts';

/** Prints a link that signs in to the local server. */
export async function login(options: Pick<TargetOptions, 'url'>): Promise<number> {
  process.stdout.write(`${await signInLink(httpUrlOf(urlOf(options)), localSigning())}\n`);
  process.stderr.write('runwire: this link gives every right on the server, for a day\n');
  return 0;
}
