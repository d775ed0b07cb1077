import { exec } from 'node:child_process';
import type { Page } from 'playwright';
import { expect, test } from 'vitest';
import type { Role } from '../../server/auth/principal.ts';
import { tokenFor } from '../support/harness.ts';
import { draft, openApp, openTab, signIn, startProcess, withBrowser } from './page-harness.ts';

/** The inbox, the approval card, and its dialogs. */

withBrowser();

type App = Awaited<ReturnType<typeof openApp>>;

const of = (type: Parameters<typeof draft>[1], fields: object = {}) => draft('r1', type, fields);
const asked = (approvalId: string, title: string, fields: object = {}) =>
  of('governance.required', { approvalId, title, ...fields });
const inMs = (ms: number) => new Date(Date.now() + ms).toISOString();
const report = (sha: string, more: object = {}) =>
  of('artifact.created', {
    artifactId: 'report',
    name: 'report.html',
    kind: 'text/html',
    uri: 'https://files.example.org/report.html',
    sizeBytes: 412_000,
    sha256: sha.repeat(32),
    ...more,
  });

const tokenOf = (sub: string, roles: Role[] = ['viewer', 'approver']) => tokenFor({ sub, roles });
const openAs = async (sub: string, options: object = {}) => openApp({ token: await tokenOf(sub), ...options });
/** Opens a page of the same server for another user. */
async function openFor({ server }: Pick<App, 'server'>, sub: string, path: string, roles?: Role[], options = {}) {
  const page = await openTab(options);
  await signIn(page, server.url, await tokenOf(sub, roles));
  await page.goto(server.url + path);
  return page;
}
/** Decides by the API, as a user without a page. */
async function decideAs(
  { server }: Pick<App, 'server'>,
  sub: string,
  how: 'grant' | 'deny',
  approvalId: string,
  more = {},
) {
  const response = await fetch(`${server.url}/trpc/approval.${how}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await tokenOf(sub)}`, 'content-type': 'application/json' },
    body: JSON.stringify({ projectId: 'demo', runId: 'r1', approvalId, ...more }),
  });
  if (!response.ok) throw new Error(await response.text());
}
const cardOf = (page: Page, title: string) => page.getByRole('region', { name: title });
const approveOf = (page: Page, title: string) => cardOf(page, title).getByRole('button', { name: 'Approve…' });
const dialogOf = (page: Page) => page.getByRole('dialog');
const approve = (page: Page) => dialogOf(page).getByRole('button', { name: 'Approve', exact: true });
const deny = (page: Page) => dialogOf(page).getByRole('button', { name: 'Deny', exact: true });
const isLocked = async (page: Page, title: string) =>
  (await approveOf(page, title).getAttribute('aria-disabled')) === 'true';
const focused = (page: Page) => page.evaluate(() => document.activeElement?.textContent ?? '');
const storedOf = async ({ server }: Pick<App, 'server'>, approvalId: string, runId = 'r1') =>
  (await server.log.approvals.get('demo', runId, approvalId))?.approval;

test('[U30] the inbox lists what waits for the user, soonest expiry first, across projects', async () => {
  const { page, publish, open } = await openAs('vera');
  await publish(
    of('run.created', { name: 'Nightly' }),
    draft('r2', 'run.created', { name: 'Backfill', projectId: 'trials' }),
    asked('a1', 'No hurry', {}),
    asked('a2', 'Use 400 GPU hours', { expiresAt: inMs(40 * 60_000), requiredApprovals: 2 }),
    draft('r2', 'governance.required', {
      projectId: 'trials',
      approvalId: 'a1',
      title: 'Release the results',
      expiresAt: inMs(4 * 60_000),
    }),
    asked('a3', 'For somebody else', { approvers: ['bo'] }),
  );
  await open('/approvals');
  const rows = page.getByRole('grid').getByRole('row');
  await expect
    .poll(() => rows.locator('a').allTextContents())
    .toEqual(['Release the results', 'Use 400 GPU hours', 'No hurry']);
  await expect
    .poll(() => rows.nth(0).textContent())
    .toMatch(/trials · Backfill.*expires in [34] min.*requested by ada/);
  await expect.poll(() => rows.nth(1).textContent()).toMatch(/demo · Nightly.*0 of 2.*(39|40) min/);
  await page.getByRole('link', { name: 'Waiting for me 3' }).waitFor();
  // The first one is shown. A row that comes before it does not change the selection.
  await cardOf(page, 'Release the results').getByText('Backfill').waitFor();
  await publish(asked('a4', 'At once', { expiresAt: inMs(50_000) }));
  await expect.poll(() => rows.locator('a').first().textContent()).toBe('At once');
  await expect.poll(() => rows.nth(0).textContent()).toMatch(/expires in [45]\d s/);
  await cardOf(page, 'Release the results').waitFor();
  await rows.nth(2).click();
  await cardOf(page, 'Use 400 GPU hours').waitFor();
  await expect.poll(() => new URL(page.url()).searchParams.get('a')).toBe('demo/r1/a2');
  await page.reload();
  await cardOf(page, 'Use 400 GPU hours').waitFor();
  await page.getByRole('searchbox').fill('backf');
  await expect.poll(() => rows.count()).toBe(1);
  await page.getByRole('searchbox').fill('nothing of it');
  await page.goto(`${new URL(page.url()).origin}/approvals?q=nothing`);
  await page.getByRole('heading', { name: 'No approvals match' }).waitFor();
  await page.getByRole('link', { name: 'clear all filters' }).click();
  await expect.poll(() => rows.count()).toBe(4);
});

