import type { Turns } from '../slices.ts';

/**
 * Parses a JSON text of any legal size without holding the event loop. `JSON.parse` takes up to 0.7 s for 8 MiB of small
 * values. So a long text is cut at commas into pieces, and `JSON.parse` parses each piece. Only the containers that a
 * cut divides are built here (docs/decisions/013).
 */

/** Maximum nesting of a body. Real ones need less: OpenLineage facets have a few levels, query plans some tens. */
const MAX_DEPTH = 500;
/** Maximum number of members of an object that is parsed in pieces. A larger table takes long to grow in one step. */
const MAX_MEMBERS = 50_000;
/** Maximum number of values in a body. A value takes up to a microsecond to parse, and up to 100 bytes of memory. */
export const MAX_VALUES = 500_000;
/** A piece of this size takes at most 5 ms, whatever its values. */
export const PIECE_BYTES = 64 * 1024;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN_ARRAY = 0x5b;
const OPEN_OBJECT = 0x7b;
const CLOSE_ARRAY = 0x5d;
const CLOSE_OBJECT = 0x7d;

type Container = unknown[] | { [key: string]: unknown };

/** A container that is open at the present byte. */
type Frame = {
  isArray: boolean;
  opensAt: number;
  /** Start of the members that are not parsed yet. */
  from: number;
  /** Start of the present member. */
  memberFrom: number;
  /** The container, once a cut divides it. */
  value: Container | undefined;
  /** Whether the present member is a divided container, which is a part of `value` already. */
  isMemberParsed: boolean;
  /** Members that are in `value`. */
  members: number;
};

/** `not-json` includes nesting beyond {@link MAX_DEPTH}. */
export type Parsed = { value: unknown } | 'not-json' | 'too-many-values';

/** Thrown inside of this module. */
class NotJson extends Error {}

export class JsonReader {
  readonly #turns: Turns;
  /** Values of all texts that this reader has parsed: the lines of one body share the limit. */
  #values = 0;

  constructor(turns: Turns) {
    this.#turns = turns;
  }

