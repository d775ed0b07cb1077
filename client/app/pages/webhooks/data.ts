import { keepPreviousData, useMutation, useQuery } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { runwireErrorOf, useRunwire } from '../../../hooks/index.ts';

type Client = ReturnType<typeof useRunwire>['client']['webhook'];
type Answer<Name extends 'list' | 'get' | 'deliveries' | 'delivery' | 'deadLetters' | 'preview'> = Awaited<
  ReturnType<Client[Name]['query']>
>;
export type WebhookSummary = Answer<'list'>['webhooks'][number];
export type Webhook = Answer<'get'>['webhook'];
export type Delivery = Answer<'deliveries'>['deliveries'][number];
export type DeadLetter = Answer<'deadLetters'>['deadLetters'][number];
export type WebhookInput = Parameters<Client['create']['mutate']>[0];
export type Filter = WebhookInput['filter'];
export type Shape = NonNullable<WebhookInput['shape']>;

/** The page asks again in this interval: deliveries have no subscription. */
const EVERY_MS = 3_000;
const TYPING_MS = 300;

export function useWebhooks() {
  const { client, queryKey } = useRunwire();
  return useQuery({
    queryKey: queryKey('webhook.list'),
    queryFn: ({ signal }) => client.webhook.list.query(undefined, { signal }),
    refetchInterval: EVERY_MS,
    staleTime: 0,
  });
}

export function useWebhook(id: string) {
  const { client, queryKey } = useRunwire();
  return useQuery({
    queryKey: queryKey('webhook.get', id),
    queryFn: ({ signal }) => client.webhook.get.query({ id }, { signal }).then(({ webhook }) => webhook),
    refetchInterval: EVERY_MS,
    staleTime: 0,
  });
}

export function useDeliveries(id: string, cursor: string | undefined) {
  const { client, queryKey } = useRunwire();
  return useQuery({
    queryKey: queryKey('webhook.deliveries', id, cursor),
    queryFn: ({ signal }) => client.webhook.deliveries.query({ id, cursor, limit: 50 }, { signal }),
    refetchInterval: cursor === undefined ? EVERY_MS : false,
    placeholderData: keepPreviousData,
    staleTime: 0,
  });
}

export function useDelivery(id: string, deliveryId: number) {
  const { client, queryKey } = useRunwire();
  return useQuery({
    queryKey: queryKey('webhook.delivery', id, deliveryId),
    queryFn: ({ signal }) => client.webhook.delivery.query({ id, deliveryId }, { signal }),
    staleTime: 0,
  });
}

export function useDeadLetters(id: string, cursor: string | undefined) {
  const { client, queryKey } = useRunwire();
  return useQuery({
    queryKey: queryKey('webhook.deadLetters', id, cursor),
    queryFn: ({ signal }) => client.webhook.deadLetters.query({ id, cursor, limit: 50 }, { signal }),
    refetchInterval: EVERY_MS,
    placeholderData: keepPreviousData,
    staleTime: 0,
  });
}

/** Counts what a filter matches, once the user has stopped typing. Without `filter` there is nothing to ask. */
export function usePreview(input: { filter: Filter; shape?: Shape; fromSeq?: number; since?: string } | undefined) {
  const { client, queryKey } = useRunwire();
  const text = useSettled(input && JSON.stringify(input));
  return useQuery({
    queryKey: queryKey('webhook.preview', text),
    queryFn: ({ signal }) => client.webhook.preview.query(JSON.parse(text as string), { signal }),
    enabled: text !== undefined,
    placeholderData: keepPreviousData,
    staleTime: 10_000,
    retry: false,
  });
}

function useSettled<T>(value: T): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), TYPING_MS);
    return () => clearTimeout(timer);
  }, [value]);
  return settled;
}

/** A change of webhooks. After it, all that the page shows of webhooks is loaded again. */
export function useAction<Input, Output>(act: (client: Client, input: Input) => Promise<Output>) {
  const { client, queries, queryKey } = useRunwire();
  return useMutation({
    mutationFn: (input: Input) => act(client.webhook, input),
    // Not awaited: the page of a deleted webhook would be gone before the caller can leave it.
    onSettled: () => {
      for (const name of ['webhook.list', 'webhook.get', 'webhook.deliveries', 'webhook.deadLetters']) {
        void queries.invalidateQueries({ queryKey: queryKey(name) });
      }
    },
  });
}

/** The message of an error, without the name of the field in front. */
export function messageOf(error: unknown): string {
  const { message, path } = runwireErrorOf(error);
  return path !== undefined && message.startsWith(`${path}: `) ? message.slice(path.length + 2) : message;
}

export const fieldOf = (error: unknown): string | undefined => (error ? runwireErrorOf(error).path : undefined);
