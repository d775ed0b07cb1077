import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { createPublisher, type PublisherDraft } from '../../client/publisher/index.ts';
import { RunwireError } from '../../shared/errors.ts';
import { REQUEST_LIMIT_DRAFTS } from '../../shared/protocol.ts';
import { describeError } from './errors.ts';
import { type TargetOptions, targetOf } from './target.ts';

/**
 * Maximum characters of a chunk. With {@link REQUEST_LIMIT_DRAFTS}, this keeps a chunk within one request: the server
 * stores a request whole or not at all.
 */
const CHUNK_CHARACTERS = 280_000;
/** Time for which a request is retried, in case the server restarts. */
const RETRY_FOR_MS = 15_000;

/** Publishes a file, or standard input (`-`): a JSON object, an array, or one object a line. Returns the exit code. */
export async function publish(file: string, options: TargetOptions): Promise<number> {
  const target = await targetOf(options);
  const drafts = parse(await read(file));
  if (drafts.length === 0) throw new RunwireError('INVALID_INPUT', 'the input contains no events');
  const total = { accepted: 0, duplicates: 0, seq: 0 };
  const publisher = createPublisher({
    url: target.url,
    token: target.token,
    retryForMs: RETRY_FOR_MS,
    onError: ({ message }, willRetry) => {
      if (willRetry) process.stderr.write(`runwire: ${message}; trying again\n`);
    },
  });
  let sent = 0;
  try {
    for (const chunk of chunksOf(drafts)) {
      const { accepted, duplicates, seq } = await publisher.publish(chunk);
      total.accepted += accepted;
      total.duplicates += duplicates;
      total.seq = Math.max(total.seq, seq);
      sent += chunk.length;
    }
  } catch (error) {
    process.stderr.write(`${describeIssues(error, sent).join('\n')}\n`);
    if (sent > 0) process.stderr.write(`runwire: the events before index ${sent} were stored, the others were not\n`);
    return 1;
  }
  process.stdout.write(`${JSON.stringify(total)}\n`);
  return 0;
}

async function read(file: string): Promise<string> {
  try {
    const input = file === '-' ? await text(process.stdin) : await readFile(file, 'utf8');
    return input.replace(/^\ufeff/, ''); // The byte order mark of Windows editors and PowerShell.
  } catch (error) {
    throw new Error(`cannot read ${file} (${(error as NodeJS.ErrnoException).code ?? 'failed'})`);
  }
}

/** Parses the whole input before anything is sent. */
function parse(input: string): PublisherDraft[] {
  const whole = parseJson(input);
  if (whole !== undefined) return (Array.isArray(whole) ? whole : [whole]) as PublisherDraft[];
  const lines = input.split('\n').flatMap((line, index) => (line.trim() === '' ? [] : [{ line, number: index + 1 }]));
  return lines.map(({ line, number }) => {
    const value = parseJson(line);
    // The error of JSON.parse is not shown, because it would quote the line.
    if (value === undefined) throw new RunwireError('INVALID_INPUT', `line ${number} is not JSON; nothing was sent`);
    return value as PublisherDraft;
  });
}

function parseJson(input: string): unknown {
  try {
    return JSON.parse(input);
  } catch {
    return undefined;
  }
}

function* chunksOf(drafts: PublisherDraft[]): Generator<PublisherDraft[]> {
  let chunk: PublisherDraft[] = [];
  let characters = 0;
  for (const draft of drafts) {
    const length = JSON.stringify(draft).length;
    if (chunk.length >= REQUEST_LIMIT_DRAFTS || (chunk.length > 0 && characters + length > CHUNK_CHARACTERS)) {
      yield chunk;
      chunk = [];
      characters = 0;
    }
    chunk.push(draft);
    characters += length;
  }
  if (chunk.length > 0) yield chunk;
}

/** Describes each issue in one line, with the index of the event in the whole input. */
function describeIssues(error: unknown, offset: number): string[] {
  if (!(error instanceof RunwireError) || error.issues.length === 0) return [`runwire: ${describeError(error)}`];
  return error.issues.map(({ index, path, message }) => {
    const where = path === '' ? `${index + offset}` : `${index + offset}.${path}`;
    return `runwire: ${error.code}: events.${where}: ${message}`;
  });
}
