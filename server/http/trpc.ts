export const BATCH_LIMIT = 50;
export const TRPC_METHODS = new Set(['GET', 'HEAD', 'POST']);
/** What is not is a 500 to tRPC. The result is looked at: bundlers drop a call of this kind whose result is not. */
export function isDecodable(path: string): boolean {
  try {
    return typeof decodeURIComponent(path) === 'string';
  } catch {
    return false;
  }
}
