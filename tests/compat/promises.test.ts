import { readFileSync } from 'node:fs';
import { expect, onTestFinished, test, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { isValidWebSocketEvent } from '../../server/compat/index.ts';
import type { AnyWebSocketEvent } from '../../shared/compat-events.ts';
import { tokenOfClaims } from '../../shared/compat-names.ts';
import type { RunwireError } from '../../shared/errors.ts';
import { HEARTBEAT_MS } from '../../shared/protocol.ts';
import { Wire } from '../support/harness.ts';
import { notice, pages, start, until } from './former.ts';

/** The original design, sentence by sentence: what an application sends, and what its pages receive. The output is a table. */

vi.stubGlobal('WebSocket', WebSocket); // Node.js has one from version 22 on.

const document = readFileSync(new URL('../../docs/migrating.md', import.meta.url), 'utf8');
const run = { runId: 'r1', projectId: 'p1' };
const stage = { ...run, stageId: 's1', stageName: 'Extract' };
const data = {
  broadcastRunCreated: { ...run, runName: 'Cohort' },
  broadcastRunStarted: run,
  broadcastStageStarted: stage,
  broadcastStageProgress: { ...stage, progress: 140, message: 'rows' },
  broadcastStageCompleted: { ...stage, durationMs: 5 },
  broadcastStageFailed: { ...run, stageId: 's2', error: 'no rows' },
  broadcastArtifactCreated: { ...run, artifactId: 'a1', artifactName: 'table.csv' },
  broadcastGovernanceRequired: { ...run, approvalId: 'g1', reason: 'Export' },
  broadcastApprovalGranted: { ...run, approvalId: 'g1', grantedBy: 'bob' },
  broadcastApprovalDenied: { ...run, approvalId: 'g2', deniedBy: 'bob', reason: 'no' },
  broadcastRunCompleted: { ...run, durationMs: 9 },
  broadcastRunFailed: { ...run, error: 'late' },
};

test('[K21] what an application sent and its pages received is the table of docs/migrating.md, beside the promises of the original design', async () => {
  const { httpServer, url, manager, broadcaster } = await start();
  const collaboration = new WebSocketServer({ server: httpServer, path: '/collaboration' });
  collaboration.on('connection', (socket) => socket.send('another server'));
  onTestFinished(() => collaboration.close());
  const wanted = [{ ...run, userId: 'ann' }, { runId: 'r2', projectId: 'p2', userId: 'bob' }, { projectId: 'p1' }, {}];
  const opened = await pages(url, manager, wanted, 4 + 4 + 2 + 1);
  const names = ['of the run', 'of another run', 'of the project', 'of everything'];
  const { totalConnections } = manager.getStats();
  const other = new WebSocket(`${url.replace('http', 'ws')}/collaboration`);
  const greeting = await new Promise((resolve) => other.once('message', (text) => resolve(String(text))));
  other.close();

  for (const [method, fields] of Object.entries(data)) await broadcaster[method as keyof typeof data](fields as never);
  const reported = vi.spyOn(console, 'error').mockImplementation(() => undefined);
  const refusal = await broadcaster
    .broadcastStageProgress({ ...stage, progress: 1, message: 'SSN 123-45-6789' })
    .catch((error: RunwireError) => error);
  reported.mockRestore();
  await manager.broadcastToRun('r1', notice('to the run'));
  await manager.broadcastToProject('p1', notice('to the project'));
  await manager.broadcastToUser('ann', notice('to the user'));
  await manager.broadcastToAll(notice('to all'));
  const last = [['to the run', 'to the project', 'to the user', 'to all'], ['to all'], ['to the project', 'to all']];
  for (const [index, page] of opened.entries()) {
    await until(() =>
      expect(page.types()).toEqual(expect.arrayContaining(last[index] ?? ['to the project', 'to all'])),
    );
  }
  const own = (opened[0]?.messages ?? []) as AnyWebSocketEvent[];
  const twelve = own.filter(isValidWebSocketEvent);
  await using wire = await Wire.open(url, { token: tokenOfClaims({}) });
  await wire.call('query', 'auth.me');
  await manager.shutdown();
  const { code } = await wire.closed;

  const receivers = (type: string) => {
    const found = names.filter((_, index) => opened[index]?.types().includes(type));
    return found.length === names.length ? 'all pages' : `pages ${found.join(', ')}`;
  };
  const rows = [
    ['Initialize WebSocket server at `/ws`', 'four pages connect', `${totalConnections} connections in \`getStats()\``],
    ['Send to all connected clients', '`broadcastToAll`', receivers('to all')],
    ['Send to run-specific subscribers', '`broadcastToRun`', receivers('to the run')],
    ['Send to project subscribers', '`broadcastToProject`', receivers('to the project')],
    ["Send to user's clients", '`broadcastToUser`', receivers('to the user')],
    ...Object.entries(data).map(([method, fields], index) => {
      const { type = '', payload = {} } = twelve[index] ?? {};
      const name = method.replace('broadcast', '').replace(/(?!^)[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
      const same = Object.keys(fields).every((key) => Object.hasOwn(payload, key)) ? 'the same' : 'not all';
      const added = Object.keys(payload).filter((key) => !Object.hasOwn(fields, key));
      const received = `\`${type}\`: ${[same, ...added].join(', and ')}; ${receivers(type)}`;
      return [name, `\`${method}\`: ${Object.keys(fields).join(', ')}`, received];
    }),
    ['Stage progress (0-100%)', '140', `${twelve.find(({ type }) => type === 'stage.progress')?.payload.progress}`],
    [
      'Automatic timestamp generation',
      'no timestamp',
      `one in ${twelve.filter(({ timestamp }) => new Date(timestamp).toISOString() === timestamp).length} of ${twelve.length} events`,
    ],
    ['`isValidWebSocketEvent()`', 'the twelve received events', `true for ${twelve.length}`],
    [
      'PHI-safe payload validation',
      'a text with a social security number',
      `\`${(refusal as RunwireError).code}\`; no page`,
    ],
    ['Heartbeat: ping every 30s, timeout 60s', '–', `${HEARTBEAT_MS / 1_000} s, ${(2 * HEARTBEAT_MS) / 1_000} s`],
    ['Both servers share HTTP server', 'a connection to `/collaboration`', `its own server's message: “${greeting}”`],
    ['Graceful shutdown', '`shutdown()`', `close code ${code}`],
  ];
  const table = rows.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
  expect(own.some(({ payload }) => JSON.stringify(payload).includes('6789'))).toBe(false);
  expect(document).toContain(`| the original design | sent | received |\n|---|---|---|\n${table}\n`);
});
