import { RunwireError } from '../../shared/errors.ts';

/** A position in one log. Clients must not interpret it. It grants no access. */
export type Cursor = { epoch: string; seq: number };

export const encodeCursor = (epoch: string, seq: number): string => `${epoch}.${seq}`;

/** Throws `CURSOR_INVALID`, with the name of the input field as `path`. */
export function decodeCursor(text: string, path = 'lastEventId'): Cursor {
  const match = /^([0-9a-f]{1,64})\.(\d{1,15})$/.exec(text);
  if (!match) throw new RunwireError('CURSOR_INVALID', 'not a cursor of this server', { path });
  return { epoch: match[1] as string, seq: Number(match[2]) };
}
