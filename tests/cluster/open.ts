import { inject, onTestFinished } from 'vitest';
import type { Principal } from '../../server/auth/principal.ts';
import { RunwireError } from '../../shared/errors.ts';
import type { RunEvent } from '../../shared/events.ts';
import { isSignal } from '../../shared/protocol.ts';
import { everyone, type Item, secret, tokenFor, Wire } from '../support/harness.ts';
import { type Node, type Nodes, openNodes } from '../support/shared-log.ts';

/** Three servers in this process, on one log in PostgreSQL, which the test ends. */

export const isAvailable = inject('postgres') !== undefined;
export const publisher = { actor: 'ci' };
export const callerOf = ({ router }: Pick<Node, 'router'>, principal: Principal = everyone) =>
  router.createCaller({ principal });
export const seqsOf = (items: readonly Item[]) =>
  items.filter((item): item is RunEvent => !isSignal(item)).map(({ seq }) => seq);
export const upwards = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index);
export const codeOf = async (promise: Promise<unknown>): Promise<string> => {
  const error = await promise.then(
    () => undefined,
    (reason: { cause?: unknown }) => (reason instanceof RunwireError ? reason : reason.cause),
  );
  return error instanceof RunwireError ? error.code : 'ok';
};

export type Opened = Nodes & { urls: string[]; a: Node; b: Node; c: Node };

export async function open(
  options: Parameters<typeof openNodes>[1] = {},
  of: Parameters<typeof openNodes>[0] = {},
): Promise<Opened> {
  const cluster = await openNodes(of, { authSecret: secret, ...options });
  onTestFinished(() => cluster[Symbol.asyncDispose]());
  const urls: string[] = [];
  for (const node of cluster.nodes) urls.push((await node.listen()).url);
  const [a, b, c] = cluster.nodes as [Node, Node, Node];
  return { ...cluster, urls, a, b, c };
}

export async function wireTo(url: string | undefined, sub = 'ada'): Promise<Wire> {
  const wire = await Wire.open(url as string, { token: await tokenFor({ sub }) });
  onTestFinished(() => wire[Symbol.asyncDispose]());
  return wire;
}
