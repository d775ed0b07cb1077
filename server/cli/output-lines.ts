import { stripVTControlCharacters } from 'node:util';

/** Turns the output of a command into lines that an event may contain, and selects the latest one. */

const MESSAGE_LIMIT = 2_000;
/** A longer line is cut to this many characters before its end arrives, so that memory use has a limit. */
const PARTIAL_LIMIT = 16 * 1_024;

/** Removes escape sequences and control characters, and cuts the text to 2,000 characters. May return `''`. */
export function toMessage(text: string): string {
  const plain = stripVTControlCharacters(text)
    .replace(/\t/g, ' ')
    .replace(/\p{Cc}/gu, '');
  return cut(plain.trim()).toWellFormed();
}

/** Cuts text to the limit of a message, never inside a surrogate pair. */
export function cut(text: string): string {
  if (text.length <= MESSAGE_LIMIT) return text;
  return `${text.slice(0, MESSAGE_LIMIT - 1).replace(/[\ud800-\udbff]$/, '')}…`;
}

/** Splits one output stream into lines. A carriage return, which progress bars use, ends a line too. */
export class Lines {
  readonly #onLine: (line: string) => void;
  readonly #decoder = new TextDecoder();
  #partial = '';

  /** Calls `onLine` with each line that is not empty. */
  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  push(chunk: Uint8Array): void {
    this.#add(this.#decoder.decode(chunk, { stream: true }));
  }

  /** Emits the last line, which may lack a newline. */
  end(): void {
    this.#add(`${this.#decoder.decode()}\n`);
  }

  #add(text: string): void {
    const [first = '', ...rest] = text.split(/[\r\n]/);
    this.#partial = (this.#partial + first).slice(0, PARTIAL_LIMIT);
    for (const next of rest) {
      const line = toMessage(this.#partial);
      if (line !== '') this.#onLine(line);
      this.#partial = next.slice(0, PARTIAL_LIMIT);
    }
  }
}

/** Passes on the latest value, at most one in each interval. Values in between are skipped. */
export class Latest {
  readonly #intervalMs: number;
  readonly #onValue: (value: string) => void;
  #value: string | undefined;
  #sent: string | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(intervalMs: number, onValue: (value: string) => void) {
    this.#intervalMs = intervalMs;
    this.#onValue = onValue;
  }

  /** The latest value. */
  get value(): string | undefined {
    return this.#value;
  }

  update(value: string): void {
    this.#value = value;
    if (this.#timer === undefined) this.#send();
  }

  /** Passes on the latest value if it still waits for its interval. */
  end(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#value !== this.#sent && this.#value !== undefined) this.#onValue(this.#value);
  }

  #send(): void {
    this.#timer = undefined;
    if (this.#value === undefined || this.#value === this.#sent) return;
    this.#sent = this.#value;
    this.#onValue(this.#value);
    this.#timer = setTimeout(() => this.#send(), this.#intervalMs);
  }
}
