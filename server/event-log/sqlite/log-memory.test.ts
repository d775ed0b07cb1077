import { foldEvent } from '../../../shared/events.ts';
import { describeEventLog } from '../conformance/store.ts';
import { sqliteDrivers } from './driver.ts';
import { openSqliteLog } from './log.ts';

// A file of its own, so that it runs beside the suite of a log in a file.
for (const driver of sqliteDrivers()) {
  describeEventLog(
    `SQLite in memory, by ${driver}`,
    async () => ({
      open: (options) => openSqliteLog({ path: ':memory:', driver, fold: foldEvent, ...options }),
      remove: async () => {},
    }),
    { isPersistent: false },
  );
}
