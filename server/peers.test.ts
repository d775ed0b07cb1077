import { expect, onTestFinished, test, vi } from 'vitest';
import type { NodeEntry, Nodes } from './event-log/contract/nodes.ts';
import { Peers } from './peers.ts';

type State = { calls?: object[]; answers?: { id: string }[] };

/** Two servers that share a log. Messages between them are lost, so that each reads the other's state alone. */
function openTwo() {
  const states: (() => object)[] = [];
  const nodesOf = (at: number) =>
    ({
      id: `node ${at}`,
      publishState: (read: () => object) => {
        states[at] = read;
      },
      list: async (): Promise<NodeEntry[]> =>
        states.map((read, index) => ({ id: `node ${index}`, isSelf: index === at, state: structuredClone(read()) })),
      send: () => undefined,
      receive: () => () => undefined,
    }) as unknown as Nodes;
  const health = { note: vi.fn() };
  const peers = [0, 1].map((at) => new Peers({ nodes: nodesOf(at), health }));
  onTestFinished(() => {
    for (const peer of peers) peer.close();
  });
  return { caller: peers[0] as Peers, answering: peers[1] as Peers, stateOf: (at: number) => states[at]?.() as State };
}

test('[M48] a call that is under way for long runs once, and its answer arrives without a message', async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const { caller, answering, stateOf } = openTwo();
  let runs = 0;
  answering.handle('work', () => {
    runs++;
    return new Promise((resolve) => setTimeout(() => resolve('done'), 40_000));
  });
  await vi.advanceTimersByTimeAsync(2_000); // Each has read the other's state.
  const answer = caller.call('work', {}, 60_000);
  await vi.advanceTimersByTimeAsync(39_000);
  expect(stateOf(0).calls).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(5_000);
  expect(await answer).toBe('done');
  expect(runs).toBe(1);
  // The answer leaves the state later than any copy of the call.
  expect(stateOf(1).answers).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(40_000);
  expect(stateOf(1).answers).toEqual([]);
  expect(runs).toBe(1);
});