test('[U30] the other boxes list what the user asked for, what is decided, and what has expired', async () => {
  const { page, publish, open, server } = await openApp({
    token: await tokenOf('vera', ['viewer', 'approver', 'producer']),
  });
  await server.bus.publish([of('run.created', { name: 'Nightly' }), asked('a1', 'Mine to ask')], { actor: 'vera' });
  await publish(
    asked('a2', 'Approved one'),
    asked('a3', 'Denied one'),
    asked('a4', 'Late one', { requiredApprovals: 2, expiresAt: inMs(-1_000) }),
  );
  await decideAs({ server }, 'vera', 'grant', 'a2');
  await decideAs({ server }, 'bo', 'deny', 'a3', { reason: 'wrong cohort' });
  await open('/approvals?box=asked');
  await page.getByRole('row', { name: 'Mine to ask' }).waitFor();
  await cardOf(page, 'Mine to ask').getByText('You asked for this, so somebody else must approve.').waitFor();
  expect(await approveOf(page, 'Mine to ask').count()).toBe(0);
  await page.getByRole('link', { name: 'Decided' }).click();
  const decided = page.getByRole('grid', { name: 'Approvals: Decided' });
  await expect
    .poll(() => decided.getByRole('row').locator('a').allTextContents())
    .toEqual(['Denied one', 'Approved one']);
  await expect.poll(() => decided.getByRole('row').nth(0).textContent()).toMatch(/denied.*by bo/);
  await expect.poll(() => decided.getByRole('row').nth(1).textContent()).toMatch(/approved.*by you/);
  await page.getByRole('link', { name: 'Expired' }).click();
  const row = page.getByRole('row', { name: 'Late one' });
  await row.waitFor();
  await expect.poll(() => row.textContent()).toMatch(/0 of 2 approvals/);
  await cardOf(page, 'Late one')
    .getByText(/nobody decided in time \(0 of 2 approvals\)/)
    .waitFor();
});

test('[U30] an empty box states why, and a viewer has no box of own decisions', async () => {
  const { page, publish, open, server } = await openAs('vera');
  await open('/approvals');
  await page.getByRole('heading', { name: 'Nothing waits for you' }).waitFor();
  const viewer = await openFor({ server }, 'eve', '/approvals', ['viewer']);
  await viewer.getByText('You can see approvals, but deciding needs the role approver.').waitFor();
  expect(await viewer.getByRole('link', { name: 'Waiting for me' }).count()).toBe(0);
  await publish(of('run.created', { name: 'Nightly' }), asked('a1', 'Release'));
  await cardOf(page, 'Release').waitFor();
});

test('[U31] the card states the request, its reason, requester, quorum, evidence and expiry', async () => {
  const { page, publish, open } = await openAs('vera');
  const reason = Array.from({ length: 12 }, (_, n) => `Line ${n}`).join('\n');
  await publish(
    of('run.created', { name: 'Nightly', stages: [{ stageId: 's1', name: 'Align reads' }] }),
    report('ab'),
    of('artifact.created', { artifactId: 'odd', name: 'odd', uri: 'javascript:alert(1)' }),
    asked('a1', 'Release <b>it</b>', {
      reason,
      stageId: 's1',
      requestedBy: 'ci-bot',
      approvers: ['vera', 'bo', 'cy', 'di', 'ed'],
      requiredApprovals: 2,
      evidence: ['report', 'odd', 'missing'],
      expiresAt: inMs(45 * 60_000),
    }),
  );
  for (const path of ['/runs/demo/r1', '/approvals']) {
    await open(path);
    const card = cardOf(page, 'Release <b>it</b>');
    await card.getByText(/expires in 4\d min/).waitFor();
    await card.getByText('ci-bot').first().waitFor();
    await card.getByRole('link', { name: 'Align reads' }).waitFor();
    await card.getByRole('button', { name: 'Show 2 more' }).click();
    await card.getByText(/^vera, bo, cy, di, ed$/).waitFor();
    await card.getByText('0 of 2').first().waitFor();
    await card.getByText('412 kB').waitFor();
    await card.getByText('sha256 abababababab…').waitFor();
    const link = card.getByRole('link', { name: 'Open report.html at files.example.org' });
    await expect.poll(() => link.getAttribute('rel')).toBe('noopener noreferrer');
    await expect.poll(() => link.getAttribute('target')).toBe('_blank');
    await card.getByText('javascript:alert(1)').waitFor();
    expect(await card.locator('a[href^="javascript"]').count()).toBe(0);
    await card.getByText('no hash: its content cannot be checked').waitFor();
    await card.getByText('not published yet').waitFor();
    await card.getByText('You see everything up to event 4 · nothing has changed since you opened this').waitFor();
    const clamped = await card.locator('.reason').evaluate((box) => box.clientHeight);
    await card.getByRole('button', { name: 'Show all' }).click();
    expect(await card.locator('.reason').evaluate((box) => box.clientHeight)).toBeGreaterThan(2 * clamped);
  }
});

