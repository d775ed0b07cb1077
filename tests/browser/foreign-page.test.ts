import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { chromium, type Page } from 'playwright';
import { expect, onTestFinished, test } from 'vitest';
import { keptLog, startServer } from '../support/harness.ts';
import { chromium as launchOptions } from './chromium.ts';
import { draft, openApp, rowOf, signIn, withBrowser } from './page-harness.ts';

/** How Chromium enforces the security headers: on pages of the app, and against pages of other origins. */

withBrowser();

/** Collects the policy violations of all later pages, as `directive: blocked URI`. */
async function violationsOn(page: Page): Promise<string[]> {
  const violations: string[] = [];
  await page.exposeFunction('reportViolation', (text: string) => void violations.push(text));
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', ({ effectiveDirective, blockedURI }) => {
      (window as never as { reportViolation(text: string): void }).reportViolation(
        `${effectiveDirective}: ${blockedURI}`,
      );
    });
  });
  return violations;
}

test('[N4] no page of the app violates its content security policy', async () => {
  const { page, publish, open } = await openApp();
  const violations = await violationsOn(page);
  const stages = Array.from({ length: 40 }, (_, index) => ({ stageId: `s${index}`, name: `Stage ${index}` }));
  await publish(
    draft('r1', 'run.created', { name: 'Nightly', stages, labels: { site: 'north' } }),
    draft('r1', 'run.started'),
    draft('r1', 'stage.started', { stageId: 's0' }),
    draft('r1', 'stage.progress', { stageId: 's0', progress: 40, message: '<img src=x onerror=alert(1)>' }),
    draft('r1', 'artifact.created', { artifactId: 'a1', name: 'report', uri: 'https://example.org/report' }),
    draft('r1', 'governance.required', { approvalId: 'g1', title: 'Release', approvers: ['ada'] }),
  );
  await open('/');
  await rowOf(page, 'Nightly').waitFor();
  await open('/?status=running&text=Night');
  await page.getByRole('status').getByText('Live').waitFor();
  await open('/runs/demo/r1?stage=s0');
  await rowOf(page, 'Stage 0').getByText('40 %').waitFor();
  // The policy forbids styles in markup only: styles that a script sets on an element apply.
  const styles = await page.locator('[style]').evaluateAll((all) => all.map((one) => one.getAttribute('style') ?? ''));
  expect(styles.some((style) => style.includes('translateY'))).toBe(true);
  await publish(draft('r1', 'stage.completed', { stageId: 's0', durationMs: 5 }));
  await rowOf(page, 'Stage 0').getByText('completed').waitFor();
  for (const key of ['+', '-', '?', 'Escape', 'e', 'j', 'Enter']) await page.keyboard.press(key);
  await open('/nowhere');
  await page.getByRole('heading').first().waitFor();
  expect(violations).toEqual([]);
});

test('[N4] the browser blocks injected scripts, styles, markup, frames and requests', async () => {
  const { page, server } = await openApp({ expectedErrors: /Content Security Policy|TrustedHTML|TrustedScript/ });
  const violations = await violationsOn(page);
  await page.goto(server.url);
  await page.getByText('No runs yet').waitFor();
  const attempts = {
    'require-trusted-types-for: trusted-types-sink': () => {
      const script = document.createElement('script');
      script.append('window.isBroken = true');
      document.body.append(script);
    },
    'script-src-elem': "import('http://127.0.0.1:9/script.js')",
    'style-src-elem': () => {
      const style = document.createElement('style');
      style.append('body { display: none }');
      document.head.append(style);
    },
    'style-src-attr': () => document.body.setAttribute('style', 'display: none'),
    'connect-src': () => void fetch('http://127.0.0.1:9/').catch(() => undefined),
    'img-src': () => {
      new Image().src = 'http://127.0.0.1:9/pixel';
    },
    'frame-src': () => {
      const frame = document.createElement('iframe');
      frame.src = 'http://127.0.0.1:9/';
      document.body.append(frame);
    },
    'base-uri': () => {
      const base = document.createElement('base');
      base.href = 'http://127.0.0.1:9/';
      document.head.append(base);
    },
  };
  for (const [directive, attempt] of Object.entries<string | (() => unknown)>(attempts)) {
    await page.evaluate(attempt).catch(() => undefined); // A blocked attempt may throw.
    await expect.poll(() => violations.join(), { message: directive }).toContain(directive);
  }
  expect(await page.evaluate(() => 'isBroken' in window)).toBe(false);
  const markup = page.evaluate(() => {
    document.body.innerHTML = '<b>markup</b>';
  });
  await expect(markup).rejects.toThrow(/TrustedHTML/);
  await page.getByText('No runs yet').waitFor();
});

