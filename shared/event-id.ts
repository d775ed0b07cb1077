/**
 * Returns an id for an event: a UUID of version 7, which begins with the time in ms. With such ids, an index of ids grows at
 * its end. With random ids, each event of a commit would write another page of the index. `random`: a UUID of version 4.
 */
export const newEventId = (random = randomId(), time = idTimeOf(Date.now())): string => time + random.slice(15);

/** Returns the beginning of the ids of a time (Unix ms). */
export function idTimeOf(ms: number): string {
  const time = ms.toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7`;
}

/** Returns a UUID of version 4. `crypto.randomUUID` does not exist on pages without HTTPS. */
function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}
