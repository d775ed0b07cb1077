import { readFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { namesOf } from '../publisher/kill.ts';
import { bundleScript } from '../support/bundle-script.ts';
import { startServer, tokenFor } from '../support/harness.ts';
import { openTab, withBrowser } from './page-harness.ts';

/** `runwire/publisher` at the end of a page, in Chromium. */

withBrowser();
let bundle: Awaited<ReturnType<typeof bundleScript>>;
beforeAll(async () => {
  bundle = await bundleScript('tests/browser/publisher-page-script.ts', 'browser');
});
afterAll(() => bundle[Symbol.dispose]());

/** Serves the page, and passes requests on to a server of Runwire, unless `isHeld` keeps them without an answer. */
async function setUp(isHeld: () => boolean = () => false) {
  const server = await startServer();
  const bodies: string[] = [];
  const http = createServer((incoming, outgoing) => {
    const path = (incoming.url ?? '').split('?', 1)[0];
    if (path === '/page') {
      outgoing.writeHead(200, { 'content-type': 'text/html' });
      return void outgoing.end(
        '<!doctype html><link rel=icon href=data:><body><script type=module src=/script.js></script>',
      );
    }
    if (path === '/script.js') {
      outgoing.writeHead(200, { 'content-type': 'text/javascript' });
      return void outgoing.end(readFileSync(bundle.path));
    }
    if (path === '/favicon.ico') return void outgoing.writeHead(204).end();
    if (path === '/elsewhere') return void outgoing.writeHead(200, { 'content-type': 'text/html' }).end('elsewhere');
    if (isHeld()) return void incoming.resume();
    const { method, url, headers } = incoming;
    const onward = request({ port: server.port, host: '127.0.0.1', method, path: url, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(outgoing);
    });
    let body = '';
    incoming.on('data', (chunk) => {
      body += chunk;
    });
    incoming.on('end', () => {
      bodies.push(body);
      onward.end(body);
    });
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    http.close();
    http.closeAllConnections();
    await server.close();
  });
  const origin = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  const token = await tokenFor();
  const page = await openTab();
  const open = async (query: Record<string, string>) => {
    await page.goto(`${origin}/page?${new URLSearchParams({ token, ...query })}`);
    await page.getByText('ready').waitFor();
  };
  return { server, bodies, origin, page, open };
}

test('[P14] what a page publishes while it goes is logged, for each of 15 pages', async () => {
  const { server, open, page, origin } = await setUp();
  const names = Array.from({ length: 15 }, (_, at) => `page${at}`);
  for (const name of names) {
    await open({ way: 'atTheEnd', name });
    // In one script, so that nothing is sent before the page goes.
    await page.evaluate((target) => {
      dispatchEvent(new Event('leave'));
      location.href = target;
    }, `${origin}/elsewhere`);
    await page.getByText('elsewhere').waitFor();
  }
  const expected = names.flatMap((name) => ['first', 'before', 'pagehide', 'hidden'].map((when) => `${name}-${when}`));
  await vi.waitFor(async () => expect((await namesOf(server)).toSorted()).toEqual(expected.toSorted()), 30_000);
});

test('[P14] of more than 64 KiB, the end of the run is sent first, then the oldest, in order', async () => {
  let isHeld = true;
  const { server, bodies, open, page, origin } = await setUp(() => isHeld);
  await open({ way: 'tooMuch' });
  isHeld = false;
  await page.goto(`${origin}/elsewhere`);
  await vi.waitFor(() => expect(server.log.head).toBeGreaterThan(0), 30_000);
  const names = await namesOf(server);
  expect(names.at(-1)).toBe('');
  const large = names.slice(0, -1).filter((name) => name !== 'small');
  expect(large).toEqual(large.map((_, at) => String(at)));
  expect(large.length).toBeGreaterThan(40);
  expect(bodies.map((body) => body.length > 50_000 && body.length <= 64 * 1024)).toEqual([true]);
});

test('[P13] a page has no spill file', async () => {
  const { open, page } = await setUp();
  await open({ way: 'spill' });
  await expect.poll(() => page.title()).toBe('a spill file needs Node.js');
});
