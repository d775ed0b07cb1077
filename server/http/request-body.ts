import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { createGunzip } from 'node:zlib';
import { type DraftIssue, RunwireError } from '../../shared/errors.ts';
import type { Turns } from '../slices.ts';
import type { Held } from './in-flight.ts';
import { JsonReader, MAX_VALUES, type Parsed } from './json.ts';
import { notANumberIn, withNulls } from './not-a-number.ts';

/**
 * The body of one request of a known user: as JSON or as lines of JSON, within limits. A handler checks the permission of
 * the user before it reads: reading costs memory and time. `limitBytes` applies both to the received and to the
 * decompressed bytes.
 */
export class RequestBody {
  readonly #request: IncomingMessage;
  readonly #held: Held;
  readonly #turns: Turns;

  constructor(request: IncomingMessage, held: Held, turns: Turns) {
    this.#request = request;
    this.#held = held;
    this.#turns = turns;
  }

  /**
   * Returns the JSON of the body. Throws `TOO_LARGE`; `INVALID_INPUT` for a body that is incomplete, not gzip as
   * announced, not UTF-8 or not JSON; `RATE_LIMITED` and `UNAVAILABLE` for too many bytes in flight. With `null` for
   * `notANumber`, `NaN` and `Infinity` are read as null; by default they are refused. With `isOptional`, an empty body is undefined.
   */
  async json(
    limitBytes: number,
    { notANumber, isOptional = false }: { notANumber?: null; isOptional?: boolean } = {},
  ): Promise<unknown> {
    const bytes = await this.#bytes(limitBytes);
    if (isOptional && bytes.length === 0) return undefined;
    let parsed = await new JsonReader(this.#turns).parse(bytes);
    if (parsed === 'not-json' && notANumber === null) {
      parsed = await new JsonReader(this.#turns).parse(await withNulls(bytes, this.#turns));
    }
    if (typeof parsed === 'object') return parsed.value;
    if (parsed === 'too-many-values') throw tooManyValues();
    const found = await notANumberIn(bytes, this.#turns);
    if (found) throw new RunwireError('INVALID_INPUT', NOT_A_NUMBER, { path: found });
    throw new RunwireError('INVALID_INPUT', 'the body is not JSON, or nested too deeply');
  }

  /**
   * Returns the values of a body with one JSON text a line. Throws as {@link json} does, `TOO_LARGE` for more than
   * `limitLines` lines, and `INVALID_EVENT` with an issue for each line that is not JSON.
   */
  async lines(limitBytes: number, limitLines: number): Promise<unknown[]> {
    const bytes = await this.#bytes(limitBytes);
    const lines = await this.#split(bytes, limitLines);
    const reader = new JsonReader(this.#turns);
    const issues: DraftIssue[] = [];
    const values: unknown[] = [];
    for (const [index, line] of lines.entries()) {
      if (bytes.length > SCAN_BYTES) await this.#turns.next(); // The reader itself does not wait for a short line.
      const parsed: Parsed = await reader.parse(line);
      if (parsed === 'too-many-values') throw tooManyValues();
      if (typeof parsed === 'object') values.push(parsed.value);
      else {
        const path = await notANumberIn(line, this.#turns);
        const message = path === undefined ? 'the line is not JSON, or nested too deeply' : NOT_A_NUMBER;
        issues.push({ index, path: path ?? '', message });
      }
    }
    if (issues.length > 0) throw new RunwireError('INVALID_EVENT', 'a line of the body is not JSON', { issues });
    return values;
  }

  /** Returns the lines that are not blank. */
  async #split(bytes: Buffer, limitLines: number): Promise<Buffer[]> {
    const lines: Buffer[] = [];
    let from = 0;
    let isBlank = true;
    for (let at = 0; at <= bytes.length; at++) {
      const byte = at < bytes.length ? (bytes[at] as number) : LINE_FEED;
      if (byte > SPACE) isBlank = false;
      else if (byte === LINE_FEED) {
        if (!isBlank && lines.push(bytes.subarray(from, at)) > limitLines) {
          throw new RunwireError('TOO_LARGE', `more than ${limitLines} events in one request`);
        }
        from = at + 1;
        isBlank = true;
      }
      if (at % SCAN_BYTES === SCAN_BYTES - 1) await this.#turns.next();
    }
    return lines;
  }

  async #bytes(limitBytes: number): Promise<Buffer> {
    const encoding = (this.#request.headers['content-encoding'] ?? 'identity').trim().toLowerCase();
    if (!['identity', 'gzip', 'x-gzip'].includes(encoding)) {
      throw new RunwireError('INVALID_INPUT', 'the body must be gzipped or uncompressed', { path: 'content-encoding' });
    }
    const received = await this.#received(limitBytes);
    const bytes = encoding === 'identity' ? received : await this.#inflated(received, limitBytes);
    // Invalid bytes are refused, not replaced: the log would otherwise contain text that the client did not send.
    if (!isUtf8(bytes)) throw new RunwireError('INVALID_INPUT', 'the body is not UTF-8');
    return bytes.indexOf(BYTE_ORDER_MARK) === 0 ? bytes.subarray(BYTE_ORDER_MARK.length) : bytes;
  }

  async #received(limitBytes: number): Promise<Buffer> {
    const request = this.#request;
    if (Number(request.headers['content-length'] ?? 0) > limitBytes) throw tooLarge(limitBytes);
    try {
      // The request stays open when the loop ends early: the dispatcher discards the rest of a large body.
      return await this.#collect(request.iterator({ destroyOnReturn: false }), limitBytes);
    } catch (error) {
      if (error instanceof RunwireError) throw error;
      throw new RunwireError('INVALID_INPUT', 'the request body is incomplete');
    }
  }

  async #inflated(received: Buffer, limitBytes: number): Promise<Buffer> {
    const gunzip = createGunzip({ chunkSize: SCAN_BYTES });
    gunzip.end(received);
    try {
      return await this.#collect(gunzip, limitBytes);
    } catch (error) {
      if (error instanceof RunwireError) throw error;
      throw new RunwireError('INVALID_INPUT', 'the body is not gzip, or incomplete');
    }
  }

  async #collect(source: AsyncIterable<Buffer>, limitBytes: number): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of source) {
      bytes += chunk.length;
      if (bytes > limitBytes) throw tooLarge(limitBytes);
      this.#held.add(chunk.length);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  }
}

const LINE_FEED = 0x0a;
const SPACE = 0x20;
const SCAN_BYTES = 64 * 1024;
const BYTE_ORDER_MARK = Buffer.from('\ufeff');
const NOT_A_NUMBER = 'NaN and Infinity are not JSON: send null, or leave the field out';

const tooLarge = (limitBytes: number) => new RunwireError('TOO_LARGE', `the body is larger than ${limitBytes} bytes`);
const tooManyValues = () => new RunwireError('TOO_LARGE', `the body has more than ${MAX_VALUES} values`);
