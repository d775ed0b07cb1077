import { z } from 'zod';
import * as field from '../../shared/fields.ts';
import { type CategoryOf, categoriesOf, type Registry } from '../../shared/registry.ts';
import { webhookShapes } from '../../shared/webhooks.ts';
import type { Log } from '../event-log/contract/log.ts';
import type { WebhookCalls } from '../webhooks/shared.ts';
import { labelsInput, pageInput, typesInput } from './inputs.ts';
import { cursorOfEntry, entryOf } from './pagination.ts';
import type { Procedure } from './trpc.ts';

export type WebhookParts<R extends Registry> = { registry: R; log: Log; webhooks: WebhookCalls };

const MAX_PROJECTS = 100;
const MAX_LABELS = 16;

/** The procedures `webhook.*`, for administrators. A webhook with a project that the token lacks does not exist for them. */
export function webhookProcedures<R extends Registry>(
  procedure: Procedure,
  { registry, log, webhooks }: WebhookParts<R>,
) {
  const categoryNames = Object.keys(categoriesOf(registry)) as [CategoryOf<R>, ...CategoryOf<R>[]];
  const { deliveries } = webhooks;
  const idInput = { id: z.string().max(100) };
  const webhookInput = z.strictObject(idInput);
  const filter = z.strictObject({
    projects: z.array(field.scopeId()).min(1).max(MAX_PROJECTS).optional(),
    types: typesInput(registry),
    categories: z.array(z.enum(categoryNames)).max(categoryNames.length).optional(),
    labels: labelsInput(field.text(100), field.text(200, 0))
      .refine((value) => Object.keys(value).length <= MAX_LABELS, { error: `must have at most ${MAX_LABELS} labels` })
      .optional(),
  });
  const url = z.string().min(1).max(2_000);
  const shape = z.enum(webhookShapes);
  const seq = z.int().positive();
  const fromInput = { fromSeq: seq.optional(), since: field.instant().optional() };
  const which = z.union([
    z.strictObject({ ...idInput, seq: z.int().nonnegative(), kind: z.enum(['event', 'gap']).default('event') }),
    z.strictObject({ ...idInput, all: z.literal(true) }),
  ]);
  type Which = z.output<typeof which>;
  const keyOf = (input: Which) => ('all' in input ? 'dead' : { kind: input.kind, seq: input.seq });
  const pageQuery = z.strictObject({ ...idInput, ...pageInput });
  const pageOf = ({ cursor, limit }: z.output<typeof pageQuery>) => ({ cursor: entryOf(cursor, log), limit });
  const nextOf = (next: number | undefined): { nextCursor?: string } =>
    next === undefined ? {} : { nextCursor: cursorOfEntry(next, log) };

  return {
    list: procedure.query(async ({ ctx: { principal } }) => ({ webhooks: await webhooks.list(principal) })),
    get: procedure
      .input(webhookInput)
      .query(async ({ ctx: { principal }, input: { id } }) => ({ webhook: await webhooks.get(principal, id) })),
    create: procedure
      .input(z.strictObject({ name: field.name(), url, shape: shape.default('json'), filter, fromSeq: seq.optional() }))
      .mutation(({ ctx: { principal }, input }) => webhooks.create(principal, input)),
    update: procedure
      .input(
        z.strictObject({
          ...idInput,
          name: field.name().optional(),
          url: url.optional(),
          shape: shape.optional(),
          filter: filter.optional(),
        }),
      )
      .mutation(async ({ ctx: { principal }, input: { id, ...changes } }) => ({
        webhook: await webhooks.update(principal, id, changes),
      })),
    delete: procedure.input(webhookInput).mutation(async ({ ctx: { principal }, input: { id } }) => {
      await webhooks.remove(principal, id);
      return { deleted: true };
    }),
    pause: procedure
      .input(webhookInput)
      .mutation(async ({ ctx: { principal }, input: { id } }) => ({ webhook: await webhooks.pause(principal, id) })),
    resume: procedure
      .input(webhookInput)
      .mutation(async ({ ctx: { principal }, input: { id } }) => ({ webhook: await webhooks.resume(principal, id) })),
    rotateSecret: procedure
      .input(webhookInput)
      .mutation(({ ctx: { principal }, input: { id } }) => webhooks.rotateSecret(principal, id)),
    test: procedure
      .input(z.union([webhookInput, z.strictObject({ url, shape })]))
      .mutation(({ ctx: { principal }, input }) => webhooks.test(principal, input)),

    /** Counts the events of the last 24 h, or from a position or an instant on, and shows the body of the last one. */
    preview: procedure
      .input(z.strictObject({ filter, shape: shape.default('json'), ...fromInput }))
      .query(({ ctx: { principal, signal }, input: { fromSeq, since, ...input } }) => {
        const from = fromSeq !== undefined ? { fromSeq } : since !== undefined ? { since } : undefined;
        return deliveries.preview(principal, { ...input, from }, signal);
      }),
    deliveries: procedure.input(pageQuery).query(async ({ ctx: { principal }, input }) => {
      const { items, next } = await deliveries.list(principal, input.id, pageOf(input));
      return { deliveries: items, ...nextOf(next) };
    }),
    delivery: procedure
      .input(z.strictObject({ ...idInput, deliveryId: seq }))
      .query(async ({ ctx: { principal }, input: { id, deliveryId } }) => ({
        delivery: await deliveries.get(principal, id, deliveryId),
      })),
    deadLetters: procedure.input(pageQuery).query(async ({ ctx: { principal }, input }) => {
      const { items, next } = await deliveries.deadLetters(principal, input.id, pageOf(input));
      return { deadLetters: items, ...nextOf(next) };
    }),
    redeliver: procedure.input(which).mutation(async ({ ctx: { principal }, input }) => ({
      messages: await deliveries.redeliver(principal, input.id, keyOf(input)),
    })),
    drop: procedure.input(which).mutation(async ({ ctx: { principal }, input }) => ({
      dropped: await deliveries.drop(principal, input.id, keyOf(input)),
    })),
    replay: procedure
      .input(
        z.union([z.strictObject({ ...idInput, fromSeq: seq }), z.strictObject({ ...idInput, since: field.instant() })]),
      )
      .mutation(({ ctx: { principal }, input: { id, ...from } }) => deliveries.replay(principal, id, from)),
  };
}
