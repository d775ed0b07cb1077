import type { WebhookTry } from '../../shared/webhooks.ts';
import type { WebhookPage } from './contract/webhooks.ts';

/** What the stores of webhooks share. */

/** Tries that are kept of each webhook, and how many more there may be before the older ones are deleted. */
export const MAX_TRIES = 1_000;
export const SPARE_TRIES = 100;

export type TryRow = { id: number; state: string; answer: string };

export const tryOf = ({ id, state }: TryRow): WebhookTry => ({
  id,
  ...(JSON.parse(state) as Omit<WebhookTry, 'id'>),
});

/** A page of rows that were read with one row more than the page has. */
export function pageOf<Item>(items: Item[], limit: number, keyOf: (item: Item) => number): WebhookPage<Item> {
  const page = items.slice(0, limit);
  const last = page.at(-1);
  return items.length > limit && last ? { items: page, next: keyOf(last) } : { items: page };
}
