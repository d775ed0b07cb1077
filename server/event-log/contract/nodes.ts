/** A node that shares the log. */
export type NodeEntry = {
  id: string;
  isSelf: boolean;
  /** What `read` of its `publishState` last returned; an empty object if it has published nothing. */
  readonly state: object;
};

/** A task that only one node does at a time. */
export type Lease = {
  /** Whether this node has the task. False when `lease` returns. */
  readonly isHeld: boolean;
  /** Gives the task up, and asks for it no more. Resolves once another node may take it. */
  release(): Promise<void>;
};

/**
 * The servers that share the log: a node is one open `EventLog`. A node that no longer reaches the store stays in the list
 * for at most 10 s.
 */
export interface Nodes {
  /** Random id of this node, another one at each start. */
  readonly id: string;
  /** Whether other nodes can share the log. If false, no message is ever received. */
  readonly isShared: boolean;

  /**
   * Asks for a task until `release`, or until the log closes. At most one node MUST hold it at a time. If its holder ends
   * or no longer reaches the store, another node that asks for it gets it within 15 s. The holder stops by itself before
   * that: `isHeld` MUST be false as soon as another node may hold the task.
   *
   * `onChange` is called with each new value of `isHeld`, never before `lease` has returned, and not by `release` or
   * `close`. A change of the store that the holder has begun may still happen after it has lost the task: the task MUST be
   * safe to do twice.
   */
  lease(name: string, onChange: (isHeld: boolean) => void): Lease;

  /**
   * Publishes the state of this node: `read` is called about once a second where others read the state, and by each access
   * to the state of this node in its own list. It returns
   * at most 64 KiB as JSON. A later call replaces `read`.
   */
  publishState(read: () => object): void;

  /** Returns the nodes that reach the store, this one first, the others by id, each with its state of at most 2 s ago. */
  list(): Promise<NodeEntry[]>;

  /**
   * Sends a message to the other nodes: a JSON value of at most 64 KiB, otherwise it throws. It may get lost or arrive
   * twice, but a node never receives its own.
   */
  send(topic: string, message: unknown): void;
  /** Calls the listener with each message of another node. Returns a function that removes the listener. */
  receive(topic: string, listener: (message: unknown, nodeId: string) => void): () => void;
}
