import { foldEvent } from '../../../shared/events.ts';
import { describeEventLog } from '../conformance/store.ts';
import { openSqliteLog } from './log.ts';

// A file of its own, so that it runs beside the suite of a log in a file.
describeEventLog(
  'SQLite in memory',
  async () => ({
    open: (options) => openSqliteLog({ path: ':memory:', fold: foldEvent, ...options }),
    remove: async () => {},
  }),
  { isPersistent: false },
);
