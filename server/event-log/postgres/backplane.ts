/**
 * Carries messages between the nodes that share a log. The log is the truth: a backplane may lose, repeat or reorder
 * messages, and may be unreachable. Then nodes learn of changes by their pulse, and only latency suffers.
 */
export interface Backplane {
  /** Sends a message to every node, this one included. MUST NOT throw or wait: without a connection, the message is lost. */
  send(message: string): void;
  /** Sets the function that receives the messages of every node. */
  receive(listener: (message: string) => void): void;
  readonly isConnected: boolean;
  /** UTF-8 bytes up to which a message is cheap. A node replaces longer records of a commit with their range. */
  readonly maxBytes: number;
  close(): Promise<void>;
}

/** Opens the backplane of one log. Logs with different channels never receive messages of each other. */
export type OpenBackplane = (channel: string) => Backplane;

/** Sends nothing: nodes learn of changes by their pulse alone. */
export const silentBackplane: OpenBackplane = () => ({
  send: () => undefined,
  receive: () => undefined,
  isConnected: false,
  maxBytes: 0,
  close: async () => undefined,
});

const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 5_000;

/** Time before the next try to connect after a number of failures: doubled up to 5 s, with jitter, so that nodes do not come at once. */
export const backoffMs = (failures: number): number =>
  Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(failures, 16)) * (0.5 + Math.random() / 2);
