import { stripVTControlCharacters } from 'node:util';

/** What a command says last: the lines of its output, as they may stand in an event. */

const MESSAGE_LIMIT = 2_000;
/** What of a line without an end is kept. */
const PARTIAL_LIMIT = 16 * 1_024;

/** Text without escape sequences and control characters, in at most 2,000 characters; `''` when nothing is left. */
export function toMessage(text: string): string {
  const plain = stripVTControlCharacters(text)
    .replace(/\t/g, ' ')
    .replace(/\p{Cc}/gu, '');
  return cut(plain.trim()).toWellFormed();
}

/** Cuts text to what a message may hold, between characters. */
export function cut(text: string): string {
  if (text.length <= MESSAGE_LIMIT) return text;
  return `${text.slice(0, MESSAGE_LIMIT - 1).replace(/[\ud800-\udbff]$/, '')}…`;
}

/** Splits one stream of output into lines; a carriage return, as progress bars use it, ends one too. */
export class Lines {
  readonly #onLine: (line: string) => void;
  readonly #decoder = new TextDecoder();
  #partial = '';

  /** `onLine` is told lines that are not empty. */
  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  push(chunk: Uint8Array): void {
    this.#take(this.#decoder.decode(chunk, { stream: true }));
  }

  /** What came last need not end in a newline. */
  end(): void {
    this.#take(`${this.#decoder.decode()}\n`);
  }

  #take(text: string): void {
    const [first = '', ...rest] = text.split(/[\r\n]/);
    this.#partial = (this.#partial + first).slice(0, PARTIAL_LIMIT);
    for (const next of rest) {
      const line = toMessage(this.#partial);
      if (line !== '') this.#onLine(line);
      this.#partial = next.slice(0, PARTIAL_LIMIT);
    }
  }
}

/** Passes on the latest of what it is told, at most once an interval. */
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

  /** The last value told. */
  get value(): string | undefined {
    return this.#value;
  }

  tell(value: string): void {
    this.#value = value;
    if (this.#timer === undefined) this.#send();
  }

  /** Passes on what has been held back. */
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
