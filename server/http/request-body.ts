import type { IncomingMessage } from 'node:http';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { RunwireError } from '../../shared/errors.ts';

/** Bodies of requests that publish. */

const inflate = promisify(gunzip);
/** Facets are nested a few levels deep, query plans some tens. */
const DEPTH_LIMIT = 500;

/** The bytes of a body, at most `limitBytes`; throws `TOO_LARGE`, or `INVALID_INPUT` when the client breaks off. */
async function readBytes(request: IncomingMessage, limitBytes: number): Promise<Buffer> {
  if (Number(request.headers['content-length'] ?? 0) > limitBytes) throw tooLarge(limitBytes);
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    // The rest of what is too large is still to be read, by whoever refuses it.
    for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > limitBytes) throw tooLarge(limitBytes);
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof RunwireError) throw error;
    throw new RunwireError('INVALID_INPUT', 'the request broke off');
  }
  return Buffer.concat(chunks);
}

/**
 * The text of a body, perhaps gzipped, of at most `limitBytes` as sent and as inflated: of a longer one, no more than
 * that is inflated. Throws `TOO_LARGE`, and `INVALID_INPUT` for what breaks off or is not UTF-8.
 */
export async function readText(request: IncomingMessage, limitBytes: number): Promise<string> {
  const encoding = (request.headers['content-encoding'] ?? 'identity').trim().toLowerCase();
  if (!['identity', 'gzip', 'x-gzip'].includes(encoding)) {
    throw new RunwireError('INVALID_INPUT', 'the body must be gzipped or not compressed', { path: 'content-encoding' });
  }
  let bytes = await readBytes(request, limitBytes);
  if (encoding !== 'identity') {
    try {
      bytes = await inflate(bytes, { maxOutputLength: limitBytes });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(limitBytes);
      throw new RunwireError('INVALID_INPUT', 'the body is not gzip, or not all of it');
    }
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    // Replacement characters would be stored as if they had been sent.
    throw new RunwireError('INVALID_INPUT', 'the body is not UTF-8');
  }
}

/** Parses JSON that is not nested too deeply; undefined is no JSON. The messages of JSON.parse quote what they read. */
export function parseJson(text: string): unknown {
  if (isDeeper(text, DEPTH_LIMIT)) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** The JSON of a body; throws as {@link readText}, and `INVALID_INPUT`. */
export async function readJson(request: IncomingMessage, limitBytes: number): Promise<unknown> {
  const value = parseJson(await readText(request, limitBytes));
  if (value === undefined) throw new RunwireError('INVALID_INPUT', 'the body is not JSON, or nested too deeply');
  return value;
}

/** Whether brackets nest deeper than that. JSON.parse would take seconds over 8 MiB of them, and recursion not end well. */
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