test('[U31] users with different rights see what they may do, as the server answers it', async () => {
  const { page, publish, open, server } = await openAs('vera');
  await publish(
    of('run.created', { name: 'Nightly' }),
    asked('a1', 'Release', { requestedBy: 'cy' }),
    asked('a2', 'Only bo', { approvers: ['bo'] }),
    asked('a3', 'Elsewhere', { authority: 'producer', reason: 'Review it at https://ci.example.org/jobs/7.' }),
  );
  const path = '/runs/demo/r1';
  await open(path);
  await approveOf(page, 'Release').waitFor();
  await cardOf(page, 'Only bo').getByText('You can look, but not decide: you are not among the approvers.').waitFor();
  await cardOf(page, 'Elsewhere').getByText('Decided in ada, not here.').waitFor();
  await cardOf(page, 'Elsewhere').getByRole('link', { name: 'at ci.example.org' }).waitFor();
  await expect.poll(() => page.getByRole('button', { name: /Approve…|Deny…/ }).count()).toBe(2);
  const viewer = await openFor({ server }, 'eve', path, ['viewer']);
  await cardOf(viewer, 'Release').getByText('needs the role approver in demo').waitFor();
  const requester = await openFor({ server }, 'cy', path);
  await cardOf(requester, 'Release').getByText('You asked for this, so somebody else must approve.').waitFor();
  for (const other of [viewer, requester]) {
    expect(
      await cardOf(other, 'Release')
        .getByRole('button', { name: /Approve…|Deny…/ })
        .count(),
    ).toBe(0);
  }
});

test('[U31] an approval of a run that ended has no buttons, and states how the run ended', async () => {
  const { page, publish, open } = await openAs('vera');
  await publish(of('run.created', { name: 'Nightly' }), asked('a1', 'Release'));
  await open('/runs/demo/r1');
  await approveOf(page, 'Release').click();
  await publish(of('run.failed', { error: { message: 'out of memory' } }));
  await dialogOf(page)
    .getByText(/The run ended first \(failed .*\)\. Nothing to decide\./)
    .waitFor();
  await dialogOf(page).getByRole('button', { name: 'Close' }).click();
  expect(await approveOf(page, 'Release').count()).toBe(0);
});

test('[U32] a whole approval needs the keyboard alone, and three presses from the inbox', async () => {
  const app = await openAs('vera');
  const { page, publish, open } = app;
  await publish(
    of('run.created', { name: 'Nightly' }),
    report('ab'),
    asked('a1', 'Release', { evidence: ['report'], reason: 'The board meets today' }),
  );
  await open('/');
  await page.getByText('Nightly').first().waitFor();
  await page.keyboard.press('g');
  await page.keyboard.press('a');
  await page.getByRole('heading', { name: 'Approvals' }).waitFor();
  await page.keyboard.press('a');
  await dialogOf(page).getByRole('heading', { name: 'Approve “Release”?' }).waitFor();
  await dialogOf(page).getByText('This is the last approval needed: the run goes on.').waitFor();
  await dialogOf(page).getByText('The board meets today').waitFor();
  await expect.poll(() => page.evaluate(() => document.activeElement?.tagName)).toBe('TEXTAREA');
  await page.keyboard.type('numbers match');
  await page.keyboard.press('Control+Enter');
  await page.getByText('Decision recorded').first().waitFor();
  expect(await storedOf(app, 'a1')).toMatchObject({
    status: 'granted',
    decisions: [{ decidedBy: 'vera', comment: 'numbers match', seenSeq: expect.any(Number), seenRunSeq: 3 }],
  });
});