  /** Parses a text in UTF-8. Does not throw: the error of `JSON.parse` would quote the text. */
  async parse(bytes: Buffer): Promise<Parsed> {
    try {
      const text = new DividedText(bytes);
      for (;;) {
        // A short text does not queue behind long ones.
        if (bytes.length > PIECE_BYTES) await this.#turns.next();
        const isAtEnd = text.scan(PIECE_BYTES);
        if (text.levels > MAX_DEPTH) return 'not-json';
        if (this.#values + text.values > MAX_VALUES) return 'too-many-values';
        if (isAtEnd) break;
      }
      this.#values += text.values;
      return { value: text.value() };
    } catch (error) {
      if (error instanceof NotJson || error instanceof SyntaxError) return 'not-json';
      throw error;
    }
  }
}

/** A text that is parsed in pieces. `scan` and `value` throw for what is not JSON. */
export class DividedText {
  /** Commas and opening brackets: about the number of values. */
  values = 0;
  /** The deepest nesting. */
  levels = 0;
  readonly #bytes: Buffer;
  readonly #open: Frame[] = [];
  #at = 0;
  #isText = false;
  /** Everything before is parsed, or is the beginning of a divided container. */
  #parsedTo = 0;
  /** The divided outermost container, and the place of its last byte. */
  #root: { value: Container; opensAt: number; closesAt: number } | undefined;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** Scans at most this many bytes, or up to one cut. Returns whether the text is at its end. */
  scan(limitBytes: number): boolean {
    const bytes = this.#bytes;
    const end = Math.min(bytes.length, this.#at + limitBytes);
    let at = this.#at;
    let isText = this.#isText;
    let isCut = false;
    for (; at < end && !isCut; at++) {
      const byte = bytes[at];
      if (byte === QUOTE) isText = !isText;
      else if (isText) at += byte === BACKSLASH ? 1 : 0;
      else if (byte === COMMA) isCut = this.#comma(at);
      else if (byte === OPEN_ARRAY || byte === OPEN_OBJECT) this.#enter(at, byte === OPEN_ARRAY);
      else if (byte === CLOSE_ARRAY || byte === CLOSE_OBJECT) this.#leave(at, byte === CLOSE_ARRAY);
    }
    this.#at = at;
    this.#isText = isText;
    return at >= bytes.length;
  }

  /** The value of the whole text. Call it at the end. */
  value(): unknown {
    if (!this.#root) return JSON.parse(this.#text(0, this.#bytes.length));
    this.#requireBlank(0, this.#root.opensAt);
    this.#requireBlank(this.#root.closesAt + 1, this.#bytes.length);
    if (this.#open.length > 0 || this.#isText) throw new NotJson();
    return this.#root.value;
  }

  #enter(at: number, isArray: boolean): void {
    this.values++;
    if (this.#open.at(-1)?.isMemberParsed) throw new NotJson(); // No comma before it.
    const frame = {
      isArray,
      opensAt: at,
      from: at + 1,
      memberFrom: at + 1,
      value: undefined,
      isMemberParsed: false,
      members: 0,
    };
    this.levels = Math.max(this.levels, this.#open.push(frame));
  }

  #leave(at: number, isArray: boolean): void {
    const frame = this.#open.pop();
    if (frame?.isArray !== isArray) throw new NotJson();
    if (frame.value === undefined) return;
    if (frame.isMemberParsed) this.#requireBlank(frame.from, at);
    else this.#parseMembers(frame, at);
    this.#parsedTo = at + 1;
    const parent = this.#open.at(-1);
    if (parent) parent.from = at + 1;
    else this.#root = { value: frame.value, opensAt: frame.opensAt, closesAt: at };
  }

  /** Returns whether the text was cut here. */
  #comma(at: number): boolean {
    this.values++;
    const frame = this.#open.at(-1);
    if (!frame) throw new NotJson();
    if (frame.isMemberParsed) {
      this.#requireBlank(frame.from, at);
      frame.isMemberParsed = false;
      frame.from = at + 1;
    }
    frame.memberFrom = at + 1;
    if (at - this.#parsedTo < PIECE_BYTES) return false;
    this.#cut(at);
    return true;
  }

  /** Parses everything before a comma of the innermost container, and divides all containers around it. */
  #cut(at: number): void {
    if (this.#root) throw new NotJson();
    this.#open.forEach((frame, index) => {
      const child = this.#open[index + 1];
      frame.value ??= frame.isArray ? [] : {};
      if (frame.isMemberParsed) return;
      const end = child ? frame.memberFrom - 1 : at;
      if (frame.from <= end) this.#parseMembers(frame, end);
      if (child) this.#divide(frame, child);
      else frame.from = at + 1;
    });
    this.#parsedTo = at + 1;
  }

  /** Puts a container into its parent before its own members are known. */
  #divide(parent: Frame, child: Frame): void {
    child.value ??= child.isArray ? [] : {};
    parent.isMemberParsed = true;
    if (parent.isArray) {
      this.#requireBlank(parent.memberFrom, child.opensAt);
      (parent.value as unknown[]).push(child.value);
      return;
    }
    const [key] = Object.keys(JSON.parse(`{${this.#text(parent.memberFrom, child.opensAt)}[]}`));
    if (key === undefined) throw new NotJson();
    define(parent.value as object, key, child.value);
  }

  #parseMembers(frame: Frame, to: number): void {
    const { isArray, from, value } = frame;
    const text = this.#text(from, to);
    if (isArray) {
      const members = JSON.parse(`[${text}]`) as unknown[];
      if (members.length === 0) throw new NotJson(); // A comma without a value beside it.
      for (const member of members) (value as unknown[]).push(member);
    } else {
      const members = Object.entries(JSON.parse(`{${text}}`) as object);
      if (members.length === 0) throw new NotJson();
      for (const [key, member] of members) define(value as object, key, member);
      frame.members += members.length;
      if (frame.members > MAX_MEMBERS) this.values = Number.POSITIVE_INFINITY;
    }
  }

  #requireBlank(from: number, to: number): void {
    if (/[^ \t\r\n]/.test(this.#text(from, to))) throw new NotJson();
  }

  #text(from: number, to: number): string {
    return this.#bytes.toString('utf8', from, to);
  }
}

/** As `JSON.parse` does: an own property, also for `__proto__`, and the last of equal keys wins. */
function define(target: object, key: string, value: unknown): void {
  if (key !== '__proto__') (target as { [key: string]: unknown })[key] = value;
  else Object.defineProperty(target, key, { value, writable: true, enumerable: true, configurable: true });
}
