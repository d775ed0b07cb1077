import type { Page } from 'playwright';
import { sampleRuns } from '../support/sample-runs.ts';

/** The pages and states of the web app, over the runs of `sampleRuns`. */

type Publishes = {
  bus: { publish(events: never[], options: { actor: string }): Promise<unknown> };
  router: { createCaller(context: never): unknown };
};

/** Publishes the sample runs, and decides some of their approvals. */
export async function fillWithSamples(server: object, nowMs = Date.now()): Promise<void> {
  const { bus, router } = server as Publishes;
  for (const { actor, events } of sampleRuns(nowMs)) await bus.publish(events as never[], { actor });
  const as = (sub: string) =>
    router.createCaller({ principal: { sub, projects: ['*'], roles: ['viewer', 'approver'] } } as never) as {
      approval: { grant(input: object): Promise<unknown>; deny(input: object): Promise<unknown> };
    };
  const release = { projectId: 'trials', runId: 'release-2026-11', approvalId: 'release' };
  await as('ann.berg').approval.grant({ ...release, comment: 'numbers match the protocol' });
  const audit = { projectId: 'trials', runId: 'site-audit-4', approvalId: 'open' };
  await as('bo.lindqvist').approval.deny({ ...audit, reason: 'the cohort is missing site 7; rerun the extract' });
}

export type View = {
  name: string;
  path: string;
  /** The page shows its content when it has this text. */
  shown: RegExp;
  /** What a user does on the page to come to the state. */
  act?: (page: Page) => Promise<unknown>;
  /** Undoes what outlives the page. */
  leave?: (page: Page) => Promise<unknown>;
};

const button = (name: string | RegExp) => (page: Page) => page.getByRole('button', { name }).first().click();

export const views: readonly View[] = [
  { name: 'runs', path: '/', shown: /Release cohort/ },
  { name: 'runs-filtered-empty', path: '/?text=nothing-like-this', shown: /No runs match/ },
  { name: 'run-running', path: '/runs/demo/backfill-39', shown: /Transform/ },
  { name: 'run-waiting', path: '/runs/trials/release-2026-11', shown: /Release the results/ },
  { name: 'run-failed', path: '/runs/ml/risk-model-v14-10', shown: /CUDA out of memory/ },
  { name: 'run-failed-stage', path: '/runs/ml/risk-model-v14-10?stage=s2', shown: /CUDA out of memory/ },
  { name: 'run-denied', path: '/runs/trials/site-audit-4', shown: /Site audit/ },
  { name: 'run-60-stages', path: '/runs/warehouse/marts-2026-11-26', shown: /Marts of the warehouse/ },
  { name: 'run-artifacts', path: '/runs/trials/release-2026-11?tab=artifacts', shown: /report\.html/ },
  { name: 'run-approvals', path: '/runs/trials/release-2026-11?tab=approvals', shown: /Release the results/ },
  { name: 'run-audit', path: '/runs/trials/release-2026-11?tab=audit', shown: /Audit/ },
  { name: 'run-event', path: '/runs/ml/risk-model-v14-10?event=6', shown: /deadlock/ },
  { name: 'run-time-travel', path: '/runs/trials/release-2026-11?at=8', shown: /event 8 of/i },
  { name: 'run-not-started', path: '/runs/demo/no-such-run', shown: /has not started/ },
  { name: 'approvals', path: '/approvals', shown: /Release the results/ },
  {
    name: 'approvals-card',
    path: '/approvals?box=mine&a=trials%2Frelease-2026-11%2Frelease',
    shown: /Release the results/,
  },
  { name: 'approvals-decided', path: '/approvals?box=decided', shown: /Open the audit/ },
  { name: 'approvals-expired', path: '/approvals?box=expired', shown: /Approvals/ },
  { name: 'search', path: '/search', shown: /Search/ },
  { name: 'search-results', path: '/search?q=memory', shown: /out of/ },
  { name: 'search-nothing', path: '/search?q=zzzzqqq', shown: /No events match/ },
  { name: 'operations', path: '/operations', shown: /delivered/ },
  { name: 'operations-clients', path: '/operations?tab=clients', shown: /worst lag first/ },
  { name: 'operations-record', path: '/operations?tab=record', shown: /One node\./ },
  { name: 'webhooks', path: '/settings/webhooks', shown: /Webhooks/ },
  { name: 'webhook-new', path: '/settings/webhooks/new', shown: /Shape/ },
  { name: 'help', path: '/', shown: /Release cohort/, act: (page) => page.keyboard.press('?') },
  { name: 'user-menu', path: '/', shown: /Release cohort/, act: button(/^Menu of/) },
  { name: 'project-menu', path: '/', shown: /Release cohort/, act: button(/^Project/) },
  {
    name: 'approval-dialog',
    path: '/approvals?box=mine&a=trials%2Frelease-2026-11%2Frelease',
    shown: /Release the results/,
    act: button('Approve…'),
  },
  {
    name: 'offline',
    path: '/approvals?box=mine&a=trials%2Frelease-2026-11%2Frelease',
    shown: /Release the results/,
    act: async (page) => {
      // Before the server has answered that the user may decide, there is nothing to lock.
      await page.getByRole('button', { name: 'Approve…' }).waitFor();
      await page.context().setOffline(true);
      await page
        .getByText(/Locked: this page is not up to date/)
        .first()
        .waitFor();
    },
    leave: (page) => page.context().setOffline(false),
  },
  { name: 'not-found', path: '/no/such/page', shown: /Page not found/ },
];

/** Opens a view and waits for its content. */
export async function openView(page: Page, origin: string, { path, shown, act }: View): Promise<void> {
  await page.goto(origin + path);
  await page.locator('body').filter({ hasText: shown }).waitFor();
  // Lazily loaded parts and the first live state have arrived.
  await page.locator('[aria-busy="true"], .skeleton').first().waitFor({ state: 'detached' });
  if (!act) return;
  await act(page);
  await page.locator('[role="dialog"], [role="menu"], .badge').last().waitFor();
}
