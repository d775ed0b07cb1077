import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { errorCodes } from '../../shared/errors.ts';
import { judgeAnswer, judgeError, judgeMessage } from './judge.ts';
import { play } from './run.ts';
import { canary } from './values.ts';
import { asked } from './ws.ts';

describe('the judge', () => {
  const fine = { code: 'FORBIDDEN', message: 'not allowed: publish' };

  test('[W17] the judge detects an echo, a stack, a path of the machine, an unknown code and an internal error', () => {
    expect(judgeError(fine)).toBeUndefined();
    expect(judgeError({ message: 'x', data: { runwireCode: 'INVALID_INPUT' } })).toBeUndefined();
    expect(judgeError({ ...fine, message: `not allowed: ${canary}` })).toContain('has');
    expect(judgeError({ ...fine, stack: 'Error: x\n    at publish (x.ts:1:1)' })).toContain('has');
    expect(judgeError({ ...fine, message: 'no such file: /tmp/x' })).toContain('has');
    expect(judgeError({ ...fine, message: 'SQLITE_BUSY' })).toContain('has');
    expect(judgeError({ ...fine, code: 'OTHER' })).toContain('no code');
    expect(judgeError({ ...fine, code: 'INTERNAL' })).toContain('internal');
    expect(judgeError(null)).toContain('no code');
    expect(judgeMessage('not JSON').problem).toContain('not JSON');
    expect(judgeMessage('PONG')).toEqual({});
    expect(Object.keys(errorCodes).filter((code) => judgeError({ code, message: 'x' }) !== undefined)).toEqual([
      'INTERNAL',
    ]);
  });

  test('[W17] the judge detects a wrong HTTP response', () => {
    const headers = { 'content-type': 'application/json', 'x-content-type-options': 'nosniff' };
    const refused = { status: 403, headers, body: JSON.stringify({ error: fine }) };
    expect(judgeAnswer(refused, true)).toBeUndefined();
    expect(judgeAnswer({ ...refused, status: 500 }, true)).toContain('server error');
    expect(judgeAnswer({ ...refused, headers: {} }, true)).toContain('headers');
    expect(judgeAnswer({ ...refused, headers: { ...headers, location: canary } }, true)).toContain('echo');
    expect(judgeAnswer({ ...refused, body: JSON.stringify({ error: fine, canary }) }, true)).toContain('should not');
    expect(judgeAnswer({ ...refused, body: '{' }, true)).toContain('not JSON');
    expect(judgeAnswer({ ...refused, body: '{}' }, true)).toContain('without one');
    // Published text may be read again.
    expect(judgeAnswer({ ...refused, status: 200, body: JSON.stringify({ result: canary }) }, true)).toBeUndefined();
    expect(judgeAnswer({ ...refused, status: 200, body: JSON.stringify({ failed_events: [canary] }) }, true)).toContain(
      'echo',
    );
  });

  test('[W17] the judge recognises the messages that need an answer', () => {
    const request = { id: 1, method: 'query', params: { path: 'x' } };
    expect(asked(JSON.stringify([request, { ...request, id: 'a' }]))).toEqual(['1', '"a"']);
    for (const wrong of [{ id: true }, { method: 'x' }, { params: 1 }, { params: { path: 1 } }, { jsonrpc: '1' }]) {
      expect(asked(JSON.stringify([request, { ...request, ...wrong }]))).toEqual([]);
    }
    expect(asked(JSON.stringify({ id: 1, method: 'subscription.stop' }))).toEqual([]);
    expect(asked('[')).toEqual([]);
  });

  test('[W17] the judge detects an echo, a missing response, and an executed ambiguous request', async () => {
    let answer = '';
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => socket.end(answer));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    const { port } = server.address() as AddressInfo;
    const pieces = [Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n').toString('base64')];
    const asks = (expects: { answers: number } | 'refusal' | 'any') =>
      play(port, { face: 'http', kind: 'a kind', pieces, expects });
    expect((await asks({ answers: 1 })).problem).toContain('0 answers');
    answer = 'HTTP/1.1 200 OK\r\nx-content-type-options: nosniff\r\ncontent-length: 2\r\n\r\nok';
    expect(await asks({ answers: 1 })).toEqual({ inputs: 1, outcomes: ['200'] });
    expect((await asks({ answers: 2 })).problem).toContain('1 answers');
    expect((await asks('refusal')).problem).toContain('not refused');
    answer = `HTTP/1.1 400 Bad Request\r\n\r\n${canary}`;
    expect((await asks('any')).problem).toContain('should not');
    answer = 'HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n';
    const ws = await play(port, { face: 'ws', kind: 'a kind', path: '/ws', headers: {}, steps: [] });
    expect(ws).toEqual({ inputs: 0, outcomes: ['400'] });
  });
});
