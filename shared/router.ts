import type {
  TRPC_ERROR_CODE_KEY,
  TRPC_ERROR_CODE_NUMBER,
  TRPCBuiltRouter,
  TRPCMutationProcedure,
  TRPCQueryProcedure,
  TRPCSubscriptionProcedure,
} from '@trpc/server';
import type { AccessEntry, Checkpoint, ClockRepair, Erasure, RecordState, Verdict } from './audit.ts';
import type { DecidedOutcome, DraftIssue, ErrorCode, EvidenceChange, errorCodes } from './errors.ts';
import type { EventFilter } from './event-filter.ts';
import type { EventCounts, EventPositions } from './event-positions.ts';
import type { RunwireEvents } from './events.ts';
import type { AuthMode, StreamSignal } from './protocol.ts';
import type { CategoryOf, DraftOf, EventOf, Registry, TypeOf } from './registry.ts';
import type {
  ApprovalBox,
  ApprovalCounts,
  ApprovalStatus,
  ListedApproval,
  RunHeader,
  RunStatus,
  RunSummary,
  RunView,
  Standing,
} from './run.ts';
import type { RunActivity } from './run-activity.ts';
import type { SearchFacets } from './search-facets.ts';
import type { RecordStats, ServerStats, StatsSample } from './server-stats.ts';
import type {
  DeadLetter,
  Webhook,
  WebhookPreview,
  WebhookShape,
  WebhookSummary,
  WebhookTestResult,
  WebhookTry,
  WebhookTryDetail,
} from './webhooks.ts';

/**
 * The type of the server's router: every procedure with its input and its output. The client's types come from here, so
 * that they name no type of the server or of Node.js. `server/api/` implements the procedures; a type test compares both.
 */

type RunId = { runId: string; projectId?: string | undefined };
type Period = { since?: string | undefined; until?: string | undefined };
type Page = { limit?: number | undefined; cursor?: string | null | undefined; direction?: 'forward' | undefined };
type Start = { from?: 'now' | 'start' | undefined; lastEventId?: string | null | undefined };
type Types<R extends Registry> = { types?: TypeOf<R>[] | undefined };
/** Of several projects, or several publishers, an event must have one. */
type SearchFilter<R extends Registry> = {
  text?: string | undefined;
  projectId?: string | string[] | undefined;
  runId?: string | undefined;
  actor?: string | string[] | undefined;
} & Types<R> &
  Period;
/** See `EventFilter` of shared/event-filter.ts. */
type RunEventFilter<R extends Registry> = Types<R> & Omit<EventFilter, 'types'>;
type Filter<R extends Registry> = Start &
  Types<R> & { categories?: CategoryOf<R>[] | undefined; conflate?: boolean | undefined };

type WebhookFilterInput<R extends Registry> = {
  projects?: string[] | undefined;
  types?: TypeOf<R>[] | undefined;
  categories?: CategoryOf<R>[] | undefined;
  labels?: Record<string, string> | undefined;
};
type WebhookInput<R extends Registry> = { name: string; url: string; filter: WebhookFilterInput<R> };
type WhichDelivery = { id: string; seq: number; kind?: 'event' | 'gap' | undefined } | { id: string; all: true };

/** Joins an intersection to one object type. */
type Joined<T> = { [Name in keyof T]: T[Name] };
type Query<Input, Output> = TRPCQueryProcedure<{ input: Joined<Input>; output: Output; meta: unknown }>;
type Mutation<Input, Output> = TRPCMutationProcedure<{ input: Joined<Input>; output: Output; meta: unknown }>;
/** `id` is the cursor of an item: `lastEventId` of a later subscription. */
type Tracked<Item> = { id: string; data: Item };
type Subscription<Input, Item> = TRPCSubscriptionProcedure<{
  input: Joined<Input>;
  // biome-ignore lint/suspicious/noExplicitAny: tRPC infers these two types as `any`.
  output: AsyncIterable<Tracked<Item | StreamSignal>, any, any>;
  meta: unknown;
}>;

