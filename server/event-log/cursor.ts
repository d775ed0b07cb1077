import { RunwireError } from '../../shared/errors.ts';

/** A position of one log. Clients get it as opaque text and hand it back; it grants nothing. */
export type Cursor = { epoch: string; seq: number };

export const encodeCursor = (epoch: string, seq: number): string => `${epoch}.${seq}`;

/** Throws `CURSOR_INVALID` with the `path` that the cursor came by. */
export function decodeCursor(text: string, path = 'lastEventId'): Cursor {
  const match = /^([0-9a-f]{1,64})\.(\d{1,15})$/.exec(text);
  if (!match) throw new RunwireError('CURSOR_INVALID', 'not a cursor of this server', { path });
  return { epoch: match[1] as string, seq: Number(match[2]) };
}
