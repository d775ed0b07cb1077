import { Client } from 'pg';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { everyone } from '../support/harness.ts';
import { openNodes } from '../support/shared-log.ts';

/** `runwire_publish` with whole servers: one of them moves the drafts, and readers of all of them get the events. */

const postgres = inject('postgres');
const secret = 'a secret of the tests, 32 bytes long or more';

describe.skipIf(postgres === undefined)('the outbox with three servers, on PostgreSQL', () => {
  test('[M33] the server that moves the outbox is closed, another one goes on, and each event is logged once', async () => {
    await using cluster = await openNodes({}, { authSecret: secret });
    const client = new Client({ connectionString: cluster.databaseUrl });
    client.on('error', () => undefined);
    await client.connect();
    onTestFinished(() => client.end());
    let published = 0;
    const publish = async (count: number) => {
      for (let at = 0; at < count; at++) {
        const draft = { type: 'stage.progress', projectId: 'shop', runId: 'r1', stageId: 's1', done: ++published };
        await client.query('SELECT runwire_publish($1::jsonb)', [JSON.stringify(draft)]);
      }
    };
    const numbers = async () => {
      const { rows } = await client.query('SELECT payload FROM events ORDER BY seq');
      return rows.map(({ payload }) => (JSON.parse(payload) as { done: number }).done);
    };
    const expected = () => Array.from({ length: published }, (_, index) => index + 1);
    const mover = async () => {
      const { rows } = await client.query(
        `SELECT node_id FROM leases WHERE name = 'outbox' AND lease_until > clock_timestamp()`,
      );
      return rows[0]?.node_id as string | undefined;
    };
    await publish(5);
    await expect.poll(numbers).toEqual(expected());
    // On a busy machine, nobody may have the lease for a moment.
    let first: string | undefined;
    while (first === undefined) first = await mover();
    const holder = cluster.nodes.find(({ log }) => log.nodes.id === first);
    await publish(5);
    await holder?.close();
    await publish(5);
    await expect.poll(numbers).toEqual(expected());
    await expect.poll(async () => [undefined, first].includes(await mover())).toBe(false);
    const other = cluster.nodes.find((node) => node !== holder);
    expect(await other?.log.reached(published, 20_000)).toBe(true);
    const history = await other?.router.createCaller({ principal: everyone }).run.history({ runId: 'r1', limit: 100 });
    expect(history?.events.map((event) => (event as { done?: number }).done)).toEqual(expected());
  });

  test('[M34] the metrics of the server that moves the outbox count what was logged and refused', async () => {
    await using cluster = await openNodes({ count: 1 }, { authSecret: secret });
    const client = new Client({ connectionString: cluster.databaseUrl });
    await client.connect();
    const drafts = [{ type: 'run.started', projectId: 'shop', runId: 'r1' }, { type: 'unknown' }];
    await client.query('SELECT runwire_publish($1::jsonb)', [JSON.stringify(drafts)]);
    await client.end();
    const text = () => (cluster.nodes[0] as (typeof cluster.nodes)[number]).metrics.metrics();
    for (const line of ['moved_total 1', 'refused_total 1', 'waiting_seconds 0'])
      await expect.poll(text).toContain(`runwire_outbox_${line}\n`);
  });
});
