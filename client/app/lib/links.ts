/** Returns the URL of a URI that is safe to open. A producer sets the URI, and a `javascript:` URI would run a script. */
export function safeLinkOf(uri: string | undefined): URL | undefined {
  if (uri === undefined || !URL.canParse(uri)) return undefined;
  const url = new URL(uri);
  return ['http:', 'https:'].includes(url.protocol) ? url : undefined;
}
