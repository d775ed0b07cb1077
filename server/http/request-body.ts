import type { IncomingMessage } from 'node:http';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { RunwireError } from '../../shared/errors.ts';

/** Reads request bodies: bytes, text and JSON, each within a limit. */

const inflate = promisify(gunzip);
/** Maximum nesting of JSON. Real messages need less: OpenLineage facets have a few levels, query plans some tens. */
const DEPTH_LIMIT = 500;

/** Returns the bytes of a body. Throws `TOO_LARGE`, and `INVALID_INPUT` if the client disconnects before the end. */
async function readBytes(request: IncomingMessage, limitBytes: number): Promise<Buffer> {
  if (Number(request.headers['content-length'] ?? 0) > limitBytes) throw tooLarge(limitBytes);
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    // The request stays open when the loop ends early: the dispatcher discards the rest of a large body.
    for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > limitBytes) throw tooLarge(limitBytes);
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof RunwireError) throw error;
    throw new RunwireError('INVALID_INPUT', 'the request body is incomplete');
  }
  return Buffer.concat(chunks);
}

/**
 * Returns the text of a body, plain or gzipped. `limitBytes` applies both to the received and to the decompressed
 * bytes. Throws `TOO_LARGE`, and `INVALID_INPUT` for a body that is incomplete, not gzip as announced, or not UTF-8.
 */
export async function readText(request: IncomingMessage, limitBytes: number): Promise<string> {
  const encoding = (request.headers['content-encoding'] ?? 'identity').trim().toLowerCase();
  if (!['identity', 'gzip', 'x-gzip'].includes(encoding)) {
    throw new RunwireError('INVALID_INPUT', 'the body must be gzipped or uncompressed', { path: 'content-encoding' });
  }
  let bytes = await readBytes(request, limitBytes);
  if (encoding !== 'identity') {
    try {
      bytes = await inflate(bytes, { maxOutputLength: limitBytes });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(limitBytes);
      throw new RunwireError('INVALID_INPUT', 'the body is not gzip, or incomplete');
    }
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    // Invalid bytes are refused, not replaced: the log would otherwise contain text that the client did not send.
    throw new RunwireError('INVALID_INPUT', 'the body is not UTF-8');
  }
}

/**
 * Parses JSON. Returns undefined if the text is not JSON, or nested too deeply. The error of `JSON.parse` is not
 * thrown, because it would quote the text.
 */
export function parseJson(text: string): unknown {
  if (isDeeper(text, DEPTH_LIMIT)) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** Returns the JSON of a body. Throws like {@link readText}, and `INVALID_INPUT` for a body that is not JSON. */
export async function readJson(request: IncomingMessage, limitBytes: number): Promise<unknown> {
  const value = parseJson(await readText(request, limitBytes));
  if (value === undefined) throw new RunwireError('INVALID_INPUT', 'the body is not JSON, or nested too deeply');
  return value;
}

/**
 * Whether JSON is nested deeper than `levels`. Checked before parsing: `JSON.parse` takes seconds for 8 MiB of
 * brackets, and recursive functions would overflow the stack on the result.
 */
function isDeeper(json: string, levels: number): boolean {
  let depth = 0;
  let isText = false;
  for (let at = 0; at < json.length; at++) {
    const byte = json.charCodeAt(at);
    if (byte === 0x22) isText = !isText;
    else if (isText) at += byte === 0x5c ? 1 : 0;
    else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > levels) return true;
    } else if (byte === 0x5d || byte === 0x7d) depth--;
  }
  return false;
}

const tooLarge = (limitBytes: number) => new RunwireError('TOO_LARGE', `the body is larger than ${limitBytes} bytes`);
