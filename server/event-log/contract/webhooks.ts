import type {
  DeadLetter,
  PauseReason,
  WebhookFailure,
  WebhookGap,
  WebhookSettings,
  WebhookTry,
} from '../../../shared/webhooks.ts';

export type StoredSecret = { secret: string; createdAt: string; validUntil?: string | undefined };

/** A webhook as its administrators have set it. */
export type WebhookRecord = {
  id: string;
  settings: WebhookSettings;
  createdAt: string;
  createdBy: string;
  updatedAt: string;
  pausedFor?: PauseReason | undefined;
  /** The newest first. */
  secrets: readonly StoredSecret[];
};

/** How far a webhook has come. Every matching event up to `scannedTo` is sent, a dead letter, or a pending delivery. */
export type WebhookPosition = {
  /** Epoch of the log in which `scannedTo` is a position. */
  epoch: string;
  scannedTo: number;
  lastSuccessAt?: string | undefined;
  gap?: WebhookGap | undefined;
};

/** Names a delivery of a webhook. */
export type DeliveryKey = { kind: 'event' | 'gap'; seq: number };

/** A delivery that waits for its first or next try. */
export type PendingDelivery = DeliveryKey & {
  projectId: string;
  runId: string;
  /** Failed tries, and those of them that the receiver has refused. */
  tries: number;
  refusals: number;
  /** Unix ms. */
  firstTryMs?: number | undefined;
  lastTryMs?: number | undefined;
  nextTryMs?: number | undefined;
  failure?: { reason: WebhookFailure; status?: number } | undefined;
  /** The message of a gap. */
  gap?: WebhookGap | undefined;
};

export type StoredTry = Omit<WebhookTry, 'id'> & { answer: string };

/** Changes of one webhook. */
export type WebhookProgress = {
  position: WebhookPosition;
  /** New or changed. */
  pending?: readonly PendingDelivery[];
  /** Pending deliveries that have ended. */
  done?: readonly DeliveryKey[];
  dead?: readonly DeadLetter[];
  /** Dead letters that are removed from the list. */
  revived?: readonly DeliveryKey[];
  tries?: readonly StoredTry[];
};

export type LoadedWebhook = {
  record: WebhookRecord;
  position: WebhookPosition;
  pending: PendingDelivery[];
  deadLetters: number;
};

/** `next` is absent at the end of the list. `cursor`: `next` of the previous page. */
export type WebhookPage<Item> = { items: Item[]; next?: number };
export type WebhookPageQuery = { cursor?: number | undefined; limit: number };

/**
 * Webhooks, and how far each has come. The server reads all of them at its start. One node at a time advances them, by a
 * lease; every node may create, change and remove them. `Log.trim` also deletes tries from before
 * the instant of the trim. An erasure MUST remove the answers to the erased event.
 */
export interface WebhookStore {
  load(): Promise<LoadedWebhook[]>;
  /** Creates or replaces a webhook; durable once the promise has resolved. `position` is of a new webhook. */
  put(record: WebhookRecord, position?: WebhookPosition): Promise<void>;
  /** Removes a webhook and all that belongs to it. */
  remove(id: string): Promise<void>;
  /**
   * Writes all changes or none. They MUST survive a crash of the process; a power cut may lose them, whole, until the next
   * commit of events. Of the tries the newest are kept, about 1,000 of each webhook. Does nothing for a removed webhook.
   */
  advance(id: string, progress: WebhookProgress): Promise<void>;
  /** The tries of a webhook, newest first. */
  tries(id: string, query: WebhookPageQuery): Promise<WebhookPage<WebhookTry>>;
  try(id: string, tryId: number): Promise<(WebhookTry & { answer: string }) | undefined>;
  /** The dead letters of a webhook, lowest position first. */
  deadLetters(id: string, query: WebhookPageQuery): Promise<WebhookPage<DeadLetter>>;
  /** As `Revocations.onChange`, after another node has called `put` or `remove`. `advance` does not count as a change. */
  onChange(listener: () => void): () => void;
}
