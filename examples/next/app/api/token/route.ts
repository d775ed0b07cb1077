import { createToken } from '../../../lib/session.ts';

/** The page fetches its token here, and again before it expires. */
export async function POST(): Promise<Response> {
  return new Response(await createToken('viewer'));
}