export type ProceduresOf<R extends Registry> = {
  /** Events of one run. A run that does not exist, or that the caller may not read, has none until it is created. */
  onRunEvent: Subscription<RunId & Filter<R>, EventOf<R>>;
  onProjectEvent: Subscription<{ projectId: string } & Filter<R>, EventOf<R>>;
  /** Events with the caller in `audience` or `approvers`, and events of runs that the caller created. */
  onUserEvent: Subscription<Filter<R> | undefined, EventOf<R>>;
  /** Every event that the caller may read. */
  onEvent: Subscription<Filter<R> | undefined, EventOf<R>>;
  /** Headers of runs that have changed: the latest of each run, at most four times a second. */
  onRunSummary: Subscription<
    ({ projectId?: string | undefined; needsMyDecision?: boolean | undefined } & Start) | undefined,
    RunSummary
  >;
  run: {
    /**
     * Returns a run, and the cursor that the state belongs to. The stages, artifacts and approvals of a large run come in
     * pages, while a page has a `nextCursor`; `fetchRun` of `runwire/client` merges them.
     */
    get: Query<
      RunId & { atLeast?: string | undefined; cursor?: string | null | undefined },
      { run: RunView; cursor: string; nextCursor?: string }
    >;
    /**
     * Returns a run as it was just after its event with the number `runSeq`, in pages as `get`. `firstRunSeq` is 1, or the
     * number of the oldest event that retention has kept; the state then lacks the events before it. Fails with
     * `EVENT_NOT_FOUND`.
     */
    at: Query<
      RunId & { runSeq: number; cursor?: string | null | undefined },
      { run: RunView; firstRunSeq: number; nextCursor?: string }
    >;
    /** Returns headers, newest run first. `onRunSummary` continues at `position`. */
    list: Query<
      | ({
          projectId?: string | undefined;
          status?: RunStatus[] | undefined;
          cancelled?: boolean | undefined;
          labels?: Record<string, string> | undefined;
          text?: string | undefined;
          needsMyDecision?: boolean | undefined;
        } & Period &
          Page)
      | undefined,
      { runs: RunHeader[]; nextCursor?: string; position: string }
    >;
    /** Counts runs by status: of a period, in equal parts, and those that have not ended. `until` defaults to now. */
    activity: Query<
      { projectId?: string | undefined; since: string; until?: string | undefined; buckets: number },
      RunActivity
    >;
    /**
     * Returns the events of a run that match a filter, oldest first. The first page starts at the event with the number
     * `fromRunSeq`. With a filter, a page may have fewer events than `limit`, or none, while it has a `nextCursor`.
     */
    history: Query<
      RunId & RunEventFilter<R> & { fromRunSeq?: number | undefined } & Page,
      { events: EventOf<R>[]; nextCursor?: string }
    >;
    /** Returns the positions (`runSeq`) of the events that match a filter, from `fromRunSeq` to `toRunSeq`. */
    positions: Query<
      RunId & RunEventFilter<R> & { fromRunSeq?: number | undefined; toRunSeq?: number | undefined },
      EventPositions
    >;
    /** Returns the numbers of events by type, stage and publisher, from `fromRunSeq`. */
    counts: Query<RunId & { fromRunSeq?: number | undefined }, EventCounts>;
  };
  project: {
    /** Returns the readable projects that have runs, by their ids, with the number of running runs: at most 1,000. */
    list: Query<void, { projects: { projectId: string; running: number }[] }>;
  };
  event: {
    /** Publishes 1 to 1,000 drafts, all or none. `seq` is the highest position of them. */
    publish: Mutation<
      { events: DraftOf<R>[]; onPhi?: 'reject' | 'redact' | undefined },
      { accepted: number; duplicates: number; seq: number }
    >;
    /** Returns an event by its position or its id. Fails with `EVENT_NOT_FOUND`. */
    get: Query<{ seq: number } | { projectId: string; eventId: string }, EventOf<R>>;
    /**
     * Searches the text of events, newest first. An event must contain all words and quoted phrases of `text`. A page may
     * have fewer events than `limit`, or none, while it has a `nextCursor`. `searchedTo` is then the time, in whole minutes,
     * that the search has come to.
     */
    search: Query<
      (SearchFilter<R> & Page) | undefined,
      {
        events: EventOf<R>[];
        /** The runs of the events, where there are any. */
        runs?: { projectId: string; runId: string; name: string }[];
        nextCursor?: string;
        searchedTo?: string;
      }
    >;
    /**
     * Counts the events that `search` finds with the same filter. An answer counts at most 10,000 events. The sum of all
     * answers, up to the one without a `nextCursor`, counts every event once.
     */
    facets: Query<
      (SearchFilter<R> & { cursor?: string | null | undefined }) | undefined,
      Joined<SearchFacets & { nextCursor?: string }>
    >;
  };
  approval: {
    /**
     * Returns the approvals of readable projects, newest request first, or of a box:
     *
     * - `mine`: what the caller can decide now. The soonest `expiresAt` first, then those without one; oldest request first.
     * - `asked`: what the caller asked for, as `requestedBy` or as the publisher of the request. Newest request first.
     * - `decided`: granted and denied. `expired`. Newest decision first.
     *
     * The first page of a box has the `counts` of all boxes, each at most 1,000. The list contains every change up to the
     * cursor `position`; a subscription after it delivers the later ones. `status` and `box` exclude each other.
     */
    list: Query<
      | ({
          box?: ApprovalBox | undefined;
          status?: ApprovalStatus | ApprovalStatus[] | undefined;
          projectId?: string | undefined;
        } & Page)
      | undefined,
      { approvals: ListedApproval[]; nextCursor?: string; position: string; counts?: ApprovalCounts }
    >;
    get: Query<RunId & { approvalId: string }, ListedApproval>;
    /**
     * `seenSeq`: position in the log up to which the decider's view was complete. If the request or an artifact of its
     * evidence changed after it, the decision fails with `EVIDENCE_CHANGED` and the `changes`.
     */
    grant: Mutation<
      RunId & { approvalId: string; comment?: string | undefined; seenSeq?: number | undefined },
      Standing
    >;
    deny: Mutation<RunId & { approvalId: string; reason: string; seenSeq?: number | undefined }, Standing>;
  };
  audit: {
    /** Verifies the hash chain of the log. */
    verify: Query<{ checkpoints?: { seq: number; hash: string }[] | undefined } | undefined, Verdict>;
    /**
     * Returns the state of the record, and the erasures in a run, oldest first. A page may have none while it has a
     * `nextCursor`.
     */
    run: Query<
      RunId & { cursor?: string | null | undefined },
      { record: RecordState; erasures: Erasure[]; nextCursor?: string }
    >;
    checkpoint: Query<void, { checkpoint: Checkpoint; publicKey: string }>;
    /** Erases the text of an event. */
    erase: Mutation<{ seq: number; reason: string }, Erasure>;
    confirmClock: Mutation<{ now: string }, { clock: string; repair: ClockRepair | null }>;
    /** Returns entries of the access record, newest first. */
    access: Query<
      | ({
          sub?: string | undefined;
          action?: string | undefined;
          projectId?: string | undefined;
          runId?: string | undefined;
          outcome?: string | undefined;
        } & Period &
          Page)
      | undefined,
      { entries: AccessEntry[]; nextCursor?: string }
    >;
  };
  auth: {
    me: Query<
      void,
      {
        sub: string;
        /** Name of the user, to be shown. */
        name?: string;
        projects: string[];
        roles: ('viewer' | 'approver' | 'producer' | 'admin')[];
        /** The only run that the caller may see and act on. */
        runId?: string;
        /** How the caller has signed in. */
        mode: AuthMode;
        expiresAt?: string;
      }
    >;
    /** Returns the ways to sign in, the usual one first. Needs no token. */
    modes: Query<
      void,
      {
        modes: AuthMode[];
        /** Host of the identity provider. */
        provider?: string;
        /** Page where the user can sign out at the provider. */
        signOutUrl?: string;
      }
    >;
    /** Replaces the token of the open socket. */
    refresh: Mutation<{ token: string }, { expiresAt: string | null }>;
    revoke: Mutation<{ jti: string } | { sub: string }, { revoked: boolean }>;
  };
  /** For administrators. A webhook with a project that the token lacks is `WEBHOOK_NOT_FOUND`. */
  webhook: {
    list: Query<void, { webhooks: WebhookSummary[] }>;
    get: Query<{ id: string }, { webhook: Webhook }>;
    /** Begins with the next event, or at `fromSeq`. `secret` cannot be read again. */
    create: Mutation<
      WebhookInput<R> & { shape?: WebhookShape | undefined; fromSeq?: number | undefined },
      { webhook: Webhook; secret: string }
    >;
    update: Mutation<
      { id: string; shape?: WebhookShape | undefined } & {
        [Name in keyof WebhookInput<R>]?: WebhookInput<R>[Name] | undefined;
      },
      { webhook: Webhook }
    >;
    delete: Mutation<{ id: string }, { deleted: boolean }>;
    pause: Mutation<{ id: string }, { webhook: Webhook }>;
    resume: Mutation<{ id: string }, { webhook: Webhook }>;
    /** Makes a new secret. The former one is valid until `validUntil`, 24 h from now. */
    rotateSecret: Mutation<{ id: string }, { secret: string; validUntil: string }>;
    /** Sends a message of the type `webhook.test`, and returns the answer. */
    test: Mutation<{ id: string } | { url: string; shape: WebhookShape }, WebhookTestResult>;
    /** Counts the events that a filter matches: from a position or an instant on, by default of the last 24 h. */
    preview: Query<
      {
        filter: WebhookFilterInput<R>;
        shape?: WebhookShape | undefined;
        fromSeq?: number | undefined;
        since?: string | undefined;
      },
      WebhookPreview
    >;
    /** Returns the latest tries, newest first. */
    deliveries: Query<{ id: string } & Page, { deliveries: WebhookTry[]; nextCursor?: string }>;
    delivery: Query<{ id: string; deliveryId: number }, { delivery: WebhookTryDetail }>;
    deadLetters: Query<{ id: string } & Page, { deadLetters: DeadLetter[]; nextCursor?: string }>;
    /** Sends an event or a dead letter again, or all dead letters, under the same ids. */
    redeliver: Mutation<WhichDelivery, { messages: number }>;
    /** Removes a dead letter, or all. */
    drop: Mutation<WhichDelivery, { dropped: number }>;
    /** Sends the events from a position or an instant on again, under the same ids. */
    replay: Mutation<{ id: string; fromSeq: number } | { id: string; since: string }, { fromSeq: number }>;
  };
  server: {
    stats: Query<void, ServerStats>;
    /** Returns one sample for each second after `since` (Unix ms), of the last hour at most. */
    history: Query<{ since?: number | undefined } | undefined, { samples: StatsSample[] }>;
    /** Returns the state of the log: its record, checkpoint, erasures, retention, search index and sizes. */
    record: Query<void, RecordStats>;
    /** Asks a client to connect again: it resumes all subscriptions on a new socket. `id` is that of `stats`. */
    drain: Mutation<{ id: number }, { drained: boolean }>;
    /** Closes a client's socket. With `revoke`, all tokens of its user are revoked first: the client does not come back. */
    disconnect: Mutation<{ id: number; revoke?: boolean | undefined }, { disconnected: boolean }>;
  };
};

/** An error as tRPC sends it. `runwireCode` is the code of the error table (`errorTable`). */
export type ApiError = {
  code: TRPC_ERROR_CODE_NUMBER;
  message: string;
  data: {
    code: TRPC_ERROR_CODE_KEY;
    httpStatus: (typeof errorCodes)[ErrorCode];
    runwireCode: ErrorCode;
    /** The procedure. */
    path?: string;
    /** The invalid field of the input. */
    field?: string;
    issues?: readonly DraftIssue[];
    outcome?: DecidedOutcome;
    changes?: readonly EvidenceChange[];
  };
};

/** The router of a server with the event types `R`. `Context` concerns callers in the server's process only. */
export type RouterOf<R extends Registry, Context extends object = object> = TRPCBuiltRouter<
  { ctx: Context; meta: object; errorShape: ApiError; transformer: false },
  ProceduresOf<R>
>;
/** The router of a server with the twelve event types. */
export type AppRouter = RouterOf<RunwireEvents>;
