import { expect, test } from 'vitest';
import { openSqlite } from './driver.ts';
import { migrate } from './schema.ts';
import { prepareStatements } from './statements.ts';

test('[G20] each order of approvals is read along an index, and nothing is sorted', () => {
  const db = openSqlite(':memory:');
  migrate(db, () => {
    throw new Error('an empty file has nothing to sign');
  });
  const sql: string[] = [];
  const prepare = (text: string) => {
    sql.push(text);
    return db.prepare(text);
  };
  prepareStatements({ prepare } as Parameters<typeof prepareStatements>[0]);
  const listed = sql.filter((text) => text.includes('removed_runs') && text.includes('ORDER BY'));
  expect(listed.length).toBeGreaterThanOrEqual(6);
  for (const text of listed) {
    const parameters = Array(text.split('?').length - 1).fill(1);
    const plan = db.prepare(`EXPLAIN QUERY PLAN ${text}`).all(...parameters) as { detail: string }[];
    const steps = plan.map(({ detail }) => detail);
    expect(steps.filter((step) => / a( |$)/.test(step)).every((step) => step.includes('USING INDEX approvals_'))).toBe(
      true,
    );
    expect(steps.filter((step) => step.includes('TEMP B-TREE'))).toEqual([]);
  }
  db.close();
});
