import { connect } from 'node:net';
import { type HttpAnswer, judgeAnswer } from './judge.ts';
import { BOUND_MS, type Outcome } from './ws.ts';

/** Plays an HTTP case: writes its bytes to a TCP socket, and parses the responses. */

export type HttpCase = {
  face: 'http';
  kind: string;
  /** Pieces in base64, each written in a turn of its own. */
  pieces: string[];
  /**
   * `answers`: the number of requests. `refusal`: no request may be executed. `any`: a response or a close, or, for an
   * incomplete request, neither.
   */
  expects: { answers: number } | 'refusal' | 'any';
  /** The connection is reset after this time. */
  breaksOffMs?: number;
};

/** Parses the responses in order. An incomplete last one is dropped. */
function answersIn(text: string): HttpAnswer[] {
  const answers: HttpAnswer[] = [];
  let rest = text;
  for (;;) {
    const head = /^HTTP\/1\.1 (\d{3})[^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n/.exec(rest);
    if (!head) return answers;
    const status = Number(head[1]);
    const lines = (head[2] as string).split('\r\n').filter(Boolean);
    const headers = Object.fromEntries(
      lines.map((line) => {
        const at = line.indexOf(':');
        return [line.slice(0, at).toLowerCase(), line.slice(at + 1).trim()];
      }),
    );
    rest = rest.slice(head[0].length);
    if (status === 100) continue;
    let body = '';
    if (headers['transfer-encoding'] === 'chunked') {
      for (let chunk = chunkOf(rest); chunk; chunk = chunkOf(rest)) {
        body += chunk.text;
        rest = rest.slice(chunk.length);
        if (chunk.text === '') break;
      }
    } else {
      // A response to HEAD has a length and no body; one without a length extends to the end.
      const isBodiless = rest === '' || rest.startsWith('HTTP/1.1 ');
      const length = isBodiless ? 0 : Number(headers['content-length'] ?? rest.length);
      if (rest.length < length) return answers;
      body = rest.slice(0, length);
      rest = rest.slice(length);
    }
    answers.push({ status, headers, body });
  }
}

function chunkOf(text: string): { text: string; length: number } | undefined {
  const size = /^([0-9a-f]+)\r\n/i.exec(text);
  if (!size) return undefined;
  const bytes = Number.parseInt(size[1] as string, 16);
  const length = size[0].length + bytes + 2;
  return text.length < length ? undefined : { text: text.slice(size[0].length, size[0].length + bytes), length };
}

/** Plays a case against a server, and returns the outcome. */
export function playHttp(port: number, { kind, pieces, expects, breaksOffMs }: HttpCase): Promise<Outcome> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    let text = '';
    let isOver = false;
    const done = (problem?: string) => {
      if (isOver) return;
      isOver = true;
      clearTimeout(patience);
      socket.destroy();
      const answers = answersIn(text);
      const outcomes = answers.length > 0 ? answers.map(({ status }) => String(status)) : ['no answer'];
      const isTaken = expects === 'refusal' && answers.some(({ status }) => status < 300);
      const found = [
        problem,
        isTaken ? `was not refused: ${outcomes.join()}` : undefined,
        ...answers.map((answer) => judgeAnswer(answer, typeof expects === 'object')),
      ].find((each) => each !== undefined);
      const inputs = typeof expects === 'object' ? expects.answers : 1;
      resolve({ inputs, outcomes, ...(found === undefined ? {} : { problem: found }) });
    };
    /** A close without a response: correct if no request was complete. */
    const ended = () => {
      const answers = answersIn(text);
      const isMissing = typeof expects === 'object' && answers.length < expects.answers;
      done(isMissing ? `${answers.length} answers, not ${expects.answers}: ${text.slice(0, 200)}` : undefined);
    };
    const patience = setTimeout(
      () => (typeof expects === 'object' ? done(`${kind}: not answered within ${BOUND_MS} ms`) : done()),
      typeof expects === 'object' ? BOUND_MS : 700,
    );
    socket.on('error', ended);
    socket.on('end', ended);
    socket.on('close', ended);
    socket.on('data', (data) => {
      text += data.toString('latin1');
      // A stream does not end: its beginning is enough.
      if (text.includes('text/event-stream') && /\n\n/.test(text.slice(text.indexOf('\r\n\r\n') + 4))) ended();
    });
    socket.on('connect', async () => {
      if (breaksOffMs !== undefined) setTimeout(() => socket.resetAndDestroy(), breaksOffMs);
      for (const piece of pieces) {
        if (socket.destroyed || !socket.writable) break;
        await new Promise<void>((written) => socket.write(Buffer.from(piece, 'base64'), () => written()));
        if (pieces.length > 1) await new Promise(setImmediate);
      }
    });
  });
}