test('[U32] two presses in a row never decide two approvals', async () => {
  const app = await openAs('vera');
  const { page, publish, open } = app;
  await publish(
    of('run.created', { name: 'Nightly' }),
    asked('a1', 'First', { expiresAt: inMs(600_000) }),
    asked('a2', 'Second', { expiresAt: inMs(900_000) }),
  );
  await open('/approvals');
  await approveOf(page, 'First').click();
  await approve(page).waitFor();
  await page.keyboard.press('Control+Enter');
  await page.keyboard.press('Control+Enter');
  await page.getByText('Approved.', { exact: true }).waitFor();
  await page.keyboard.press('Control+Enter');
  await expect.poll(() => focused(page)).toBe('Next: Second');
  await page.keyboard.press('Enter');
  await expect.poll(() => focused(page)).toBe('Second');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Control+Enter');
  await approveOf(page, 'Second').waitFor();
  expect(await dialogOf(page).count()).toBe(0);
  expect((await storedOf(app, 'a1'))?.status).toBe('granted');
  expect((await storedOf(app, 'a2'))?.status).toBe('pending');
});

test('[U32] the row of a decided approval leaves, its card stays, and Next leads to the heading of the soonest expiry', async () => {
  const { page, publish, open } = await openAs('vera');
  await publish(
    of('run.created', { name: 'Nightly' }),
    asked('a0', 'Soonest', { expiresAt: inMs(600_000) }),
    asked('a1', 'First', { expiresAt: inMs(900_000), requiredApprovals: 2 }),
    asked('a2', 'Last'),
  );
  await open('/approvals');
  await page.getByRole('row', { name: 'First' }).click();
  await page.mouse.move(5, 5);
  await expect.poll(() => focused(page)).toBe('First');
  await page.keyboard.press('d');
  await expect.poll(() => deny(page).getAttribute('aria-disabled')).toBe('true');
  await dialogOf(page).getByText('One denial is enough: the run will not go on from here.').waitFor();
  await page.keyboard.type('wrong cohort');
  await deny(page).click();
  await page.getByRole('row', { name: 'First' }).getByText('Denied').waitFor();
  await page.getByRole('button', { name: 'Next: Soonest' }).waitFor();
  await page.getByRole('row', { name: 'First' }).waitFor({ state: 'detached' });
  await cardOf(page, 'First').waitFor();
  await page.evaluate(() => {
    const lost = () =>
      setTimeout(() => document.activeElement === document.body && document.body.classList.add('lost'));
    document.addEventListener('focusout', lost);
  });
  await page.keyboard.press('Enter');
  await cardOf(page, 'Soonest').waitFor();
  await expect.poll(() => focused(page)).toBe('Soonest');
  expect(await page.locator('body.lost').count()).toBe(0);
});

test('[U34] decisions of users are no change: the own one is no notice, another one is a line', async () => {
  const app = await openAs('vera');
  const { page, publish, open } = app;
  await publish(of('run.created', { name: 'Nightly' }), asked('a1', 'Release', { requiredApprovals: 3 }));
  await open('/approvals');
  await approveOf(page, 'Release').waitFor();
  await decideAs(app, 'bo', 'grant', 'a1');
  await cardOf(page, 'Release').getByText('bo approved meanwhile').waitFor();
  await approveOf(page, 'Release').click();
  await approve(page).click();
  await page.getByRole('row', { name: 'Release' }).getByText('2 of 3').waitFor();
  await cardOf(page, 'Release')
    .getByText(/You approved .*One more approval is needed\./)
    .waitFor();
  expect(await page.locator('.changes').count()).toBe(0);
  expect(await cardOf(page, 'Release').getByText('approved meanwhile').count()).toBe(0);
});

