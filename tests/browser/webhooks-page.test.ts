import { AxeBuilder } from '@axe-core/playwright';
import type { Page } from 'playwright';
import { expect, onTestFinished, test } from 'vitest';
import { created, startServer } from '../support/harness.ts';
import { quick, Receiver, verify } from '../webhooks/kit.ts';
import { openTab, signIn, withBrowser } from './page-harness.ts';

/** Run `npm run build` first. */

withBrowser();

async function openSettings(path = '/settings/webhooks') {
  const server = await startServer({ webhookAllow: ['127.0.0.1'], webhookRetries: { ...quick, maxRefusals: 2 } });
  onTestFinished(() => server.close());
  const page = await openTab({ expectedErrors: /4\d\d/ });
  await signIn(page, server.url);
  await page.goto(server.url + path);
  const publish = (...runs: string[]) =>
    server.bus.publish(
      runs.map((run) => created(run)),
      { actor: 'ci' },
    );
  return { server, page, publish };
}

const shows = (page: Page, text: string | RegExp) => page.getByText(text).first().waitFor();
const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true });
const dialog = (page: Page) => page.getByRole('dialog');

async function expectNoFinding(page: Page): Promise<void> {
  const { violations } = await new AxeBuilder({ page })
    .setLegacyMode()
    .withTags(['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa'])
    .analyze();
  expect(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])).toEqual([]);
}

test('[O16] a webhook is made from a ready filter, tested, and shows its secret once and its deliveries', async () => {
  await using receiver = await Receiver.open();
  const { page, publish } = await openSettings();
  await publish('r0');
  await shows(page, 'Tell another system when runs fail or approvals wait.');
  await expectNoFinding(page);
  await page.getByRole('link', { name: 'Everything' }).click();
  await shows(page, 'matches 1 event of the last 24 h');
  await shows(page, '"type": "run.created"');
  await page.getByLabel('Shape').selectOption('slack');
  await shows(page, '"type": "plain_text"');
  await page.getByLabel('Shape').selectOption('json');
  await page.getByLabel('Address').fill('https://10.0.0.1/');
  await button(page, 'Create webhook').click();
  await shows(page, /is inside the network of the server/);
  await expect.poll(() => page.getByLabel('Address').getAttribute('aria-invalid')).toBe('true');
  await page.getByLabel('Address').fill(receiver.url);
  await button(page, 'Send a test').click();
  await shows(page, '204 taken');
  expect(receiver.received[0]?.body.type).toBe('webhook.test');
  await expectNoFinding(page);
  await button(page, 'Create webhook').click();
  const secret = await page.locator('.webhook-secret code').innerText();
  await publish('r1');
  await receiver.until(() => receiver.received.length === 2);
  const [, message] = receiver.received;
  expect(verify(message as NonNullable<typeof message>, secret)).toMatchObject({ data: { runId: 'r1' } });
  await page.getByRole('link', { name: 'Open the webhook' }).click();
  await shows(page, 'up to date');
  expect(await page.content()).not.toContain(secret);
  await page.getByRole('button', { name: /run\.created/ }).click();
  await shows(page, 'webhook-signature: v1,…');
  await shows(page, '"runId": "r1"');
  await expectNoFinding(page);
  await button(page, 'Send again').click();
  await receiver.until(() => receiver.received.length === 3);
  expect(receiver.received[2]?.id).toBe(message?.id);
});

test('[O16] dead letters are sent again or dropped, and a replay states how many events it sends', async () => {
  await using receiver = await Receiver.open(() => 400);
  const { server, page, publish } = await openSettings('/settings/webhooks/new?filter=all');
  await page.getByLabel('Address').fill(receiver.url);
  await button(page, 'Create webhook').click();
  await page.getByRole('link', { name: 'Open the webhook' }).click();
  await publish('r1', 'r2', 'r3');
  await page.getByRole('tab', { name: 'Dead letters 3' }).click();
  await page.getByText('Answer: answer').first().waitFor();
  await expectNoFinding(page);
  await button(page, 'Drop…').first().click();
  await dialog(page).getByText('Drop this dead letter?').waitFor();
  await button(page, 'Drop').click();
  await page.getByRole('tab', { name: 'Dead letters 2' }).waitFor();
  receiver.behaviour = () => 200;
  await button(page, 'Send all again').click();
  await receiver.untilTaken(2);
  await shows(page, /^No dead letters\./);
  await button(page, 'Replay from…').click();
  await dialog(page).getByText('Will send 3 events again, under the same ids.').waitFor();
  await expectNoFinding(page);
  await button(page, 'Replay').click();
  await receiver.untilTaken(3);
  await button(page, 'Pause').click();
  await button(page, 'Resume').waitFor();
  await page.getByText('paused', { exact: true }).waitFor();
  await button(page, 'Delete…').click();
  await expect.poll(() => button(page, 'Delete').isDisabled()).toBe(true);
  await dialog(page).getByRole('textbox').fill('Everything');
  await button(page, 'Delete').click();
  await shows(page, 'Tell another system when runs fail or approvals wait.');
  expect(await server.log.webhooks.load()).toEqual([]);
});

test('[O16] a change of the settings keeps what it does not name, and a rotated secret is shown once', async () => {
  const { server, page } = await openSettings();
  const { webhook } = server.router.createCaller({ principal: { sub: 'ada', projects: ['*'], roles: ['admin'] } });
  const filter = { projects: ['demo'], types: ['run.failed' as const], labels: { team: 'ml' } };
  const made = await webhook.create({ name: 'One', url: 'https://hooks.example.org/in', shape: 'teams', filter });
  const { id } = made.webhook;
  await page.goto(`${server.url}/settings/webhooks/${id}?tab=settings`);
  await page.getByLabel('Name').fill('Two');
  await page.getByLabel('run.completed').check();
  await button(page, 'Save').click();
  await page.getByRole('heading', { name: 'Two' }).waitFor();
  const types = ['run.failed', 'run.completed'];
  const { webhook: changed } = await webhook.get({ id });
  expect(changed).toMatchObject({ shape: 'teams', filter: { ...filter, types }, url: 'https://hooks.example.org/in' });
  await button(page, 'Rotate…').click();
  await button(page, 'Rotate').click();
  const secret = await page.locator('.webhook-secret code').innerText();
  expect(secret).toMatch(/^whsec_/);
  await button(page, 'Done').click();
  await shows(page, /2 secrets sign messages/);
  expect(await page.content()).not.toContain(secret);
});
