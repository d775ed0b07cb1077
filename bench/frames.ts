import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';

/** A WebSocket client that only counts: cheap enough not to be what is measured. */
export class CountingClient {
  /** Data frames received. */
  frames = 0;
  readonly socket: Socket;
  #pending: Buffer = Buffer.alloc(0);
  #isOpen = false;

  private constructor(socket: Socket, onFrame: () => void, onOpen: () => void) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => {
      this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
      if (!this.#isOpen) {
        const end = this.#pending.indexOf('\r\n\r\n');
        if (end < 0) return;
        this.#isOpen = true;
        this.#pending = this.#pending.subarray(end + 4);
        onOpen();
      }
      this.#count(onFrame);
    });
  }

  static open(port: number, path: string, onFrame: () => void): Promise<CountingClient> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1');
      socket.once('error', reject);
      const client: CountingClient = new CountingClient(socket, onFrame, () => resolve(client));
      const key = randomBytes(16).toString('base64');
      socket.write(
        `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
          `Sec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13\r\n\r\n`,
      );
    });
  }

  send(text: string): void {
    const payload = Buffer.from(text);
    const size = payload.length;
    const head = size < 126 ? Buffer.from([0x81, 0x80 | size]) : Buffer.from([0x81, 0xfe, size >> 8, size & 0xff]);
    // A mask of zeros leaves the payload as it is.
    this.socket.write(Buffer.concat([head, Buffer.alloc(4), payload]));
  }

  #count(onFrame: () => void): void {
    let at = 0;
    const bytes = this.#pending;
    for (;;) {
      if (bytes.length - at < 2) break;
      const opcode = (bytes[at] as number) & 0x0f;
      let length = (bytes[at + 1] as number) & 0x7f;
      let head = 2;
      if (length === 126) {
        if (bytes.length - at < 4) break;
        length = bytes.readUInt16BE(at + 2);
        head = 4;
      } else if (length === 127) {
        if (bytes.length - at < 10) break;
        length = Number(bytes.readBigUInt64BE(at + 2));
        head = 10;
      }
      if (bytes.length - at < head + length) break;
      at += head + length;
      if (opcode === 1) {
        this.frames++;
        onFrame();
      }
    }
    this.#pending = bytes.subarray(at);
  }
}
