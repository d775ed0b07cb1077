import type { StreamSignal } from '../../shared/protocol.ts';

/** An item of a subscription, as an object and as JSON. A `StoredEvent` is also a message. */
export interface Message {
  readonly event: object;
  readonly json: string;
}

export const messageOf = (event: StreamSignal): Message => ({ event, json: JSON.stringify(event) });
export const liveAt = (seq: number): Message => messageOf({ type: 'stream.live', seq });
