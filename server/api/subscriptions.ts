import { z } from 'zod';
import * as field from '../../shared/fields.ts';
import { type CategoryOf, categoriesOf, type EventOf, type Registry, type TypeOf } from '../../shared/registry.ts';
import type { RunSummary } from '../../shared/run.ts';
import type { Delivery } from '../delivery/delivery.ts';
import type { EventQuery } from '../delivery/events.ts';
import type { Tracked } from '../delivery/iterator.ts';
import type { SocketlessTransports } from '../delivery/socketless-transports.ts';
import type { Transport } from '../delivery/transport.ts';
import type { Context } from './context.ts';
import { opaqueCursor, runInput, typesInput } from './inputs.ts';
import type { Procedure } from './trpc.ts';

export type SubscriptionParts<R extends Registry> = {
  registry: R;
  delivery: Delivery;
  streams: SocketlessTransports;
};

const startInput = { from: z.enum(['now', 'start']).default('now'), lastEventId: opaqueCursor.nullish() };

/** The procedures `onRunEvent`, `onProjectEvent`, `onUserEvent`, `onEvent` and `onRunSummary`. */
export function subscriptionProcedures<R extends Registry>(
  procedure: Procedure,
  { registry, delivery, streams }: SubscriptionParts<R>,
) {
  const categories = categoriesOf(registry);
  const categoryNames = Object.keys(categories) as [CategoryOf<R>, ...CategoryOf<R>[]];
  const filterInput = {
    ...startInput,
    types: typesInput(registry),
    categories: z.array(z.enum(categoryNames)).max(categoryNames.length).optional(),
    conflate: z.boolean().default(false),
  };
  type FilterInput = {
    from: 'now' | 'start';
    lastEventId?: string | null | undefined;
    types?: readonly TypeOf<R>[] | undefined;
    categories?: readonly CategoryOf<R>[] | undefined;
    conflate: boolean;
  };

  const transportOf = ({ principal, connection, via }: Context): Transport =>
    connection ?? streams.transportOf(principal, via);

  const typesOf = ({ types, categories: names }: FilterInput): ReadonlySet<string> | undefined =>
    types || names
      ? new Set<string>([...(types ?? []), ...(names ?? []).flatMap((name) => categories[name])])
      : undefined;

  // Must not wait for I/O before it returns the iterator: a client's stop that arrives earlier would be lost.
  const subscribe = (
    ctx: Context,
    scope: EventQuery['scope'],
    filter: FilterInput,
    signal: AbortSignal | undefined,
  ): AsyncIterable<Tracked<EventOf<R>>> => {
    const { from, lastEventId, conflate } = filter;
    const query = { scope, from, conflate, types: typesOf(filter), lastEventId: lastEventId ?? undefined };
    return delivery.events<EventOf<R>>(transportOf(ctx), query, signal);
  };

  return {
    onRunEvent: procedure
      .input(z.strictObject({ ...runInput, ...filterInput }))
      .subscription(({ ctx, input: { runId, projectId, ...filter }, signal }) =>
        subscribe(ctx, { kind: 'run', runId, projectId }, filter, signal),
      ),
    onProjectEvent: procedure
      .input(z.strictObject({ projectId: field.scopeId(), ...filterInput }))
      .subscription(({ ctx, input: { projectId, ...filter }, signal }) =>
        subscribe(ctx, { kind: 'project', projectId }, filter, signal),
      ),
    onUserEvent: procedure
      .input(z.strictObject(filterInput).prefault({}))
      .subscription(({ ctx, input, signal }) =>
        subscribe(ctx, { kind: 'user', userId: ctx.principal.sub }, input, signal),
      ),
    onEvent: procedure
      .input(z.strictObject(filterInput).prefault({}))
      .subscription(({ ctx, input, signal }) => subscribe(ctx, { kind: 'all' }, input, signal)),
    onRunSummary: procedure
      .input(
        z
          .strictObject({
            projectId: field.scopeId().optional(),
            needsMyDecision: z.boolean().optional(),
            ...startInput,
          })
          .prefault({}),
      )
      .subscription(
        ({
          ctx,
          input: { projectId, needsMyDecision, from, lastEventId },
          signal,
        }): AsyncIterable<Tracked<RunSummary>> => {
          const query = { projectId, needsMyDecision, from, lastEventId: lastEventId ?? undefined };
          return delivery.summaries(transportOf(ctx), query, signal);
        },
      ),
  };
}
