import { randomUUID } from 'node:crypto';
import type { Lease, NodeEntry, Nodes } from '../contract/nodes.ts';
import { nodeText, ownEntry } from '../node-text.ts';

/** The nodes of a log in a file: the server that has the file open. It holds each lease that it asks for. */
export class OnlyNode implements Nodes {
  readonly id = randomUUID();
  readonly isShared = false;
  readonly #leases = new Set<{ isHeld: boolean; isOver: boolean }>();
  #read: () => object = () => ({});

  lease(_name: string, onChange: (isHeld: boolean) => void): Lease {
    const lease = { isHeld: false, isOver: false };
    this.#leases.add(lease);
    queueMicrotask(() => {
      if (lease.isOver) return;
      lease.isHeld = true;
      onChange(true);
    });
    const release = async () => this.#end(lease);
    return Object.defineProperty({ release } as Lease, 'isHeld', { get: () => lease.isHeld });
  }

  publishState(read: () => object): void {
    this.#read = read;
  }

  async list(): Promise<NodeEntry[]> {
    return [ownEntry(this.id, this.#read)];
  }

  send(_topic: string, message: unknown): void {
    nodeText(message);
  }

  receive(): () => void {
    return () => undefined;
  }

  close(): void {
    for (const lease of this.#leases) this.#end(lease);
  }

  #end(lease: { isHeld: boolean; isOver: boolean }): void {
    Object.assign(lease, { isHeld: false, isOver: true });
    this.#leases.delete(lease);
  }
}