/** Serves an empty page on another port, which the test fills with scripts. */
async function serveForeignPage(): Promise<{ port: number; cookies: (string | undefined)[] }> {
  const cookies: (string | undefined)[] = [];
  const http = createServer((request, response) => {
    cookies.push(request.headers.cookie);
    response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>foreign</title>');
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  onTestFinished(() => void http.close());
  return { port: (http.address() as AddressInfo).port, cookies };
}

/** Runs in a page: tries each way to use the cookie of a signed-in user, and resolves with the answers. */
const attack = (origin: string) => {
  const socket = (query: string) =>
    new Promise<string>((resolve) => {
      const ws = new WebSocket(`${origin.replace('http', 'ws')}/ws${query}`);
      ws.onopen = () => ws.send(JSON.stringify({ id: 1, method: 'query', params: { path: 'auth.me' } }));
      ws.onmessage = ({ data }) => resolve(`received ${data}`);
      ws.onclose = ({ code }) => resolve(`closed ${code}`);
    });
  const call = (path: string, init: RequestInit) =>
    fetch(origin + path, { credentials: 'include', ...init }).then(
      (response) => response.text().then((text) => `${response.type} ${text}`),
      () => 'no answer',
    );
  const embed = (tag: 'img' | 'script', path: string) =>
    new Promise<string>((resolve) => {
      const element = document.createElement(tag);
      element.onload = () => resolve('loaded');
      element.onerror = () => resolve('refused');
      try {
        element.src = origin + path;
        document.body.append(element);
      } catch {
        resolve('refused'); // The policy of the page blocks it.
      }
    });
  const body = JSON.stringify({ type: 'run.created', projectId: 'demo', runId: 'stolen', name: 'stolen' });
  return Promise.all([
    socket(''),
    socket('?connectionParams=0'),
    call('/trpc/auth.me', {}),
    call('/trpc/auth.me', { mode: 'no-cors' }),
    call('/trpc/auth.me', { headers: { 'x-forwarded-proto': 'https' } }),
    call('/metrics', {}),
    call('/api/v1/events', { method: 'POST', body, mode: 'no-cors' }),
    call('/api/v1/events', { method: 'POST', body, headers: { 'content-type': 'application/json' } }),
    embed('img', '/icon.svg'),
    embed('script', '/trpc/auth.me'),
  ]);
};

test('[N5] pages on another port or name, in a sandbox, or on a rebound name cannot use the cookie of the user', async () => {
  const { logger, lines } = keptLog();
  await using server = await startServer({ logger });
  const { port, cookies } = await serveForeignPage();
  const browser = await chromium.launch({
    ...launchOptions,
    args: [...launchOptions.args, '--host-resolver-rules=MAP *.example 127.0.0.1'],
  });
  onTestFinished(() => browser.close());
  const context = await browser.newContext();
  const page = await context.newPage();
  await signIn(page, server.url);
  await page.goto(server.url);
  await page.getByText('No runs yet').waitFor();

  // Control: a page of the app gets its user, so the attempts do work.
  const own = await page.evaluate(attack, server.url);
  expect(own.slice(0, 3).every((answer) => answer.includes('"sub":"ada"'))).toBe(true);
  expect(server.log.head).toBe(2);

  const isRefused = (answers: string[], name: string) => {
    expect(answers.slice(0, 3), name).toEqual(['closed 1006', 'closed 1006', 'no answer']);
    expect(answers.join(), name).not.toMatch(/ada|runwire|received|loaded/);
    expect(server.log.head, name).toBe(2);
  };
  // Another port is another origin of the same site: cookies ignore ports, and SameSite=Strict sends them.
  await page.goto(`http://127.0.0.1:${port}/`);
  isRefused(await page.evaluate(attack, server.url), 'another port');
  expect(cookies.join()).toContain('runwire_');
  await page.goto(`http://foreign.example:${port}/`);
  isRefused(await page.evaluate(attack, server.url), 'another name');
  await page.goto(`http://127.0.0.1:${port}/`);
  const sandboxed = await page.evaluate(
    ([source, origin]) =>
      new Promise<string[]>((resolve) => {
        window.onmessage = ({ data }) => resolve(data as string[]);
        const frame = document.createElement('iframe');
        frame.setAttribute('sandbox', 'allow-scripts');
        frame.srcdoc = `<body><script>(${source})(${JSON.stringify(origin)}).then((all) => parent.postMessage(all, '*'))</script>`;
        document.body.append(frame);
      }),
    [attack.toString(), server.url] as const,
  );
  isRefused(sandboxed, 'a sandbox');
  // DNS rebinding: the name resolves to the server, so origin and host match, and the cookie belongs to another name.
  const rebound = `http://rebound.example:${new URL(server.url).port}`;
  await page.goto(rebound);
  const answers = await page.evaluate(attack, rebound);
  expect(answers.join()).not.toContain('ada');
  expect(answers.slice(0, 2)).toEqual(['closed 4401', 'closed 4401']);
  expect(server.log.head).toBe(2);
  expect(lines.filter((line) => line.includes('"level":50'))).toEqual([]);
});

test('[N5] a page of another origin can neither frame the app nor keep a reference to its window', async () => {
  const { page, server } = await openApp({ expectedErrors: /Framing|frame-ancestors|Refused to (frame|display)/ });
  const { port } = await serveForeignPage();
  await page.goto(`http://127.0.0.1:${port}/`);
  await page.evaluate((src) => {
    const frame = document.createElement('iframe');
    frame.src = src;
    document.body.append(frame);
    return new Promise((resolve) => frame.addEventListener('load', resolve));
  }, server.url);
  expect(page.frames().map((frame) => frame.url())).toContain('chrome-error://chromewebdata/');
  const opened = page.context().waitForEvent('page');
  await page.evaluate((url) => {
    (window as never as { app: Window | null }).app = window.open(url);
  }, server.url);
  const app = await opened;
  await app.getByText('No runs yet').waitFor();
  expect(await page.evaluate(() => (window as never as { app: Window | null }).app?.closed)).toBe(true);
});
