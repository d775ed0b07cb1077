import { expect, test } from 'vitest';
import type { StoredSession } from '../contract/sessions.ts';
import { type OpenLog, upTo } from './kit.ts';

/** Tests of the sessions of browsers (contract/sessions.ts). */
export function describeSessions(openLog: OpenLog): void {
  test('[A22] a session is stored once under its id, and all are returned, for any number', async () => {
    const { sessions } = await openLog();
    expect(await sessions.all()).toEqual([]);
    const stored = upTo(2_500).map((n): StoredSession => ({ id: `s${n}`, sealed: `${n}`, endsAtMs: n }));
    await Promise.all(stored.map((session) => sessions.put(session)));
    await sessions.put({ id: 's1', sealed: "'; --", endsAtMs: 9_999_999_999_999 });
    const all = await sessions.all();
    expect(all).toHaveLength(2_500);
    expect(all.find(({ id }) => id === 's1')).toEqual({ id: 's1', sealed: "'; --", endsAtMs: 9_999_999_999_999 });
    expect(await sessions.get('s1')).toEqual(all.find(({ id }) => id === 's1'));
    expect(await sessions.get('none')).toBeUndefined();
    await sessions.remove(stored.slice(1).map(({ id }) => id));
    await sessions.remove(['none']);
    expect(await sessions.all()).toHaveLength(1);
  });
}
