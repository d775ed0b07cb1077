import { silentBackplane } from '../../server/event-log/postgres/backplane.ts';
import { joinCluster } from '../../server/event-log/postgres/cluster.ts';
import { PostgresDatabase } from '../../server/event-log/postgres/database.ts';

/** A node in a process of its own, for tests that stop it. Reports each change of its lease, and its state in each turn. */

const database = new PostgresDatabase(process.argv[2] as string, () => undefined);
const cluster = await joinCluster({
  database,
  backplane: silentBackplane('test'),
  secret: 'secret of the test',
  tombstonesAfter: async () => [],
  renewEpoch: async () => undefined,
  onFailure: () => undefined,
});
const report = (at: string) => process.send?.({ at, isCurrent: cluster.isCurrent, isHeld: lease.isHeld });
const lease = cluster.nodes.lease('task', () => report('change'));
setInterval(() => report('turn'), 20);
