import { openPostgresLog } from '../../server/event-log/postgres/log.ts';
import { createPhiGuard } from '../../server/phi/guard.ts';
import { EventBus } from '../../server/publishing/bus.ts';
import { OutboxMover } from '../../server/publishing/outbox-mover.ts';
import { foldOf } from '../../shared/event-table.ts';
import { runwireEvents } from '../../shared/events.ts';

/**
 * A process that moves the outbox. It always has the lease, so that two of them move at the same time: the lease spares work, and
 * what is promised must hold without it.
 */

const url = process.argv[2] as string;
const health = { report: () => undefined, note: () => undefined };
const log = await openPostgresLog({ url, fold: foldOf(runwireEvents) as never, health });
const guard = createPhiGuard(runwireEvents);
const bus = new EventBus({ registry: runwireEvents, log, health, phiPolicy: 'reject', guard });
const nodes = {
  lease: (_name: string, onChange: (isHeld: boolean) => void) => {
    queueMicrotask(() => onChange(true));
    return { isHeld: true, release: () => Promise.resolve() };
  },
};
if (!log.outbox) throw new Error('the log has no outbox');
new OutboxMover({ outbox: log.outbox, bus: bus as never, nodes, health });
process.once('disconnect', () => process.exit(0));
process.send?.('ready');
