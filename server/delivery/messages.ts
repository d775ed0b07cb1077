import type { StreamSignal } from '../../shared/protocol.ts';

/** What is sent, and the same as JSON. A record of the log is one. */
export interface Message {
  readonly event: object;
  readonly json: string;
}

export const messageOf = (event: StreamSignal): Message => ({ event, json: JSON.stringify(event) });
export const liveAt = (seq: number): Message => messageOf({ type: 'stream.live', seq });
