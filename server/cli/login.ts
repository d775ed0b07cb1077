import { signInLink } from '../auth/sign-in-link.ts';
import { httpUrlOf, localSigning, type TargetOptions, urlOf } from './target.ts';

/** Prints a link that signs in to the local server. */
export async function login(options: Pick<TargetOptions, 'url'>): Promise<number> {
  process.stdout.write(`${await signInLink(httpUrlOf(urlOf(options)), localSigning())}\n`);
  process.stderr.write('runwire: whoever opens this link within a day has every right on the server\n');
  return 0;
}