test('[U33] a frozen server locks the buttons within 10 s, and they unlock when it answers', async () => {
  const server = await startProcess();
  const page = await openTab({ expectedErrors: /./ });
  await server.publish(of('run.created', { name: 'Nightly' }), asked('a1', 'Release', { requestedBy: 'ada' }));
  // The local user publishes and may not decide. Another user needs a token of the same server.
  const token = await server.tokenFor({ sub: 'vera', roles: ['viewer', 'approver'] });
  await signIn(page, server.origin, token);
  await page.goto(`${server.origin}/runs/demo/r1`);
  await expect.poll(() => isLocked(page, 'Release')).toBe(false);
  server.signal('SIGSTOP');
  await cardOf(page, 'Release')
    .getByText(/Locked: this page is not up to date \(no answer/)
    .waitFor();
  expect(await isLocked(page, 'Release')).toBe(true);
  await page.getByRole('status').getByText('Not live', { exact: true }).waitFor();
  server.signal('SIGCONT');
  await expect.poll(() => isLocked(page, 'Release')).toBe(false);
  await page.getByRole('status').getByText('Live', { exact: true }).waitFor();
});

test('[U33] offline with an open dialog: it locks, and unlocks when the network is back', async () => {
  const { page, publish, open } = await openAs('vera', { expectedErrors: /./ });
  await publish(of('run.created', { name: 'Nightly' }), asked('a1', 'Release'));
  await open('/approvals');
  await approveOf(page, 'Release').click();
  await dialogOf(page).getByRole('textbox').fill('numbers match');
  await page.context().setOffline(true);
  await expect.poll(() => approve(page).getAttribute('aria-disabled')).toBe('true');
  await dialogOf(page)
    .getByText(/Locked: this page is not up to date/)
    .waitFor();
  await page.keyboard.press('Control+Enter');
  await page.context().setOffline(false);
  await expect.poll(() => approve(page).getAttribute('aria-disabled')).toBe('false');
  await expect.poll(() => dialogOf(page).getByRole('textbox').inputValue()).toBe('numbers match');
  await approve(page).click();
  await page.getByText('Decision recorded').first().waitFor();
});

test('[U33] a server that goes away locks an open dialog, which keeps the text and unlocks by itself', async () => {
  const server = await startProcess();
  const page = await openTab({ expectedErrors: /./ });
  await server.publish(of('run.created', { name: 'Nightly' }), asked('a1', 'Release', { requestedBy: 'ada' }));
  const token = await server.tokenFor({ sub: 'vera', roles: ['viewer', 'approver'] });
  await signIn(page, server.origin, token);
  await page.goto(`${server.origin}/runs/demo/r1`);
  await approveOf(page, 'Release').click();
  await dialogOf(page).getByRole('textbox').fill('numbers match');
  await server.kill();
  await dialogOf(page)
    .getByText(/Locked: this page is not up to date \(connection lost/)
    .waitFor();
  await expect.poll(() => approve(page).getAttribute('aria-disabled')).toBe('true');
  await page.keyboard.press('Control+Enter');
  await server.start();
  await expect.poll(() => approve(page).getAttribute('aria-disabled')).toBe('false');
  await expect.poll(() => dialogOf(page).getByRole('textbox').inputValue()).toBe('numbers match');
  await approve(page).click();
  await page.getByText('Decision recorded').first().waitFor();
});

test('[U34] evidence that changes after the dialog was opened must be seen first', async () => {
  const app = await openAs('vera');
  const { page, publish, open } = app;
  await publish(of('run.created', { name: 'Nightly' }), report('ab'), asked('a1', 'Release', { evidence: ['report'] }));
  await open('/approvals');
  await approveOf(page, 'Release').click();
  await dialogOf(page).getByRole('textbox').fill('as read');
  await publish(report('cd', { sizeBytes: 413_000 }));
  const band = dialogOf(page).locator('.changes');
  await band.getByText('412,000 B · sha256 abababababab…').waitFor();
  await band.getByText('413,000 B · sha256 cdcdcdcdcdcd…').waitFor();
  await expect.poll(() => approve(page).getAttribute('aria-disabled')).toBe('true');
  await page.keyboard.press('Control+Enter');
  await band.getByRole('button', { name: 'I have seen it' }).click();
  await band.waitFor({ state: 'detached' });
  await expect.poll(() => dialogOf(page).getByRole('textbox').inputValue()).toBe('as read');
  await approve(page).click();
  await page.getByText('Decision recorded').first().waitFor();
  expect(await storedOf(app, 'a1')).toMatchObject({
    status: 'granted',
    decisions: [{ seenRunSeq: 4, comment: 'as read' }],
  });
});

test('[U34] a decision on a screen that lacks a change is refused, and the dialog shows the change', async () => {
  const app = await openAs('vera', { expectedErrors: /409/ });
  const { page, publish, open } = app;
  await publish(of('run.created', { name: 'Nightly' }), report('ab'), asked('a1', 'Release', { evidence: ['report'] }));
  await open('/runs/demo/r1');
  await approveOf(page, 'Release').click();
  // The decision reaches the server after an artifact that the page has not received.
  await page.route(
    '**/trpc/approval.grant*',
    async (route) => {
      await publish(report('cd'));
      await route.continue();
    },
    { times: 1 },
  );
  await approve(page).click();
  const band = dialogOf(page).locator('.changes');
  await band.getByText('sha256 cdcdcdcdcdcd…').waitFor();
  expect(await storedOf(app, 'a1')).toMatchObject({ status: 'pending' });
  await band.getByRole('button', { name: 'I have seen it' }).click();
  await approve(page).click();
  await page.getByText('Decision recorded').first().waitFor();
  expect(await storedOf(app, 'a1')).toMatchObject({ status: 'granted', decisions: [{ seenRunSeq: 4 }] });
});

test('[U35] of two approvers who race, one decides, and the other learns who, how and why, and keeps the text', async () => {
  const app = await openAs('vera');
  const { page, publish, open } = app;
  await publish(of('run.created', { name: 'Nightly' }), asked('a1', 'Release'));
  await open('/approvals');
  const bo = await openFor(app, 'bo', '/approvals');
  await approveOf(page, 'Release').click();
  await dialogOf(page).getByRole('textbox').fill('numbers match');
  await cardOf(bo, 'Release').getByRole('button', { name: 'Deny…' }).click();
  await dialogOf(bo).getByRole('textbox').fill('wrong cohort');
  await deny(bo).click();
  await bo.getByText('Decision recorded').first().waitFor();
  await dialogOf(page)
    .getByText(/bo denied this .*: .*wrong cohort/)
    .waitFor();
  await dialogOf(page).getByRole('button', { name: 'Copy your comment' }).waitFor();
  expect(await approve(page).count()).toBe(0);
  await dialogOf(page).getByRole('button', { name: 'Close' }).click();
  await cardOf(page, 'Release')
    .getByText(/Denied by bo/)
    .first()
    .waitFor();
  expect(await approveOf(page, 'Release').count()).toBe(0);
  expect((await storedOf(app, 'a1'))?.decisions).toHaveLength(1);
});

test('[U35] of two decisions sent at the same moment, the later one states the outcome', async () => {
  const app = await openAs('vera', { expectedErrors: /409/ });
  const { page, publish, open } = app;
  await publish(of('run.created', { name: 'Nightly' }), asked('a1', 'Release'));
  await open('/runs/demo/r1');
  await approveOf(page, 'Release').click();
  await page.route('**/trpc/approval.grant*', async (route) => {
    await decideAs(app, 'bo', 'grant', 'a1');
    await route.continue();
  });
  await approve(page).click();
  await dialogOf(page)
    .getByText(/bo approved this/)
    .waitFor();
  expect((await storedOf(app, 'a1'))?.decisions).toMatchObject([{ decidedBy: 'bo' }]);
});

test('[U35] with a quorum, both approvals count, and each page shows what is still needed', async () => {
  const app = await openAs('vera');
  const { page, publish, open } = app;
  await publish(of('run.created', { name: 'Nightly' }), asked('a1', 'Release', { requiredApprovals: 2 }));
  await open('/runs/demo/r1');
  const bo = await openFor(app, 'bo', '/runs/demo/r1');
  await approveOf(page, 'Release').click();
  await approveOf(bo, 'Release').click();
  await dialogOf(bo).getByText('One more approval is needed after yours.').waitFor();
  await approve(page).click();
  await cardOf(page, 'Release')
    .getByText(/You approved .*One more approval is needed\./)
    .waitFor();
  expect(await approveOf(page, 'Release').count()).toBe(0);
  await cardOf(page, 'Release').getByRole('button', { name: 'Deny…' }).waitFor();
  // The count of approvals changes under the eyes of the second one, which locks nothing.
  await dialogOf(bo).getByText('This is the last approval needed: the run goes on.').waitFor();
  await approve(bo).click();
  await cardOf(bo, 'Release')
    .getByText(/Approved by vera and you.*\(2 of 2\)/)
    .waitFor();
  await cardOf(page, 'Release')
    .getByText(/Approved by bo and you.*\(2 of 2\)/)
    .waitFor();
});

test('[U35] an approval that expires while its dialog is open can no longer be decided', async () => {
  const { page, publish, open } = await openAs('vera');
  await publish(of('run.created', { name: 'Nightly' }), asked('a1', 'Release', { expiresAt: inMs(8_000) }));
  await open('/approvals');
  await approveOf(page, 'Release').click();
  await dialogOf(page).getByRole('textbox').fill('numbers match');
  await dialogOf(page)
    .getByText(/expires in \d s/)
    .waitFor();
  await dialogOf(page)
    .getByText(/nobody decided in time \(0 of 1 approval\)/)
    .waitFor();
  expect(await approve(page).count()).toBe(0);
  await dialogOf(page).getByRole('button', { name: 'Copy your comment' }).waitFor();
});

test('[U36] a comment that seems to hold protected information is refused at its field and kept', async () => {
  const app = await openAs('vera', { expectedErrors: /422/ });
  const { page, publish, open } = app;
  await publish(of('run.created', { name: 'Nightly' }), asked('a1', 'Release'));
  await open('/approvals');
  await approveOf(page, 'Release').click();
  const field = dialogOf(page).getByRole('textbox');
  await field.fill('call the patient, phone 415-555-2671');
  await approve(page).click();
  await dialogOf(page)
    .getByText('Your comment seems to hold a telephone number. Take it out; it was not stored.')
    .waitFor();
  await expect.poll(() => field.getAttribute('aria-invalid')).toBe('true');
  await expect.poll(() => field.inputValue()).toBe('call the patient, phone 415-555-2671');
  await expect.poll(() => page.evaluate(() => document.activeElement?.tagName)).toBe('TEXTAREA');
  await field.fill('fine');
  await approve(page).click();
  await page.getByText('Decision recorded').first().waitFor();
  expect(await storedOf(app, 'a1')).toMatchObject({ status: 'granted', decisions: [{ comment: 'fine' }] });
});

test('[U36] a decision without an answer can be checked', async () => {
  const app = await openAs('vera', { expectedErrors: /./ });
  const { page, publish, open } = app;
  await publish(of('run.created', { name: 'Nightly' }), asked('a1', 'Release'), asked('a2', 'Second'));
  await open('/runs/demo/r1');
  await approveOf(page, 'Release').click();
  // The request is lost on its way.
  await page.route('**/trpc/approval.grant*', (route) => route.abort());
  await approve(page).click();
  await dialogOf(page).getByText('No answer yet. Your decision may or may not have arrived.').waitFor();
  await expect.poll(() => approve(page).getAttribute('aria-disabled')).toBe('true');
  await page.unroute('**/trpc/approval.grant*');
  await dialogOf(page).getByRole('button', { name: 'Check' }).click();
  await dialogOf(page).getByText('Your decision has not arrived. You can send it again.').waitFor();
  await approve(page).click();
  await dialogOf(page).waitFor({ state: 'detached' });
  expect((await storedOf(app, 'a1'))?.status).toBe('granted');
  // The answer is lost on its way back: the event of the decision arrives in its place.
  await approveOf(page, 'Second').click();
  await page.route('**/trpc/approval.grant*', async (route) => {
    await route.fetch();
    await route.abort();
  });
  await approve(page).click();
  await dialogOf(page).waitFor({ state: 'detached' });
  expect((await storedOf(app, 'a2'))?.status).toBe('granted');
});

test('[U36] a busy server recorded nothing, and the decision can be sent again', async () => {
  const app = await openAs('vera', { expectedErrors: /./ });
  const { page, publish, open } = app;
  await publish(of('run.created', { name: 'Nightly' }), asked('a1', 'Release'));
  await open('/runs/demo/r1');
  await approveOf(page, 'Release').click();
  const data = { code: 'TOO_MANY_REQUESTS', httpStatus: 429, runwireCode: 'RATE_LIMITED' };
  const json = { error: { code: -32029, message: 'too many requests', data } };
  await page.route('**/trpc/approval.grant*', (route) => route.fulfill({ status: 429, json }), { times: 1 });
  await approve(page).click();
  await dialogOf(page).getByText('The server is busy. Nothing was recorded. Try again.').waitFor();
  await approve(page).click();
  await dialogOf(page).waitFor({ state: 'detached' });
  expect((await storedOf(app, 'a1'))?.status).toBe('granted');
});

test('[U37] a text outlives the end of the session, for the same user alone, and nothing is sent by itself', async () => {
  const app = await openAs('vera', { expectedErrors: /./ });
  const { page, publish, open, server } = app;
  await publish(of('run.created', { name: 'Nightly' }), asked('a1', 'Release'));
  await open('/runs/demo/r1');
  await approveOf(page, 'Release').click();
  await dialogOf(page).getByRole('textbox').fill('numbers match');
  await page.context().clearCookies();
  await approve(page).click();
  await dialogOf(page)
    .getByText(/You are signed out\./)
    .first()
    .waitFor();
  await open(`/login?token=${await tokenOf('vera')}`);
  await open('/runs/demo/r1');
  await dialogOf(page).waitFor();
  await expect.poll(() => dialogOf(page).getByRole('textbox').inputValue()).toBe('numbers match');
  expect((await storedOf(app, 'a1'))?.decisions).toEqual([]);
  await page.context().clearCookies();
  await approve(page).click();
  await dialogOf(page)
    .getByText(/You are signed out\./)
    .first()
    .waitFor();
  await page.goto(`${server.url}/login?token=${await tokenOf('bo')}`);
  await open('/runs/demo/r1');
  await approveOf(page, 'Release').waitFor();
  await expect.poll(() => page.evaluate(() => sessionStorage.length)).toBe(0);
  expect(await dialogOf(page).count()).toBe(0);
});

test('[U38] at 390 × 844, a waiting run shows title, quorum, expiry and both buttons without scrolling', async () => {
  const { page, publish, open } = await openAs('vera', { viewport: { width: 390, height: 844 } });
  await publish(
    of('run.created', {
      name: 'Release cohort 2026-11 to the study team and to all its sites',
      stages: [{ stageId: 's1', name: 'Align reads' }],
      labels: { study: 'ABC-12', site: '7', kind: 'weekly' },
    }),
    of('run.started'),
    report('ab'),
    asked('a1', 'Release the results to the study team', {
      reason: 'Two reviewers are needed by SOP-12. '.repeat(20),
      evidence: ['report', 'missing'],
      requiredApprovals: 2,
      expiresAt: inMs(45 * 60_000),
    }),
  );
  await open('/runs/demo/r1');
  const card = cardOf(page, 'Release the results to the study team');
  await expect.poll(() => isLocked(page, 'Release the results to the study team')).toBe(false);
  const inView = (target: ReturnType<Page['locator']>) =>
    target.evaluate((element) => {
      const { top, bottom, left, right } = element.getBoundingClientRect();
      const at = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
      return top >= 0 && bottom <= innerHeight && left >= 0 && right <= innerWidth && element.contains(at);
    });
  expect(await inView(card.getByRole('heading'))).toBe(true);
  expect(await inView(card.getByText('0 of 2 approvals'))).toBe(true);
  expect(await inView(card.getByText(/expires in 4\d min/))).toBe(true);
  expect(await inView(card.getByRole('button', { name: 'Approve…' }))).toBe(true);
  expect(await inView(card.getByRole('button', { name: 'Deny…' }))).toBe(true);
});

test('[U38] in a narrow window, an approval of the inbox is a page of its own', async () => {
  const { page, publish, open } = await openAs('vera', { viewport: { width: 390, height: 844 } });
  await publish(
    of('run.created', { name: 'Nightly' }),
    asked('a1', 'First', { expiresAt: inMs(600_000) }),
    asked('a2', 'Second', { expiresAt: inMs(900_000) }),
  );
  await open('/approvals');
  await page.getByRole('row', { name: 'First' }).click();
  await cardOf(page, 'First').waitFor();
  expect(await page.getByRole('grid').count()).toBe(0);
  await page.getByText('Back to approvals (1 of 2)').waitFor();
  await page.getByRole('button', { name: 'Next', exact: true }).click();
  await cardOf(page, 'Second').waitFor();
  await expect.poll(() => page.getByRole('button', { name: 'Next', exact: true }).isDisabled()).toBe(true);
  await page.getByText('Back to approvals (2 of 2)').click();
  await page.getByRole('row', { name: 'First' }).waitFor();
  await page.goBack();
});

test('[U39] a decided approval is a line, which opens to each decision and what its author saw', async () => {
  const app = await openAs('vera');
  const { page, publish, open } = app;
  await publish(of('run.created', { name: 'Nightly' }), asked('a1', 'Release', { requiredApprovals: 2 }));
  await decideAs(app, 'bo', 'grant', 'a1', { comment: 'fine' });
  await open('/runs/demo/r1');
  await approveOf(page, 'Release').click();
  await approve(page).click();
  await page.getByText('Decision recorded').first().waitFor();
  await page.reload();
  const line = page.locator('summary').filter({ hasText: 'Release' });
  await line.getByText(/Approved by bo and you.*\(2 of 2\)/).waitFor();
  await line.click();
  const card = cardOf(page, 'Release');
  await card.getByText('What they saw: not recorded (decided by the API)').waitFor();
  await expect
    .poll(() => card.getByRole('link', { name: 'What they saw' }).getAttribute('href'))
    .toBe('/runs/demo/r1?at=3#approval');
});

test('[U39] the command that the card copies approves', async () => {
  const app = await openAs('vera', { permissions: ['clipboard-read', 'clipboard-write'] });
  const { page, server, open } = app;
  const runId = "it's-$(id)";
  await server.bus.publish(
    [
      draft(runId, 'run.created', { name: 'Nightly' }),
      draft(runId, 'governance.required', { approvalId: 'a1', title: 'Release' }),
    ],
    { actor: 'ada' },
  );
  await open(`/runs/demo/${encodeURIComponent(runId)}`);
  await cardOf(page, 'Release').getByRole('button', { name: 'Copy as command' }).click();
  await page.getByText('Command copied').first().waitFor();
  const command = await page.evaluate(() => navigator.clipboard.readText());
  const env = { PATH: process.env.PATH, RUNWIRE_TOKEN: await tokenOf('vera') };
  // The server is in this process, so the command runs beside it.
  const output = await new Promise<string>((resolve, reject) =>
    exec(command, { env }, (error, stdout) => (error ? reject(error) : resolve(stdout))),
  );
  expect(output).toContain('granted');
  expect(await storedOf(app, 'a1', runId)).toMatchObject({ status: 'granted', decisions: [{ seenRunSeq: 2 }] });
});

test('[U39] of an erased approval the outcome and the ids stay', async () => {
  const app = await openAs('vera');
  const { page, publish, open, server } = app;
  await publish(of('run.created', { name: 'Nightly' }), asked('a1', 'Release of patient 7', { reason: 'patient 7' }));
  await decideAs(app, 'bo', 'deny', 'a1', { reason: 'not patient 7' });
  const admin = server.router.createCaller({ principal: { sub: 'root', projects: ['*'], roles: ['admin'] } });
  for (const seq of [2, 3]) await admin.audit.erase({ seq, reason: 'asked by the patient' });
  await open('/approvals?box=decided');
  await page.getByRole('row', { name: '[erased]' }).click();
  const card = cardOf(page, '[erased]');
  await card
    .getByText(/Denied by bo/)
    .first()
    .waitFor();
  expect(await page.locator('main').textContent()).not.toContain('patient');
});
