import { RunwireError } from '../../shared/errors.ts';
import type { NodeEntry } from './contract/nodes.ts';

/** Maximum size of a message to other nodes, and of the state of a node; bytes of JSON. */
const MAX_BYTES = 64 * 1024;

/** Returns a value for other nodes as JSON. Throws `TOO_LARGE` above 64 KiB. */
export function nodeText(value: unknown): string {
  const text = JSON.stringify(value);
  if (Buffer.byteLength(text) > MAX_BYTES) {
    throw new RunwireError('TOO_LARGE', 'a value for other nodes has more than 64 KiB');
  }
  return text;
}

/** The entry of a node in its own list. Its state is read only on access: a state that describes all clients is large. */
export function ownEntry(id: string, read: () => object): NodeEntry {
  return {
    id,
    isSelf: true,
    get state() {
      return JSON.parse(nodeText(read())) as object;
    },
  };
}
