import { StrictMode } from 'react';
import { afterEach, beforeEach, expect, inject, onTestFinished, test, vi } from 'vitest';
import { render } from 'vitest-browser-react';
import { RunMonitor } from './new-app/web/RunMonitor.tsx';

/** The page of the former system's application, with its own server. */

const ask = async (action: string, body: object = {}) =>
  (await fetch(`${inject('control')}/${action}`, { method: 'POST', body: JSON.stringify(body) })).json();

let url = '';
beforeEach(async () => {
  const { port } = await ask('formerApp');
  url = `http://localhost:${port}`;
  vi.stubGlobal('process', { env: { REACT_APP_WEBSOCKET_URL: `ws://localhost:${port}/ws` } });
});
afterEach(() => void vi.unstubAllGlobals());

/** Calls the application; the page cannot read the answer, which is of another origin. */
const call = (path: string, body: object) =>
  fetch(`${url}/api/${path}`, { method: 'POST', mode: 'no-cors', body: JSON.stringify(body) });
const shows = (id: string, text: string) =>
  expect.poll(() => document.querySelector(`[data-testid="${id}"]`)?.textContent, { timeout: 30_000 }).toBe(text);
const progress = () => document.querySelector<HTMLProgressElement>('[data-testid="progress"]')?.value;

async function monitor(runId: string) {
  const who = { projectId: 'p1', userId: 'ann' };
  const page = await render(
    <StrictMode>
      <RunMonitor runId={runId} {...who} />
    </StrictMode>,
  );
  onTestFinished(() => page.unmount());
  await shows('connection', 'live');
  return who;
}

test('[K17] the former page follows its run over a lost connection, and other runs change nothing', async () => {
  const who = await monitor('r1');
  await shows('state', 'connected');
  await call('start/r2', who);
  await call('finish/r2', { ...who, approved: true });
  await call('start/r1', who);
  await expect.poll(progress).toBe(100);
  await shows('governance', 'governance.required');
  await shows('outcome', 'running');

  // What is sent while the page is cut off is delivered once it is back.
  await ask('cutFormerApp');
  await call('finish/r1', { ...who, approved: true });
  await shows('outcome', 'completed r1');
  await shows('governance', 'governance.required, approval.granted');
  await shows('connection', 'live');
});

test('[K17] disconnect and reconnect of the former hook, and a run that fails', async () => {
  const who = await monitor('r3');
  const press = (name: string) =>
    [...document.querySelectorAll('button')].find(({ textContent }) => textContent === name)?.click();
  press('Disconnect');
  await shows('connection', 'offline');
  await shows('state', 'DISCONNECTED');
  press('Reconnect');
  await shows('connection', 'live');
  await call('start/r3', who);
  await call('finish/r3', { ...who, approved: false });
  await shows('outcome', 'failed: Export was refused');
  await shows('governance', 'governance.required, approval.denied');
});
