import { createHmac, timingSafeEqual } from 'node:crypto';
import { StoredEvent } from '../contract/log.ts';
import type { Backplane } from './backplane.ts';

/**
 * The messages of a node to the others: a code of authentication, a header as JSON, and a line of JSON for each event. The
 * code is keyed with the log's secret, so a message that no node of this log has sent is ignored.
 */

/** Records that one commit gave contiguous positions. */
export type Commit = {
  epoch: string;
  /** The number of erasures at the moment of the commit or the read: the records lack the texts that these have erased. */
  erasures: number;
  from: number;
  to: number;
  /** Hash prefix of the row before `from`. */
  prevHashPrefix: string;
  /** Absent if they did not fit into the message. */
  records?: readonly StoredEvent[] | undefined;
};

type RecordHeader = [
  runSeq: number,
  projectId: string,
  runId: string,
  type: string,
  hashPrefix: string,
  users: readonly string[],
];
type Header = { node: string } & (
  | ({ kind: 'commit'; rows?: RecordHeader[] | undefined } & Omit<Commit, 'records'>)
  /** The state of the store has changed: the head row, revisions or leases. */
  | { kind: 'changed' }
  | { kind: 'topic'; topic: string; message: unknown }
);

export type MessageListeners = {
  onCommit: (commit: Commit) => void;
  onChanged: () => void;
  onTopic: (topic: string, message: unknown, nodeId: string) => void;
};

const MAC_LENGTH = 22;

export class Messages {
  readonly #backplane: Backplane;
  readonly #node: string;
  readonly #key: Buffer;

  constructor(parts: { backplane: Backplane; secret: string; node: string }) {
    this.#backplane = parts.backplane;
    this.#node = parts.node;
    this.#key = createHmac('sha256', parts.secret).update('messages between nodes, v1').digest();
  }

  get isConnected(): boolean {
    return this.#backplane.isConnected;
  }

  /** `onInvalid` receives the error of an authentic message that cannot be read, such as one of another release. */
  receive(listeners: MessageListeners, onInvalid: (error: unknown) => void): void {
    this.#backplane.receive((message) => {
      const text = this.#open(message);
      if (text === undefined) return;
      try {
        this.#dispatch(text, listeners);
      } catch (error) {
        onInvalid(error);
      }
    });
  }

  commit({ records = [], ...commit }: Commit): void {
    const { maxBytes } = this.#backplane;
    if (!this.#backplane.isConnected) return;
    const header = { node: this.#node, kind: 'commit', ...commit } as const;
    if (records.reduce((bytes, { json }) => bytes + json.length, 0) < maxBytes) {
      const rows = records.map(({ runSeq, projectId, runId, type, hashPrefix = '', users = [] }): RecordHeader => {
        return [runSeq, projectId, runId, type, hashPrefix, users];
      });
      const message = this.#seal([textOf({ ...header, rows }), ...records.map(({ json }) => json)].join('\n'));
      if (Buffer.byteLength(message) <= maxBytes) {
        this.#backplane.send(message);
        return;
      }
    }
    this.#backplane.send(this.#seal(textOf(header)));
  }

  changed(): void {
    if (this.#backplane.isConnected) this.#backplane.send(this.#seal(textOf({ node: this.#node, kind: 'changed' })));
  }

  topic(topic: string, message: unknown): void {
    const header = { node: this.#node, kind: 'topic', topic, message } as const;
    if (this.#backplane.isConnected) this.#backplane.send(this.#seal(textOf(header)));
  }

  #dispatch(text: string, listeners: MessageListeners): void {
    const [first = '', ...lines] = text.split('\n');
    const header = JSON.parse(first) as Header;
    if (header.node === this.#node) return;
    if (header.kind === 'changed') listeners.onChanged();
    else if (header.kind === 'topic') listeners.onTopic(header.topic, header.message, header.node);
    else if (header.kind === 'commit') {
      const { rows, epoch, erasures, from, to, prevHashPrefix } = header;
      const records = rows?.map(([runSeq, projectId, runId, type, hashPrefix, users], index) => {
        const json = lines[index] as string;
        return new StoredEvent({ seq: from + index, runSeq, projectId, runId, type, json, hashPrefix, users });
      });
      listeners.onCommit({ epoch, erasures, from, to, prevHashPrefix, records });
    }
  }

  #seal(text: string): string {
    return `${this.#macOf(text)}${text}`;
  }

  #open(message: string): string | undefined {
    const text = message.slice(MAC_LENGTH);
    const mac = Buffer.from(message.slice(0, MAC_LENGTH));
    const expected = Buffer.from(this.#macOf(text));
    return mac.length === expected.length && timingSafeEqual(mac, expected) ? text : undefined;
  }

  #macOf(text: string): string {
    return createHmac('sha256', this.#key).update(text).digest('base64url').slice(0, MAC_LENGTH);
  }
}

const textOf = (header: Header): string => JSON.stringify(header);
