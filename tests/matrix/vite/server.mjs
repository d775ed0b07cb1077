import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { PassThrough } from 'node:stream';
import { load, render } from './dist/server/entry-server.js';

/** The user's server. Between the fetches and the render it waits for the test. */

const { PORT, RUNWIRE_URL, RUNWIRE_TOKEN, GATE_URL } = process.env;
const manifest = JSON.parse(readFileSync(new URL('dist/client/.vite/manifest.json', import.meta.url), 'utf8'));
const script = manifest['entry-client.tsx'].file;

createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://localhost');
  if (pathname.startsWith('/assets/')) {
    response.setHeader('content-type', 'text/javascript');
    response.end(readFileSync(new URL(`dist/client${pathname}`, import.meta.url)));
    return;
  }
  const runId = searchParams.get('runId');
  if (!runId) return response.end('ready');
  try {
    const data = await load(RUNWIRE_URL, RUNWIRE_TOKEN, runId);
    await fetch(GATE_URL);
    response.setHeader('content-type', 'text/html');
    response.write('<!doctype html><link rel="icon" href="data:,"><div id="root">');
    const elements = new PassThrough();
    elements.pipe(response, { end: false });
    await render(data, elements);
    const json = JSON.stringify(data).replaceAll('<', '\\u003c');
    response.write(`</div><script id="data" type="application/json">${json}</script>`);
    response.end(`<script type="module" src="/${script}"></script>`);
  } catch (error) {
    response.writeHead(500).end(String(error?.stack));
  }
}).listen(Number(PORT), '127.0.0.1');
