/** Webhooks: messages about events that the server sends to addresses of other systems. docs/guide/webhooks.md. */

/** `json`: Standard Webhooks, with the event as logged. `slack` and `teams`: a text with a link to the run. */
export const webhookShapes = ['json', 'slack', 'teams'] as const;
export type WebhookShape = (typeof webhookShapes)[number];

/** Which events are sent. An event must match `projects`, `labels`, and either `types` or `categories`. */
export type WebhookFilter = {
  /** Default: all projects. */
  projects?: string[] | undefined;
  types?: string[] | undefined;
  categories?: string[] | undefined;
  /** The run has each of these labels, with the same value. */
  labels?: Record<string, string> | undefined;
};

export type WebhookSettings = { name: string; url: string; shape: WebhookShape; filter: WebhookFilter };

/**
 * Why nothing is sent: a person has paused the webhook, the receiver has answered 410, or the list of dead letters is full.
 */
export type PauseReason = 'asked' | 'gone' | 'dead_letters';

/** Events that cannot be sent: retention has removed them, or the log was replaced by a backup. */
export type WebhookGap = { reason: 'expired' | 'epoch_changed'; fromSeq: number; toSeq: number; at: string };

/** Why a try failed. `status`: the receiver has answered with `status`. */
export type WebhookFailure =
  | 'status'
  | 'redirect'
  | 'timeout'
  | 'connection'
  | 'dns'
  | 'tls'
  | 'address_refused'
  | 'expired'
  | 'internal';

/** A webhook in a list. Instants are ISO 8601 UTC. */
export type WebhookSummary = {
  id: string;
  name: string;
  /** Host of the address, with its port. */
  host: string;
  shape: WebhookShape;
  filter: WebhookFilter;
  /**
   * - `delivering`: no try is due again.
   * - `retrying`: some deliveries have failed and are tried again; others arrive.
   * - `failing`: the last tries have all failed; one delivery at a time is tried.
   */
  state: 'delivering' | 'retrying' | 'failing' | 'paused';
  pausedFor?: PauseReason;
  /** Since when tries fail, the number of deliveries that are tried again, and the last failure. */
  retryingSince?: string;
  retries: number;
  failure?: { reason: WebhookFailure; status?: number };
  /** Every matching event up to this position was sent or is a dead letter. */
  position: number;
  head: number;
  /** Number of positions between `position` and `head`. */
  behind: number;
  /** Messages that wait for a try or are in flight. Events after them may not have been looked at yet. */
  waiting: number;
  /** When the next failed delivery is tried again. */
  nextTryAt?: string;
  /** When the oldest event that waits was logged. */
  oldestWaitingAt?: string;
  lastSuccessAt?: string;
  deadLetters: number;
  gap?: WebhookGap;
};

export type Webhook = WebhookSummary & {
  url: string;
  createdAt: string;
  createdBy: string;
  updatedAt: string;
  /** The secrets that sign messages, without their text, the newest first. */
  secrets: { createdAt: string; validUntil?: string }[];
};

/** What a delivery is about: an event, or a gap of the log. */
export type WebhookMessage = {
  kind: 'event' | 'gap';
  /** Position of the event; of a gap, its end. */
  seq: number;
  /** The header `webhook-id`: the same at each try, restart and replay. */
  messageId: string;
  type: string;
  projectId?: string;
  runId?: string;
};

/** One try to send a message. */
export type WebhookTry = WebhookMessage & {
  id: number;
  at: string;
  attempt: number;
  /** Status of the answer. */
  status?: number;
  /** Absent if the receiver has taken the message. */
  failure?: WebhookFailure;
  ms: number;
};

/** A try with the message as it would be sent now: an erased event is its tombstone. */
export type WebhookTryDetail = WebhookTry & {
  /** Without the value of the signature. */
  headers: Record<string, string>;
  /** Absent if the event was removed by retention. */
  body?: string;
  /** The first 500 characters of the answer. */
  answer: string;
};

/** A delivery that the server has given up. */
export type DeadLetter = WebhookMessage & {
  /** Of a message about a gap. */
  gap?: WebhookGap;
  reason: WebhookFailure;
  status?: number;
  tries: number;
  firstTryAt: string;
  lastTryAt: string;
  /** The first 500 characters of the last answer, while the server keeps that try. */
  answer?: string;
};

/** The result of a test: the answer of the receiver. */
export type WebhookTestResult = { status?: number; failure?: WebhookFailure; ms: number; answer: string };

/** How many logged events a filter matches, and the body of the last of them. */
export type WebhookPreview = {
  count: number;
  /** False: there are more, because the server looks at a bounded number of events. */
  isComplete: boolean;
  /** Position and body of the latest matching event. */
  latest?: { seq: number; type: string; body: string };
};
