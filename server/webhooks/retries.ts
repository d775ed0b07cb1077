import type { WebhookFailure } from '../../shared/webhooks.ts';
import type { PendingDelivery } from '../event-log/contract/webhooks.ts';

/**
 * When a delivery is tried again, and when it is given up.
 *
 * - The waits double from `firstMs` to `maxMs`; each is shortened by a random part of up to a half. `Retry-After` makes one longer.
 * - A receiver that answers with 4xx or a redirect refuses this message: it is a dead letter after `maxRefusals` of them.
 * - Any other failure may be an outage: a delivery is a dead letter after `maxTries` tries, if `maxAgeMs` have passed since its first.
 */
export type RetryOptions = {
  firstMs: number;
  maxMs: number;
  /** Longest wait between two tries while every try fails. */
  maxProbeMs: number;
  /** Shortest wait before a new delivery is tried while every try fails. */
  newProbeMs: number;
  maxRefusals: number;
  maxTries: number;
  maxAgeMs: number;
  /** Longest time that a `Retry-After` is followed. */
  maxRetryAfterMs: number;
  timeoutMs: number;
};

export const defaultRetries: RetryOptions = {
  firstMs: 1_000,
  maxMs: 10 * 60_000,
  maxProbeMs: 60_000,
  newProbeMs: 5_000,
  maxRefusals: 10,
  maxTries: 10,
  maxAgeMs: 24 * 3_600_000,
  maxRetryAfterMs: 3_600_000,
  timeoutMs: 10_000,
};

/** Failed tries in a row, of any delivery, after which only one delivery at a time is tried. */
export const FAILING_AFTER = 5;

/** Returns the wait after the n-th failure, n from 1. */
export function backoffMs(failures: number, { firstMs }: Pick<RetryOptions, 'firstMs'>, maxMs: number): number {
  const whole = Math.min(maxMs, firstMs * 2 ** Math.min(30, failures - 1));
  return Math.round(whole * (0.5 + Math.random() / 2));
}

/** Whether the failure is an answer to this very message; any other failure may be of the receiver as a whole. */
export function isRefusal({ failure, status }: { failure?: WebhookFailure; status?: number }): boolean {
  if (failure === 'redirect' || failure === 'address_refused') return true;
  return failure === 'status' && status !== undefined && status < 500 && ![408, 425, 429].includes(status);
}

/** Whether a delivery is given up after a failed try. */
export function isGivenUp(
  { tries, refusals, firstTryMs = 0 }: PendingDelivery,
  nowMs: number,
  { maxRefusals, maxTries, maxAgeMs }: RetryOptions,
): boolean {
  return refusals >= maxRefusals || (tries >= maxTries && nowMs - firstTryMs >= maxAgeMs);
}
