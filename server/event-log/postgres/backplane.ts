/** Carries messages between the nodes. A message may be lost, repeated or reordered: the log is the truth. */
export interface Backplane {
  /** MUST NOT throw or wait. */
  send(message: string): void;
  /** Calls the listener with the messages of the other nodes, and perhaps with those of this one. */
  receive(listener: (message: string) => void): () => void;
  readonly isConnected: boolean;
  /** Maximum length of a message, in bytes of UTF-8. */
  readonly maxBytes: number;
  close(): Promise<void>;
}
